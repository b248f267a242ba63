import Foundation

/// The network's answer (docs/merge.md): `slotMap` is `mapSize` bytes, 255 = void; categories are -1 where empty.
public struct Merged: Equatable, Sendable {
    public let mapSize: Size
    public let slotMap: [UInt8]
    public let slotCategory: [Int]
    public let slotScore: [Float]

    public init(mapSize: Size, slotMap: [UInt8], slotCategory: [Int], slotScore: [Float]) {
        precondition(
            slotMap.count == mapSize.area && slotCategory.count == slotScore.count && slotCategory.count <= maxSlots,
            "a map of \(slotMap.count) bytes with \(slotCategory.count) slots is not one of \(mapSize)")
        self.mapSize = mapSize
        self.slotMap = slotMap
        self.slotCategory = slotCategory
        self.slotScore = slotScore
    }

    func slot(_ cell: Int) -> Int { Int(slotMap[cell]) }
}

/// The panoptic merge, the twin of edgeseg/merge.py.
///
/// - Parameters:
///   - classLogits: (N, K + 1), the last column is void.
///   - maskLogits: (N, h, w) with `logitsSize` = h, w.
///   - isThing: (K) by category index.
public func mergeSlots(
    classLogits: [Float], maskLogits: [Float], logitsSize: Size, rule: MergeRule, isThing: [Bool]
) -> Merged {
    let columns = isThing.count + 1
    let numSlots = classLogits.count / columns
    precondition(
        (1...maxSlots).contains(numSlots) && classLogits.count == numSlots * columns
            && maskLogits.count == numSlots * logitsSize.area,
        "\(classLogits.count) class and \(maskLogits.count) mask logits do not fit \(isThing.count) categories")
    let judged = (0..<numSlots).map { judge(classLogits[$0 * columns..<($0 + 1) * columns]) }
    let mapSize = Size(height: logitsSize.height * rule.upsample, width: logitsSize.width * rule.upsample)
    var slotMap = [UInt8](repeating: UInt8(voidSlot), count: mapSize.area)
    var best = [Float](repeating: -.infinity, count: mapSize.area)
    let enlargement = Enlargement(size: logitsSize, factor: rule.upsample)
    for (slot, (category, score)) in judged.enumerated()
    where score >= (isThing[category] ? rule.thingThreshold : rule.stuffThreshold) {
        enlargement.compete(slot, maskLogits, best: &best, slotMap: &slotMap)
    }
    return emptySmall(mapSize, slotMap, judged, rule)
}

/// Score: the largest softmax among the real categories; category: the lowest index that reaches it.
private func judge(_ logits: ArraySlice<Float>) -> (category: Int, score: Float) {
    let largest = logits.max() ?? 0
    let exponentials = logits.map { exp($0 - largest) }
    let sum = exponentials.reduce(0, +)
    var (category, score) = (0, exponentials[0] / sum)
    for k in 1..<max(1, exponentials.count - 1) where exponentials[k] / sum > score {
        (category, score) = (k, exponentials[k] / sum)
    }
    return (category, score)
}

/// Bilinear enlargement by an integer, half-pixel centres, edges repeated: down first, then across, in float32.
private struct Enlargement {
    let size: Size
    let down: Axis
    let across: Axis

    init(size: Size, factor: Int) {
        self.size = size
        down = Axis(length: size.height, factor: factor)
        across = Axis(length: size.width, factor: factor)
    }

    /// Gives the slot every pixel where its enlarged logit is above `best`; a tie stays with the lower slot.
    func compete(_ slot: Int, _ maskLogits: [Float], best: inout [Float], slotMap: inout [UInt8]) {
        let start = slot * size.area
        var tall = [Float](repeating: 0, count: size.width)
        maskLogits.withUnsafeBufferPointer { logits in
            best.withUnsafeMutableBufferPointer { best in
                slotMap.withUnsafeMutableBufferPointer { slotMap in
                    var cell = 0
                    for y in down.first.indices {
                        let (top, bottom) = (start + down.first[y] * size.width, start + down.next[y] * size.width)
                        let t = down.weight[y]
                        for x in 0..<size.width { tall[x] = logits[top + x] * (1 - t) + logits[bottom + x] * t }
                        for x in across.first.indices {
                            let s = across.weight[x]
                            let value = tall[across.first[x]] * (1 - s) + tall[across.next[x]] * s
                            if value > best[cell] {
                                best[cell] = value
                                slotMap[cell] = UInt8(slot)
                            }
                            cell += 1
                        }
                    }
                }
            }
        }
    }
}

/// For each output position: the input below it, the next one, and the weight of the next one.
private struct Axis {
    let first: [Int]
    let next: [Int]
    let weight: [Float]

    init(length: Int, factor: Int) {
        let positions = (0..<length * factor).map { max((Double($0) + 0.5) / Double(factor) - 0.5, 0) }
        first = positions.map { Int($0) }
        next = positions.map { min(Int($0) + 1, length - 1) }
        weight = positions.map { Float($0 - $0.rounded(.down)) }
    }
}

private func emptySmall(
    _ mapSize: Size, _ slotMap: [UInt8], _ judged: [(category: Int, score: Float)], _ rule: MergeRule
) -> Merged {
    var area = [Int](repeating: 0, count: voidSlot + 1)
    for slot in slotMap { area[Int(slot)] += 1 }
    let inputPixels = (logitsStride / rule.upsample) * (logitsStride / rule.upsample)
    let isFull = judged.indices.map { area[$0] > 0 && area[$0] * inputPixels >= rule.minArea }
    let target = (0...voidSlot).map { UInt8($0 < isFull.count && isFull[$0] ? $0 : voidSlot) }
    return Merged(
        mapSize: mapSize, slotMap: slotMap.map { target[Int($0)] },
        slotCategory: judged.indices.map { isFull[$0] ? judged[$0].category : -1 },
        slotScore: judged.indices.map { isFull[$0] ? judged[$0].score : 0 })
}
