package edgeseg.core

import kotlin.math.floor
import kotlin.math.max
import kotlin.math.min

/** The colour of a thing's slot of this rank; rank 0 is the category's own (apps/spec/README.md, "Slot colour"). */
fun shade(color: Int, rank: Int): Int {
    if (rank == 0) return color
    val (hue, lightness, saturation) = toHls(color)
    val turned = floorMod1(hue + 0.10 * (floorMod1(rank * PLASTIC_RATIO + 0.5) - 0.5))
    val lit = min(max(lightness, 0.36), 0.66) + 0.44 * (floorMod1(rank * GOLDEN_RATIO + 0.5) - 0.5)
    return toRgb(turned, lit, saturation)
}

/** Colour by slot, void (255) and empty slots included as black. */
fun slotColors(merged: Merged, categories: List<Category>): IntArray = IntArray(VOID_SLOT + 1) { slot ->
    val index = merged.slotCategory.getOrElse(slot) { -1 }
    when {
        index < 0 -> packRgb(0, 0, 0)
        categories[index].isThing -> shade(categories[index].color, slot)
        else -> categories[index].color
    }
}

private const val GOLDEN_RATIO = 0.618034
private const val PLASTIC_RATIO = 0.754878

private fun floorMod1(value: Double) = value - floor(value)

private fun toHls(color: Int): Triple<Double, Double, Double> {
    val red = red(color) / 255.0
    val green = green(color) / 255.0
    val blue = blue(color) / 255.0
    val high = maxOf(red, green, blue)
    val low = minOf(red, green, blue)
    val sum = high + low
    val range = high - low
    val lightness = sum / 2
    if (range == 0.0) return Triple(0.0, lightness, 0.0)
    val saturation = if (lightness <= 0.5) range / sum else range / (2.0 - high - low)
    val redGap = (high - red) / range
    val greenGap = (high - green) / range
    val blueGap = (high - blue) / range
    val sector = when (high) {
        red -> blueGap - greenGap
        green -> 2.0 + redGap - blueGap
        else -> 4.0 + greenGap - redGap
    }
    return Triple(floorMod1(sector / 6.0), lightness, saturation)
}

private fun toRgb(hue: Double, lightness: Double, saturation: Double): Int {
    if (saturation == 0.0) return packRgb(toByte(lightness), toByte(lightness), toByte(lightness))
    val high = if (lightness <= 0.5) lightness * (1 + saturation) else lightness + saturation - lightness * saturation
    val low = 2.0 * lightness - high
    return packRgb(
        toByte(channel(low, high, hue + 1.0 / 3)),
        toByte(channel(low, high, hue)),
        toByte(channel(low, high, hue - 1.0 / 3))
    )
}

private fun channel(low: Double, high: Double, hue: Double): Double {
    val h = floorMod1(hue)
    return when {
        h < 1.0 / 6 -> low + (high - low) * h * 6.0
        h < 0.5 -> high
        h < 2.0 / 3 -> low + (high - low) * (2.0 / 3 - h) * 6.0
        else -> low
    }
}

private fun toByte(value: Double) = Math.rint(value * 255).toInt()
