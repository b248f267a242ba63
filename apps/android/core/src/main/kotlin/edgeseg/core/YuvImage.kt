package edgeseg.core

import java.nio.ByteBuffer

/** One plane of a camera's YUV 4:2:0 picture. */
class YuvPlane(val bytes: ByteBuffer, val rowStride: Int, val pixelStride: Int)

/**
 * A camera's YUV 4:2:0 picture as RGB, turned clockwise by [degrees] (0, 90, 180 or 270).
 *
 * Full-range BT.601 (JFIF), which is what android.media.Image delivers, in 16-bit fixed point. Odd sizes are not 4:2:0.
 */
fun yuvToRgb(size: Size, y: YuvPlane, u: YuvPlane, v: YuvPlane, degrees: Int): RgbImage {
    require(size.height % 2 == 0 && size.width % 2 == 0) { "a 4:2:0 picture has even sides, this is $size" }
    require(degrees in listOf(0, 90, 180, 270)) { "$degrees degrees are no quarter turns" }
    val (height, width) = size
    val turned = if (degrees % 180 == 0) size else Size(width, height)
    // A step right or down in the camera's picture is this far in the turned one.
    val (right, down, first) = when (degrees) {
        0 -> Triple(1, width, 0)
        90 -> Triple(height, -1, height - 1)
        180 -> Triple(-1, -width, height * width - 1)
        else -> Triple(-height, 1, (width - 1) * height)
    }
    val pixels = IntArray(size.area)
    val lumaRow = ByteArray(width)
    for (row in 0 until height) {
        readRow(y, row, width, lumaRow)
        var target = first + row * down
        var chromaU = row / 2 * u.rowStride
        var chromaV = row / 2 * v.rowStride
        for (column in 0 until width step 2) {
            val cb = (u.bytes.get(chromaU).toInt() and 0xFF) - 128
            val cr = (v.bytes.get(chromaV).toInt() and 0xFF) - 128
            chromaU += u.pixelStride
            chromaV += v.pixelStride
            val redPart = 91881 * cr + HALF
            val greenPart = HALF - 22554 * cb - 46802 * cr
            val bluePart = 116130 * cb + HALF
            pixels[target] = toPixel(lumaRow[column].toInt() and 0xFF, redPart, greenPart, bluePart)
            pixels[target + right] = toPixel(lumaRow[column + 1].toInt() and 0xFF, redPart, greenPart, bluePart)
            target += 2 * right
        }
    }
    return RgbImage(turned, pixels)
}

private const val HALF = 1 shl 15

private fun readRow(plane: YuvPlane, row: Int, width: Int, into: ByteArray) {
    val start = row * plane.rowStride
    if (plane.pixelStride == 1) {
        plane.bytes.position(start)
        plane.bytes.get(into, 0, width)
    } else {
        for (column in 0 until width) into[column] = plane.bytes.get(start + column * plane.pixelStride)
    }
}

private fun toPixel(luma: Int, redPart: Int, greenPart: Int, bluePart: Int): Int {
    val scaled = luma shl 16
    return packRgb(
        ((scaled + redPart) shr 16).coerceIn(0, 255),
        ((scaled + greenPart) shr 16).coerceIn(0, 255),
        ((scaled + bluePart) shr 16).coerceIn(0, 255)
    )
}
