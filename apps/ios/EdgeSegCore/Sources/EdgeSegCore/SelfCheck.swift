import Foundation

public let goldenFolder = "golden"

/// A golden picture, letterboxed already, and torch's answer to it.
public struct Golden: Sendable {
    public let picture: RGBImage
    public let expected: Merged
}

/// What the self-check says about an artifact on this device.
public struct SelfCheck: Equatable, Sendable, CustomStringConvertible {
    public let artifact: Artifact
    /// One share of equal pixels per golden picture.
    public let pixelsEqual: [Double]

    public init(artifact: Artifact, pixelsEqual: [Double]) {
        self.artifact = artifact
        self.pixelsEqual = pixelsEqual
    }

    /// What the floor is for: the mean over pictures in float32, else their lower quartile, as a rare one tips over a tie.
    public var share: Double {
        if pixelsEqual.isEmpty { return 0 }
        if artifact.precision == "float32" { return pixelsEqual.reduce(0, +) / Double(pixelsEqual.count) }
        return percentile(pixelsEqual.sorted(), 25)
    }
    public var floor: Double { artifact.precision == "float32" ? 0.999 : 0.99 }
    public var isPass: Bool { !pixelsEqual.isEmpty && share >= floor }

    public var description: String {
        let percent = String(format: "%.2f %%", locale: Locale(identifier: "en_US_POSIX"), 100 * share)
        let wanted = String(format: "%.1f %%", locale: Locale(identifier: "en_US_POSIX"), 100 * floor)
        let pictures = "\(pixelsEqual.count) golden pictures"
        return "\(isPass ? "PASS" : "DIFFERS"): \(percent) of the pixels of \(pictures) are torch's, \(wanted) wanted"
    }
}

/// The golden answers that the bundle keeps for a precision.
///
/// - Throws: ``PackedFileError`` or a file system error.
public func readGoldens(_ open: OpenBundle, precision: String) throws -> [Golden] {
    let ending = ".\(precision).npz"
    let names = open.bundle.sha256ByFile.keys.filter { $0.hasPrefix("\(goldenFolder)/") && $0.hasSuffix(ending) }
    return try names.sorted().map { name in
        let picture = String(name.dropLast(ending.count)) + ".png"
        return Golden(picture: try readPNG(bytes(open, picture)), expected: try readAnswer(bytes(open, name), name))
    }
}

private func bytes(_ open: OpenBundle, _ name: String) throws -> [UInt8] {
    Array(try Data(contentsOf: open.folder.appendingPathComponent(name)))
}

private func readAnswer(_ npz: [UInt8], _ name: String) throws -> Merged {
    let arrays = try readNpz(npz)
    guard let map = arrays["slot_map"], map.shape.count == 2, case .uint8(let cells) = map.values,
        case .int32(let category)? = arrays["slot_category"]?.values,
        case .float32(let score)? = arrays["slot_score"]?.values, score.count == category.count, score.count <= maxSlots
    else { throw PackedFileError("\(name) holds no slot_map, slot_category and slot_score") }
    return Merged(
        mapSize: Size(height: map.shape[0], width: map.shape[1]), slotMap: cells, slotCategory: category, slotScore: score)
}

/// Share of pixels that show the same segment in both, the twin of `compare` in export/verify.py.
///
/// Two slots match if each shares more pixels with the other than with any other slot (the lowest on ties) and their
/// categories are equal; void takes part. A pixel is equal if it lies in the slot that matches its wanted one.
public func agreement(_ got: Merged, _ expected: Merged) -> Double {
    guard got.mapSize == expected.mapSize else { return 0 }
    let numValues = voidSlot + 1
    var shared = [Int](repeating: 0, count: numValues * numValues)
    for cell in got.slotMap.indices { shared[got.slot(cell) * numValues + expected.slot(cell)] += 1 }
    func best(_ count: (Int) -> Int) -> Int { (0..<numValues).reduce(0) { count($1) > count($0) ? $1 : $0 } }
    var equal = 0
    for wanted in 0..<numValues {
        let slot = best { shared[$0 * numValues + wanted] }
        let isMutual = best { shared[slot * numValues + $0] } == wanted
        if isMutual && category(got, slot) == category(expected, wanted) { equal += shared[slot * numValues + wanted] }
    }
    return Double(equal) / Double(got.mapSize.area)
}

private func category(_ merged: Merged, _ slot: Int) -> Int {
    slot == voidSlot ? -2 : slot < merged.slotCategory.count ? merged.slotCategory[slot] : -1
}
