/// Colours a photo's segments: packed 0xAARRGGBB, alpha not multiplied in (apps/spec/README.md, "Overlay").
///
/// Most rows repeat the one above them, so only a row next to a change of map row is painted, and it in runs.
public func paintOverlay(_ panoptic: Panoptic, opacity: Double, outlines: Bool) -> [UInt32] {
    let alpha = UInt32((opacity * 255 + 0.5).rounded(.down)) << 24
    let colors = slotColors(panoptic.merged, panoptic.categories)
    let ink = colors.indices.map { panoptic.idOfSlot[$0] == 0 ? packRGB(60, 60, 60) : lighten(colors[$0]) }
    let painter = Painter(
        panoptic: panoptic, placement: panoptic.placement, fill: colors.map { $0 & 0xFF_FFFF | alpha }, ink: ink,
        outlines: outlines)
    return [UInt32](unsafeUninitializedCapacity: panoptic.placement.photo.area) { pixels, count in
        painter.paint(pixels)
        count = panoptic.placement.photo.area
    }
}

private func lighten(_ color: UInt32) -> UInt32 {
    func channel(_ value: Int) -> Int { (35 * value + 65 * 255 + 50) / 100 }
    return packRGB(channel(red(color)), channel(green(color)), channel(blue(color)))
}

private struct Painter {
    let panoptic: Panoptic
    let placement: Placement
    let fill: [UInt32]
    let ink: [UInt32]
    let outlines: Bool

    func paint(_ pixels: UnsafeMutableBufferPointer<UInt32>) {
        let starts = placement.rowStarts
        for run in 0..<starts.count - 1 {
            let (first, last) = (starts[run], starts[run + 1] - 1)
            paintRow(first, pixels)
            if !outlines {
                repeatRow(first, last, pixels)
            } else if last > first {
                if last > first + 1 { paintRow(first + 1, pixels) }
                repeatRow(first + 1, last - 1, pixels)
                paintRow(last, pixels)
            }
        }
    }

    private func repeatRow(_ row: Int, _ last: Int, _ pixels: UnsafeMutableBufferPointer<UInt32>) {
        guard last > row, let base = pixels.baseAddress else { return }
        let width = placement.photo.width
        for y in row + 1...last { (base + y * width).update(from: base + row * width, count: width) }
    }

    private func paintRow(_ y: Int, _ pixels: UnsafeMutableBufferPointer<UInt32>) {
        let (rows, mapWidth) = (placement.rows, panoptic.merged.mapSize.width)
        let here = rows[y] * mapWidth
        let above = y > 0 ? rows[y - 1] * mapWidth : here
        let below = y + 1 < rows.count ? rows[y + 1] * mapWidth : here
        let starts = placement.columnStarts
        let row = y * placement.photo.width
        var leftId = -1  // of no neighbour
        for run in 0..<starts.count - 1 {
            let column = placement.columns[starts[run]]
            let slot = panoptic.merged.slot(here + column)
            let (from, until) = (row + starts[run], row + starts[run + 1])
            let id = panoptic.idOfSlot[slot]
            let isBorder = outlines && (self.id(above + column) != id || self.id(below + column) != id)
            let color = isBorder ? ink[slot] : fill[slot]
            for pixel in from..<until { pixels[pixel] = color }
            guard outlines else { continue }
            if leftId >= 0 && leftId != id { pixels[from] = ink[slot] }
            if run + 2 < starts.count && self.id(here + placement.columns[starts[run + 1]]) != id {
                pixels[until - 1] = ink[slot]
            }
            leftId = id
        }
    }

    private func id(_ cell: Int) -> Int { panoptic.idOfSlot[panoptic.merged.slot(cell)] }
}
