/// One segment of the photo; `bbox` is x, y, width, height, all in photo pixels.
public struct Segment: Equatable, Sendable, Identifiable {
    public let id: Int
    public let category: PanopticCategory
    public let area: Int
    public let share: Double
    public let bbox: [Int]
    public let score: Float
    /// The lowest of its slots, whose colour it has.
    public let slot: Int
}

/// What the photo shows: one segment per thing slot, one for all stuff slots of a category together (docs/merge.md).
public struct Panoptic: Sendable {
    public let merged: Merged
    public let placement: Placement
    public let categories: [PanopticCategory]
    /// Ids from 1 by the lowest slot that the photo shows.
    public let segments: [Segment]
    /// Segment id by slot, 0 = void.
    let idOfSlot: [Int]

    public init(_ merged: Merged, _ placement: Placement, _ categories: [PanopticCategory]) {
        self.merged = merged
        self.placement = placement
        self.categories = categories
        let extents = Self.slotExtents(merged, placement)
        var idOfSlot = [Int](repeating: 0, count: voidSlot + 1)
        var slotsOf: [[Int]] = []
        var stuffId: [Int: Int] = [:]
        for (slot, index) in merged.slotCategory.enumerated() where extents[slot].area > 0 {
            let id = stuffId[index] ?? slotsOf.count + 1
            if id > slotsOf.count { slotsOf.append([]) }
            if !categories[index].isThing { stuffId[index] = id }
            slotsOf[id - 1].append(slot)
            idOfSlot[slot] = id
        }
        self.idOfSlot = idOfSlot
        segments = slotsOf.enumerated().map { i, slots in
            let extent = slots.dropFirst().reduce(extents[slots[0]]) { $0.union(extents[$1]) }
            return Segment(
                id: i + 1, category: categories[merged.slotCategory[slots[0]]], area: extent.area,
                share: Double(extent.area) / Double(placement.photo.area),
                bbox: [extent.left, extent.top, extent.right - extent.left, extent.bottom - extent.top],
                score: slots.map { merged.slotScore[$0] }.max() ?? 0, slot: slots[0])
        }
    }

    /// Segments by area, the larger first, equal ones by id.
    public var legend: [Segment] { segments.sorted { ($1.area, $0.id) < ($0.area, $1.id) } }

    public var voidShare: Double {
        1 - Double(segments.reduce(0) { $0 + $1.area }) / Double(placement.photo.area)
    }

    /// The segment at a photo pixel, nil where there is none.
    public func segment(x: Int, y: Int) -> Segment? {
        let id = idOfSlot[merged.slot(placement.rows[y] * merged.mapSize.width + placement.columns[x])]
        return id == 0 ? nil : segments[id - 1]
    }

    /// The pixels of a COCO panoptic PNG: id = R + 256 G + 65536 B.
    public func idPixels() -> RGBImage {
        let width = merged.mapSize.width
        let colorOfSlot = idOfSlot.map { packRGB($0 & 0xFF, $0 >> 8 & 0xFF, $0 >> 16 & 0xFF) }
        let pixels = placement.rows.flatMap { row in
            placement.columns.map { colorOfSlot[merged.slot(row * width + $0)] }
        }
        return RGBImage(size: placement.photo, pixels: pixels)
    }

    /// Photo pixels and box of every slot, counted over runs; 255 is void.
    private static func slotExtents(_ merged: Merged, _ placement: Placement) -> [Extent] {
        var extents = [Extent](repeating: Extent(), count: voidSlot + 1)
        let (rowStarts, columnStarts) = (placement.rowStarts, placement.columnStarts)
        for r in 0..<rowStarts.count - 1 {
            let row = placement.rows[rowStarts[r]] * merged.mapSize.width
            for c in 0..<columnStarts.count - 1 {
                let slot = merged.slot(row + placement.columns[columnStarts[c]])
                extents[slot].add(rowStarts[r], rowStarts[r + 1], columnStarts[c], columnStarts[c + 1])
            }
        }
        return extents
    }
}

private struct Extent {
    var area = 0
    var top = Int.max
    var bottom = 0
    var left = Int.max
    var right = 0

    mutating func add(_ top: Int, _ bottom: Int, _ left: Int, _ right: Int) {
        area += (bottom - top) * (right - left)
        self.top = min(self.top, top)
        self.bottom = max(self.bottom, bottom)
        self.left = min(self.left, left)
        self.right = max(self.right, right)
    }

    func union(_ other: Extent) -> Extent {
        Extent(
            area: area + other.area, top: min(top, other.top), bottom: max(bottom, other.bottom),
            left: min(left, other.left), right: max(right, other.right))
    }
}
