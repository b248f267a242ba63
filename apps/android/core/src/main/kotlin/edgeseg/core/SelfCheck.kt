package edgeseg.core

import java.io.File
import java.io.IOException

const val GOLDEN = "golden"

/** A golden picture, letterboxed already, and torch's answer to it. */
class Golden(val picture: File, val expected: Merged)

/** How far an answer agrees with torch's, as `edgeseg verify` counts it. */
data class Agreement(val pixelsEqual: Double, val segmentsFound: Int, val numSegments: Int)

/** What the self-check says about an artifact on this device. */
data class SelfCheck(val artifact: Artifact, val numPictures: Int, val pixelsEqual: Double, val numSegments: Int) {
    val floor: Double get() = if (artifact.precision == "float32") 0.999 else 0.99

    val isPass: Boolean get() = numPictures > 0 && pixelsEqual >= floor

    override fun toString(): String {
        val numbers = "%.4f of the pixels of %d golden pictures (%d segments) are torch's, at least %.3f wanted"
            .format(java.util.Locale.ROOT, pixelsEqual, numPictures, numSegments, floor)
        return "${if (isPass) "PASS" else "DIFFERS"} ${artifact.file}: $numbers"
    }
}

/** What the floor is for: the mean over pictures in float32, else their lower quartile, as a rare one tips over a tie. */
fun judgedShare(precision: String, shares: List<Double>): Double = when {
    shares.isEmpty() -> 0.0
    precision == "float32" -> shares.average()
    else -> percentile(shares.sorted(), 25.0)
}

/**
 * The golden answers that the bundle keeps for a precision.
 *
 * @throws IOException a file is not as docs/bundle.md says
 */
fun readGoldens(open: OpenBundle, precision: String): List<Golden> {
    val ending = ".$precision.npz"
    val names = open.bundle.sha256ByFile.keys.filter { it.startsWith("$GOLDEN/") && it.endsWith(ending) }.sorted()
    return names.map { name ->
        val arrays = File(open.folder, name).inputStream().use(::readNpz)
        Golden(File(open.folder, name.removeSuffix(ending) + ".png"), toMerged(arrays, name))
    }
}

private fun toMerged(arrays: Map<String, NpyArray>, name: String): Merged {
    val map = arrays["slot_map"]
    val slotMap = map?.values as? ByteArray
    val category = arrays["slot_category"]?.values as? IntArray
    val score = arrays["slot_score"]?.values as? FloatArray
    if (map?.shape?.size != 2 || slotMap == null || category == null || score == null) {
        throw IOException("$name holds no slot_map, slot_category and slot_score; export the bundle again")
    }
    return Merged(Size(map.shape[0], map.shape[1]), slotMap, category, score)
}

/**
 * Compares two answers to one picture, the twin of `compare` in export/verify.py.
 *
 * Two slots match if each covers more of the other than any other slot does and their categories are equal; void matches
 * void. A pixel is equal if it lies in the slot that matches the expected one.
 */
fun agreement(got: Merged, expected: Merged): Agreement {
    require(got.mapSize == expected.mapSize) { "the map is ${got.mapSize}, the expected one ${expected.mapSize}" }
    val matched = matchedSlots(got, expected)
    val equal = got.slotMap.indices.count { got.slotAt(it) == matched[expected.slotAt(it)] }
    val segments = expected.slotCategory.indices.filter { expected.slotCategory[it] >= 0 }
    return Agreement(equal / got.mapSize.area.toDouble(), segments.count { matched[it] >= 0 }, segments.size)
}

private const val NUM_VALUES = VOID_SLOT + 1

/** For each expected slot the one of [got] that shows the same segment, -1 where there is none. */
private fun matchedSlots(got: Merged, expected: Merged): IntArray {
    val shared = Array(NUM_VALUES) { IntArray(NUM_VALUES) } // by got, then by expected
    for (cell in got.slotMap.indices) shared[got.slotAt(cell)][expected.slotAt(cell)]++
    val partnerOfGot = IntArray(NUM_VALUES) { a -> shared[a].indices.maxByOrNull { shared[a][it] }!! }
    return IntArray(NUM_VALUES) { b ->
        val a = (0 until NUM_VALUES).maxByOrNull { shared[it][b] }!!
        val isMatch = shared[a][b] > 0 && partnerOfGot[a] == b && categoryOf(got, a) == categoryOf(expected, b)
        if (isMatch) a else -1
    }
}

private fun categoryOf(merged: Merged, slot: Int) =
    if (slot == VOID_SLOT) -2 else merged.slotCategory.getOrElse(slot) { -1 }
