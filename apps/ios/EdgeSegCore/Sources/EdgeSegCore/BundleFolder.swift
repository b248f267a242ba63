import Foundation

#if canImport(CryptoKit)
    import CryptoKit
#endif

public let descriptionName = "bundle.json"

/// A bundle whose files lie in `folder`, checksums confirmed; `bundle` lists only artifacts that can be run here.
public struct OpenBundle: Sendable {
    public let folder: URL
    public let bundle: ModelBundle

    public func url(of artifact: Artifact) -> URL { folder.appendingPathComponent(artifact.file) }
}

/// Opens a bundle's folder for an app that has `runtimes`.
///
/// Every listed file that is there must have its checksum. An artifact that is not there is not offered; none at all is an
/// error, and so is a golden file that is missing. What an app never reads may be left out of its copy.
///
/// - Throws: ``BundleError`` naming the file and what to do.
public func openBundle(_ folder: URL, runtimes: Set<String>) throws -> OpenBundle {
    guard let text = try? String(contentsOf: folder.appendingPathComponent(descriptionName), encoding: .utf8) else {
        let name = folder.lastPathComponent
        throw BundleError(.missing, "'\(name)' holds no readable \(descriptionName); choose the folder NAME.edgeseg")
    }
    var bundle = try parseBundle(text)
    let listed = bundle.artifacts
    bundle.artifacts = listed.filter {
        runtimes.contains($0.runtime) && FileManager.default.fileExists(atPath: folder.appendingPathComponent($0.file).path)
    }
    if bundle.artifacts.isEmpty {
        let held = listed.map(\.file).joined(separator: ", ")
        let wanted = runtimes.sorted().joined(separator: " or ")
        throw BundleError(.missing, "the bundle has no file for \(wanted) (it lists \(held)); export one of them")
    }
    for (path, sha256) in bundle.sha256ByFile { try check(folder, path, sha256) }
    return OpenBundle(folder: folder, bundle: bundle)
}

/// sha256 of a file; of a folder, of its listing as docs/bundle.md says.
public func checksum(_ url: URL) throws -> String {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder), isFolder.boolValue else {
        return try fileChecksum(url)
    }
    let paths = try FileManager.default.subpathsOfDirectory(atPath: url.path).filter { path in
        var isInner: ObjCBool = false
        let there = FileManager.default.fileExists(atPath: url.appendingPathComponent(path).path, isDirectory: &isInner)
        return there && !isInner.boolValue
    }
    let sorted = paths.sorted { $0.unicodeScalars.lexicographicallyPrecedes($1.unicodeScalars) }
    let lines = try sorted.map { "\(try fileChecksum(url.appendingPathComponent($0)))  \($0)\n" }
    return sha256(of: [Array(lines.joined().utf8)])
}

private func check(_ folder: URL, _ path: String, _ wanted: String) throws {
    let file = folder.appendingPathComponent(path)
    guard FileManager.default.fileExists(atPath: file.path) else {
        if path.hasPrefix("\(goldenFolder)/") {
            throw BundleError(.missing, "\(path) is missing; copy the bundle again")
        }
        return
    }
    let root = folder.resolvingSymlinksInPath().path
    guard file.resolvingSymlinksInPath().path.hasPrefix(root + "/") else {
        throw BundleError(.outside, "\(path) leads out of the bundle; do not trust it")
    }
    if (try? checksum(file)) != wanted {
        throw BundleError(.changed, "\(path) was changed or cut off (sha256 differs); copy the bundle again")
    }
}

private func fileChecksum(_ url: URL) throws -> String {
    let file = try FileHandle(forReadingFrom: url)
    defer { try? file.close() }
    let blocks = sequence(state: file) { handle in (try? handle.read(upToCount: 1 << 20)).flatMap { $0.map(Array.init) } }
    return sha256(of: blocks)
}

private func sha256(of blocks: some Sequence<[UInt8]>) -> String {
    #if canImport(CryptoKit)
        var hash = CryptoKit.SHA256()
        for block in blocks { hash.update(data: block) }
        return hash.finalize().map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    #else
        var hash = PortableSHA256()
        for block in blocks { hash.update(block) }
        return hash.finish()
    #endif
}
