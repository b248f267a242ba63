package edgeseg.core

import kotlin.math.exp
import kotlin.math.max
import kotlin.math.min

/** The network's answer (docs/merge.md): [slotMap] is [mapSize] bytes, 255 = void; categories are -1 where empty. */
class Merged(val mapSize: Size, val slotMap: ByteArray, val slotCategory: IntArray, val slotScore: FloatArray) {
    init {
        require(slotMap.size == mapSize.area && slotCategory.size == slotScore.size && slotCategory.size <= MAX_SLOTS) {
            "a map of ${slotMap.size} bytes with ${slotCategory.size} and ${slotScore.size} slots is not one of $mapSize"
        }
    }

    fun slotAt(cell: Int): Int = slotMap[cell].toInt() and 0xFF
}

/**
 * The panoptic merge, the twin of edgeseg/merge.py.
 *
 * @param classLogits (N, K + 1), the last column is void
 * @param maskLogits (N, h, w) with [logitsSize] = h, w
 * @param isThing (K) by category index
 */
fun mergeSlots(
    classLogits: FloatArray,
    maskLogits: FloatArray,
    logitsSize: Size,
    rule: MergeRule,
    isThing: BooleanArray
): Merged {
    val numSlots = classLogits.size / (isThing.size + 1)
    require(
        numSlots in 1..MAX_SLOTS &&
            classLogits.size == numSlots * (isThing.size + 1) &&
            maskLogits.size == numSlots * logitsSize.area
    ) { "${classLogits.size} class and ${maskLogits.size} mask logits do not fit ${isThing.size} categories" }
    val category = IntArray(numSlots)
    val score = FloatArray(numSlots)
    for (slot in 0 until numSlots) classify(classLogits, slot, isThing.size, category, score)

    val mapSize = Size(logitsSize.height * rule.upsample, logitsSize.width * rule.upsample)
    val slotMap = ByteArray(mapSize.area) { VOID_SLOT.toByte() }
    val best = FloatArray(mapSize.area) { Float.NEGATIVE_INFINITY }
    val enlarge = Enlargement(logitsSize, rule.upsample)
    for (slot in 0 until numSlots) {
        val threshold = if (isThing[category[slot]]) rule.thingThreshold else rule.stuffThreshold
        if (score[slot] >= threshold) enlarge.compete(maskLogits, slot, best, slotMap)
    }
    return emptySmall(mapSize, slotMap, category, score, rule)
}

/** Score: the largest softmax among the real categories; category: the lowest index that reaches it. */
private fun classify(logits: FloatArray, slot: Int, numCategories: Int, category: IntArray, score: FloatArray) {
    val start = slot * (numCategories + 1)
    var largest = logits[start]
    for (k in 1..numCategories) largest = max(largest, logits[start + k])
    val exponential = FloatArray(numCategories + 1) { exp(logits[start + it] - largest) }
    var sum = 0f
    for (value in exponential) sum += value
    for (k in 0 until numCategories) {
        val probability = exponential[k] / sum
        if (k == 0 || probability > score[slot]) {
            score[slot] = probability
            category[slot] = k
        }
    }
}

/** Bilinear enlargement by an integer, half-pixel centres, edges repeated: down first, then across, in float32. */
private class Enlargement(private val size: Size, factor: Int) {
    private val down = Axis(size.height, factor)
    private val across = Axis(size.width, factor)
    private val tall = FloatArray(size.width)

    /** Gives the slot every pixel where its enlarged logit is above [best]; a tie stays with the lower slot. */
    fun compete(maskLogits: FloatArray, slot: Int, best: FloatArray, slotMap: ByteArray) {
        val start = slot * size.area
        for (y in down.first.indices) {
            val top = start + down.first[y] * size.width
            val bottom = start + down.next[y] * size.width
            val t = down.weight[y]
            for (x in tall.indices) tall[x] = maskLogits[top + x] * (1 - t) + maskLogits[bottom + x] * t
            var cell = y * across.first.size
            for (x in across.first.indices) {
                val s = across.weight[x]
                val value = tall[across.first[x]] * (1 - s) + tall[across.next[x]] * s
                if (value > best[cell]) {
                    best[cell] = value
                    slotMap[cell] = slot.toByte()
                }
                cell++
            }
        }
    }
}

/** For each output position: the input below it, the next one, and the weight of the next one. */
private class Axis(length: Int, factor: Int) {
    private val position = DoubleArray(length * factor) { max((it + 0.5) / factor - 0.5, 0.0) }
    val first = IntArray(position.size) { position[it].toInt() }
    val next = IntArray(position.size) { min(first[it] + 1, length - 1) }
    val weight = FloatArray(position.size) { (position[it] - first[it]).toFloat() }
}

private fun emptySmall(
    mapSize: Size,
    slotMap: ByteArray,
    category: IntArray,
    score: FloatArray,
    rule: MergeRule
): Merged {
    val area = IntArray(VOID_SLOT + 1)
    for (slot in slotMap) area[slot.toInt() and 0xFF]++
    val inputPixels = (LOGITS_STRIDE / rule.upsample).let { it * it }
    val isFull = BooleanArray(VOID_SLOT + 1) {
        it < category.size && area[it] > 0 &&
            area[it] * inputPixels >= rule.minArea
    }
    for (cell in slotMap.indices) if (!isFull[slotMap[cell].toInt() and 0xFF]) slotMap[cell] = VOID_SLOT.toByte()
    return Merged(
        mapSize,
        slotMap,
        IntArray(category.size) { if (isFull[it]) category[it] else -1 },
        FloatArray(category.size) { if (isFull[it]) score[it] else 0f }
    )
}
