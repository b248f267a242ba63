package edgeseg.core

import java.nio.ByteBuffer
import kotlin.math.abs
import kotlin.math.roundToInt
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue

class YuvImageTest {
    @Test
    fun `colours are those of JFIF to one level`() {
        for ((luma, cb, cr) in listOf(
            Triple(0, 128, 128),
            Triple(255, 128, 128),
            Triple(76, 85, 255),
            Triple(150, 44, 21),
            Triple(29, 255, 107)
        )) {
            val pixel = yuvToRgb(Size(2, 2), plane(luma, 4, 2, 1), plane(cb, 1, 1, 1), plane(cr, 1, 1, 1), 0).pixels[3]
            // ITU-T T.871, clause 7
            val wanted = listOf(
                luma + 1.402 * (cr - 128),
                luma - 0.344136 * (cb - 128) - 0.714136 * (cr - 128),
                luma + 1.772 * (cb - 128)
            ).map { it.roundToInt().coerceIn(0, 255) }
            listOf(red(pixel), green(pixel), blue(pixel)).zip(wanted) { a, b ->
                assertTrue(abs(a - b) <= 1, "$a, not $b")
            }
        }
    }

    @Test
    fun `strides of rows and interleaved chroma are followed`() {
        val luma =
            YuvPlane(
                ByteBuffer.wrap(byteArrayOf(10, 20, 30, 40, 99, 99, 50, 60, 70, 80)),
                rowStride = 6,
                pixelStride = 1
            )
        val grey = YuvPlane(ByteBuffer.wrap(byteArrayOf(-128, 7, -128)), rowStride = 4, pixelStride = 2)
        val image = yuvToRgb(Size(2, 4), luma, grey, grey, 0)
        assertEquals(listOf(10, 20, 30, 40, 50, 60, 70, 80), image.pixels.map { green(it) })
    }

    @Test
    fun `quarter turns go clockwise`() {
        val luma = YuvPlane(ByteBuffer.wrap(byteArrayOf(1, 2, 3, 4, 5, 6, 7, 8)), rowStride = 4, pixelStride = 1)
        val grey = plane(128, 2, 2, 1)
        fun turned(degrees: Int) = yuvToRgb(Size(2, 4), luma, grey, grey, degrees).let {
            it.size to
                it.pixels.map { p -> red(p) }
        }
        assertEquals(Size(2, 4) to listOf(1, 2, 3, 4, 5, 6, 7, 8), turned(0))
        assertEquals(Size(4, 2) to listOf(5, 1, 6, 2, 7, 3, 8, 4), turned(90))
        assertEquals(Size(2, 4) to listOf(8, 7, 6, 5, 4, 3, 2, 1), turned(180))
        assertEquals(Size(4, 2) to listOf(4, 8, 3, 7, 2, 6, 1, 5), turned(270))
    }

    private fun plane(value: Int, count: Int, rowStride: Int, pixelStride: Int) =
        YuvPlane(ByteBuffer.wrap(ByteArray(count) { value.toByte() }), rowStride, pixelStride)
}
