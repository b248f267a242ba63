package edgeseg.core

import java.io.ByteArrayOutputStream
import java.io.File
import java.io.IOException
import java.util.zip.ZipEntry
import java.util.zip.ZipOutputStream
import javax.imageio.ImageIO
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertTrue

class SelfCheckTest {
    @Test
    fun `an answer agrees with itself`() {
        assertEquals(Agreement(1.0, 2, 2), agreement(merged("0011", 5, 6), merged("0011", 5, 6)))
    }

    @Test
    fun `slots that swapped their numbers show the same picture`() {
        assertEquals(Agreement(1.0, 2, 2), agreement(merged("1100", 6, 5), merged("0011", 5, 6)))
    }

    @Test
    fun `the same shape with another category is wrong in all its pixels`() {
        assertEquals(Agreement(0.5, 1, 2), agreement(merged("0011", 5, 7), merged("0011", 5, 6)))
    }

    @Test
    fun `a pixel too many costs one pixel`() {
        assertEquals(Agreement(0.875, 2, 2), agreement(merged("00000111", 5, 6), merged("00001111", 5, 6)))
    }

    @Test
    fun `void for void is equal, void for a segment is not`() {
        assertEquals(Agreement(0.75, 0, 1), agreement(merged("....", -1), merged("0...", 5)))
    }

    @Test
    fun `float needs 999 of 1000 pixels, any other precision 990`() {
        fun verdict(precision: String, share: Double) =
            SelfCheck(Artifact("f", "litert", precision, MergePlace.GRAPH, "", 0, ""), 1, share, 3).isPass
        assertTrue(verdict("float32", 0.999) && verdict("int8", 0.99) && verdict("ternary", 0.99))
        assertFalse(verdict("float32", 0.9989) || verdict("int8", 0.9899))
    }

    @Test
    fun `one tipped picture does not fail a quantized file and fails a float one`() {
        val shares = List(7) { 0.995 } + 0.75
        assertTrue(judgedShare("int8", shares) >= 0.99)
        assertTrue(judgedShare("float32", shares) < 0.99)
    }

    @Test
    fun `a check without a picture is no pass`() {
        assertFalse(SelfCheck(Artifact("f", "litert", "int8", MergePlace.GRAPH, "", 0, ""), 0, 1.0, 0).isPass)
    }

    @Test
    fun `numpy arrays are read as numpy wrote them`() {
        val header = "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }".padEnd(117) + "\n"
        val bytes = npy(header, byteArrayOf(1, 0, 0, 0, -1, -1, -1, -1, 0, 1, 0, 0))
        val array = readNpz(zip("slot_category.npy", bytes).inputStream()).getValue("slot_category")
        assertEquals(listOf(3), array.shape)
        assertContentEquals(intArrayOf(1, -1, 256), array.values as IntArray)
    }

    @Test
    fun `an array that is cut off or of another kind is named`() {
        val header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }\n"
        for (bytes in listOf(npy(header, ByteArray(8)), npy(header.replace("f8", "f4"), ByteArray(3)), ByteArray(4))) {
            val refused = assertFailsWith<IOException> { readNpz(zip("x.npy", bytes).inputStream()) }
            assertTrue("x.npy" in refused.message!!)
        }
    }

    @Test
    fun `the bundle of the specification opens, and torch's own logits merge to torch's own map`() {
        val open = openBundle(File(Spec.folder, "tiny.edgeseg"), setOf("executorch", "litert"))
        val precisions = open.bundle.artifacts.map { it.precision }.distinct()
        assertTrue(precisions.isNotEmpty())
        for (precision in precisions) {
            val golden = readGoldens(open, precision).first()
            assertEquals(open.bundle.mapSize, golden.expected.mapSize)
            assertEquals(open.bundle.inputSize, ImageIO.read(golden.picture).let { Size(it.height, it.width) })
            val arrays = File(open.folder, "golden/000.$precision.npz").inputStream().use(::readNpz)
            val merged = mergeSlots(
                arrays.getValue("class_logits").values as FloatArray,
                arrays.getValue("mask_logits").values as FloatArray,
                open.bundle.logitsSize,
                open.bundle.merge,
                open.bundle.categories.map { it.isThing }.toBooleanArray()
            )
            assertContentEquals(golden.expected.slotMap, merged.slotMap)
            assertContentEquals(golden.expected.slotCategory, merged.slotCategory)
        }
    }

    /** One row of digits and dots (void), and the slots' categories. */
    private fun merged(map: String, vararg category: Int) = Merged(
        Size(1, map.length),
        ByteArray(map.length) { if (map[it] == '.') VOID_SLOT.toByte() else (map[it] - '0').toByte() },
        category,
        FloatArray(category.size)
    )

    private fun npy(header: String, data: ByteArray): ByteArray =
        byteArrayOf(0x93.toByte()) + "NUMPY".toByteArray() + byteArrayOf(1, 0, header.length.toByte(), 0) +
            header.toByteArray() + data

    private fun zip(name: String, bytes: ByteArray): ByteArray {
        val out = ByteArrayOutputStream()
        ZipOutputStream(out).use {
            it.putNextEntry(ZipEntry(name))
            it.write(bytes)
        }
        return out.toByteArray()
    }
}
