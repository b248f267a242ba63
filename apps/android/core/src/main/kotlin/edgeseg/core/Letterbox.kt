package edgeseg.core

import kotlin.math.max

/** The part of the [network]'s input that a photo of this size fills, at the top left (docs/merge.md). */
fun fittedSize(photo: Size, network: Size): Size {
    val height = photo.height.toLong()
    val width = photo.width.toLong()
    return if (height * network.width >= width * network.height) {
        Size(network.height, max(1, ((2 * width * network.height + height) / (2 * height)).toInt()))
    } else {
        Size(max(1, ((2 * height * network.width + width) / (2 * width)).toInt()), network.width)
    }
}

/**
 * Scales a photo into the network's input (apps/spec/README.md, "Letterbox"): top left, zeros right and below.
 *
 * Holds what depends on the sizes only, so that a camera's frames share it.
 */
class Letterbox(val photo: Size, val network: Size) {
    val fitted = fittedSize(photo, network)

    private val isShrinking = fitted.height < photo.height
    private val rows = taps(photo.height, fitted.height)
    private val columns = taps(photo.width, fitted.width)
    private val total = rows.total.toLong() * columns.total
    private val scaledRow = IntArray(3 * fitted.width)
    private val sums = LongArray(3 * fitted.width)

    /** Fills (height, width, 3) uint8 bytes. */
    fun apply(image: RgbImage, input: ByteArray) {
        require(image.size == photo && input.size == 3 * network.area) { "made for $photo in $network" }
        input.fill(0)
        var held = -1 // the photo row that scaledRow holds
        for (y in 0 until fitted.height) {
            sums.fill(0)
            for (tap in rows.start[y] until rows.start[y + 1]) {
                if (rows.source[tap] != held) {
                    held = rows.source[tap]
                    scaleRow(image.pixels, held * photo.width)
                }
                val weight = rows.weight[tap].toLong()
                for (x in sums.indices) sums[x] += weight * scaledRow[x]
            }
            val start = 3 * y * network.width
            for (x in sums.indices) input[start + x] = ((2 * sums[x] + total) / (2 * total)).toByte()
        }
    }

    private fun scaleRow(pixels: IntArray, start: Int) {
        for (x in 0 until fitted.width) {
            var red = 0
            var green = 0
            var blue = 0
            for (tap in columns.start[x] until columns.start[x + 1]) {
                val pixel = pixels[start + columns.source[tap]]
                val weight = columns.weight[tap]
                red += weight * (pixel shr 16 and 0xFF)
                green += weight * (pixel shr 8 and 0xFF)
                blue += weight * (pixel and 0xFF)
            }
            scaledRow[3 * x] = red
            scaledRow[3 * x + 1] = green
            scaledRow[3 * x + 2] = blue
        }
    }

    private fun taps(photo: Int, fitted: Int) = if (isShrinking) coverage(photo, fitted) else bilinear(photo, fitted)
}

/** Output i takes source[t] with weight[t] for t in start[i] until start[i + 1]; its weights sum to [total]. */
private class Taps(val start: IntArray, val source: IntArray, val weight: IntArray, val total: Int)

/** Output y covers [y photo, (y + 1) photo), input i [i fitted, (i + 1) fitted). */
private fun coverage(photo: Int, fitted: Int): Taps {
    val start = IntArray(fitted + 1)
    val source = ArrayList<Int>()
    val weight = ArrayList<Int>()
    for (y in 0 until fitted) {
        val from = y.toLong() * photo
        val until = from + photo
        for (i in (from / fitted).toInt()..((until - 1) / fitted).toInt()) {
            source += i
            weight += (minOf(until, (i + 1L) * fitted) - maxOf(from, i.toLong() * fitted)).toInt()
        }
        start[y + 1] = source.size
    }
    return Taps(start, source.toIntArray(), weight.toIntArray(), photo)
}

/** Between pixel centres; the last input repeats. */
private fun bilinear(photo: Int, fitted: Int): Taps {
    val start = IntArray(fitted + 1) { 2 * it }
    val source = IntArray(2 * fitted)
    val weight = IntArray(2 * fitted)
    for (y in 0 until fitted) {
        val position = max(0L, (2L * y + 1) * photo - fitted)
        val next = (position % (2L * fitted)).toInt()
        source[2 * y] = (position / (2L * fitted)).toInt()
        source[2 * y + 1] = minOf(source[2 * y] + 1, photo - 1)
        weight[2 * y] = 2 * fitted - next
        weight[2 * y + 1] = next
    }
    return Taps(start, source, weight, 2 * fitted)
}
