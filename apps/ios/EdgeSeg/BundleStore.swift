import EdgeSegCore
import Foundation

/// The bundle that the app works with: the one inside the app, or a folder that the user opened.
enum BundleStore {
    /// The bundle opened last, else the one inside the app.
    ///
    /// - Throws: ``BundleError``.
    static func open() throws -> OpenBundle {
        if FileManager.default.fileExists(atPath: opened.path) { return try openBundle(opened, runtimes: Runtimes.names) }
        return try openOwn()
    }

    /// The bundle inside the app, from now on.
    ///
    /// - Throws: ``BundleError``.
    static func openOwn() throws -> OpenBundle {
        guard let url = Bundle.main.url(forResource: "bundle", withExtension: "edgeseg") else {
            throw BundleError(
                .missing, "this app was built without a bundle; make its project with edgeseg app ios NAME.edgeseg --out FOLDER")
        }
        try? FileManager.default.removeItem(at: opened)
        return try openBundle(url, runtimes: Runtimes.names)
    }

    /// Copies a folder NAME.edgeseg that the user chose; it replaces the bundle in use only if it is sound.
    ///
    /// - Throws: ``BundleError``.
    static func adopt(_ folder: URL) throws -> OpenBundle {
        let isScoped = folder.startAccessingSecurityScopedResource()
        defer { if isScoped { folder.stopAccessingSecurityScopedResource() } }
        let aside = URL.documentsDirectory.appendingPathComponent("opened.part")
        try? FileManager.default.removeItem(at: aside)
        defer { try? FileManager.default.removeItem(at: aside) }
        do {
            try FileManager.default.copyItem(at: folder, to: aside)
        } catch {
            throw BundleError(.missing, "\(folder.lastPathComponent) cannot be copied: \(error.localizedDescription)")
        }
        _ = try openBundle(aside, runtimes: Runtimes.names)
        do {
            try? FileManager.default.removeItem(at: opened)
            try FileManager.default.moveItem(at: aside, to: opened)
        } catch {
            throw BundleError(.missing, "the bundle cannot be kept: \(error.localizedDescription); free some memory")
        }
        return try openBundle(opened, runtimes: Runtimes.names)
    }

    private static var opened: URL { URL.documentsDirectory.appendingPathComponent("opened.edgeseg") }
}
