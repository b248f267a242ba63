/// An artifact, loaded by its runtime. Used from one thread at a time.
public protocol Segmenter: AnyObject {
    /// Name and version of the runtime, and the compute unit that it obtained as far as the system tells.
    var runtimeVersion: String { get }

    /// Segments one picture.
    ///
    /// - Parameter input: (H, W, 3) uint8 RGB at the bundle's input size.
    /// - Throws: ``SegmenterError``.
    func run(_ input: [UInt8]) throws -> Merged
}

/// A runtime cannot do what was asked of it; says what, and a way on, in one line.
public struct SegmenterError: Error, CustomStringConvertible {
    public let description: String

    public init(_ description: String) { self.description = description }
}

/// The outputs of an artifact that merges in its graph, checked against the bundle.
///
/// - Throws: ``SegmenterError`` if they do not fit, so the artifact is not the bundle's.
public func graphAnswer(_ bundle: ModelBundle, slotMap: [UInt8], slotCategory: [Int], slotScore: [Float]) throws -> Merged {
    guard slotMap.count == bundle.mapSize.area, slotCategory.count == bundle.numSlots, slotScore.count == bundle.numSlots
    else { throw refusal("a map of \(slotMap.count) cells with \(slotCategory.count) slots") }
    guard slotCategory.allSatisfy((-1..<bundle.categories.count).contains) else {
        throw refusal("a category that is not in the list")
    }
    let isUsable = (0...voidSlot).map { $0 == voidSlot || ($0 < slotCategory.count && slotCategory[$0] >= 0) }
    guard slotMap.allSatisfy({ isUsable[Int($0)] }) else { throw refusal("a pixel in an empty slot") }
    return Merged(mapSize: bundle.mapSize, slotMap: slotMap, slotCategory: slotCategory, slotScore: slotScore)
}

/// The outputs of an artifact that leaves the merge to the app, merged.
///
/// - Throws: ``SegmenterError`` if they do not fit the bundle.
public func appAnswer(_ bundle: ModelBundle, maskLogits: [Float], classLogits: [Float]) throws -> Merged {
    let isThing = bundle.categories.map(\.isThing)
    guard maskLogits.count == bundle.numSlots * bundle.logitsSize.area,
        classLogits.count == bundle.numSlots * (isThing.count + 1)
    else { throw refusal("\(maskLogits.count) mask logits and \(classLogits.count) class logits") }
    guard (maskLogits + classLogits).allSatisfy(\.isFinite) else { throw refusal("a logit that is no finite number") }
    return mergeSlots(
        classLogits: classLogits, maskLogits: maskLogits, logitsSize: bundle.logitsSize, rule: bundle.merge,
        isThing: isThing)
}

private func refusal(_ what: String) -> SegmenterError {
    SegmenterError("the artifact answers with \(what), which bundle.json does not allow; export the bundle again")
}
