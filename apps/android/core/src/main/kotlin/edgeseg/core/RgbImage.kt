package edgeseg.core

/** A picture, row by row, packed as 0xFFRRGGBB. */
class RgbImage(val size: Size, val pixels: IntArray) {
    init {
        require(pixels.size == size.area) { "${pixels.size} pixels are not $size" }
    }
}

fun packRgb(red: Int, green: Int, blue: Int): Int = (0xFF shl 24) or (red shl 16) or (green shl 8) or blue

fun red(pixel: Int): Int = pixel shr 16 and 0xFF

fun green(pixel: Int): Int = pixel shr 8 and 0xFF

fun blue(pixel: Int): Int = pixel and 0xFF
