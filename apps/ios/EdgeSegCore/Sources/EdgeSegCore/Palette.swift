/// The colour of a thing's slot of this rank; rank 0 is the category's own (apps/spec/README.md, "Slot colour").
public func shade(_ color: UInt32, rank: Int) -> UInt32 {
    if rank == 0 { return color }
    let (hue, lightness, saturation) = toHLS(color)
    let turned = fraction(hue + 0.10 * (fraction(Double(rank) * plasticRatio + 0.5) - 0.5))
    let lit = min(max(lightness, 0.36), 0.66) + 0.44 * (fraction(Double(rank) * goldenRatio + 0.5) - 0.5)
    return toRGB(turned, lit, saturation)
}

/// Colour by slot; void (255) and empty slots are black.
public func slotColors(_ merged: Merged, _ categories: [PanopticCategory]) -> [UInt32] {
    (0...voidSlot).map { slot in
        guard slot < merged.slotCategory.count, merged.slotCategory[slot] >= 0 else { return packRGB(0, 0, 0) }
        let category = categories[merged.slotCategory[slot]]
        return category.isThing ? shade(category.color, rank: slot) : category.color
    }
}

private let goldenRatio = 0.618034
private let plasticRatio = 0.754878

private func fraction(_ value: Double) -> Double { value - value.rounded(.down) }

/// As Python's colorsys.rgb_to_hls, all in 0..1.
private func toHLS(_ color: UInt32) -> (Double, Double, Double) {
    let (r, g, b) = (Double(red(color)) / 255, Double(green(color)) / 255, Double(blue(color)) / 255)
    let (high, low) = (max(r, g, b), min(r, g, b))
    let (sum, range) = (high + low, high - low)
    let lightness = sum / 2
    if range == 0 { return (0, lightness, 0) }
    let saturation = lightness <= 0.5 ? range / sum : range / (2 - high - low)
    let (redGap, greenGap, blueGap) = ((high - r) / range, (high - g) / range, (high - b) / range)
    let sector = r == high ? blueGap - greenGap : g == high ? 2 + redGap - blueGap : 4 + greenGap - redGap
    return (fraction(sector / 6), lightness, saturation)
}

private func toRGB(_ hue: Double, _ lightness: Double, _ saturation: Double) -> UInt32 {
    let high =
        lightness <= 0.5 ? lightness * (1 + saturation) : lightness + saturation - lightness * saturation
    let low = 2 * lightness - high
    func channel(_ turn: Double) -> Int {
        let h = fraction(hue + turn)
        let value =
            h < 1.0 / 6 ? low + (high - low) * h * 6 : h < 0.5 ? high : h < 2.0 / 3 ? low + (high - low) * (2.0 / 3 - h) * 6 : low
        return Int((value * 255).rounded(.toNearestOrEven))
    }
    return packRGB(channel(1.0 / 3), channel(0), channel(-1.0 / 3))
}
