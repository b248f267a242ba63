package edgeseg.core

import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith

/** An artifact that is not the bundle's own is refused in words, not by a crash further on. */
class AnswerTest {
    private val bundle = parseBundle(Spec.read("descriptions.json")["cases"].rows[0]["text"].text)
    private val map = ByteArray(bundle.mapSize.area) { VOID_SLOT.toByte() }
    private val empty = IntArray(bundle.numSlots) { -1 }
    private val score = FloatArray(bundle.numSlots)

    @Test
    fun `an answer in the bundle's shapes is taken as it is`() {
        val category = empty.copyOf().also { it[3] = bundle.categories.size - 1 }
        val slotMap = map.copyOf().also { it[7] = 3 }
        val merged = graphAnswer(bundle, slotMap, category, score)
        assertEquals(bundle.mapSize, merged.mapSize)
        assertContentEquals(slotMap, merged.slotMap)
    }

    @Test
    fun `a map or slots of another size are refused`() {
        assertFailsWith<SegmenterException> { graphAnswer(bundle, ByteArray(map.size + 1), empty, score) }
        assertFailsWith<SegmenterException> { graphAnswer(bundle, map, IntArray(bundle.numSlots - 1), score) }
        assertFailsWith<SegmenterException> { graphAnswer(bundle, map, empty, FloatArray(1)) }
    }

    @Test
    fun `a category that the bundle does not list is refused`() {
        val category = empty.copyOf().also { it[0] = bundle.categories.size }
        assertFailsWith<SegmenterException> { graphAnswer(bundle, map, category, score) }
    }

    @Test
    fun `a pixel in an empty slot or beyond the last one is refused`() {
        for (slot in listOf(0, bundle.numSlots)) {
            val slotMap = map.copyOf().also { it[0] = slot.toByte() }
            assertFailsWith<SegmenterException> { graphAnswer(bundle, slotMap, empty, score) }
        }
    }

    @Test
    fun `logits of another size are refused`() {
        val mask = FloatArray(bundle.numSlots * bundle.logitsSize.area)
        val classes = FloatArray(bundle.numSlots * (bundle.categories.size + 1))
        assertEquals(bundle.numSlots, appAnswer(bundle, mask, classes).slotCategory.size)
        assertFailsWith<SegmenterException> { appAnswer(bundle, mask.copyOf(1), classes) }
        assertFailsWith<SegmenterException> { appAnswer(bundle, mask, classes.copyOf(1)) }
    }
}
