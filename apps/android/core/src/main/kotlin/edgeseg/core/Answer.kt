package edgeseg.core

/**
 * The three outputs of an artifact that merges in its graph, checked against the bundle.
 *
 * @throws SegmenterException they do not fit the bundle, so the artifact is not the bundle's
 */
fun graphAnswer(bundle: Bundle, slotMap: ByteArray, slotCategory: IntArray, slotScore: FloatArray): Merged {
    if (slotMap.size != bundle.mapSize.area || slotCategory.size != bundle.numSlots ||
        slotScore.size != bundle.numSlots
    ) {
        refuse("a map of ${slotMap.size} cells with ${slotCategory.size} slots")
    }
    if (slotCategory.any { it !in -1 until bundle.categories.size }) refuse("a category that is not in the list")
    val hasCategory = BooleanArray(VOID_SLOT + 1) { it == VOID_SLOT || slotCategory.getOrElse(it) { -1 } >= 0 }
    if (slotMap.any { !hasCategory[it.toInt() and 0xFF] }) refuse("a pixel in an empty slot")
    return Merged(bundle.mapSize, slotMap, slotCategory, slotScore)
}

/**
 * The two outputs of an artifact that leaves the merge to the app, merged.
 *
 * @throws SegmenterException they do not fit the bundle
 */
fun appAnswer(bundle: Bundle, maskLogits: FloatArray, classLogits: FloatArray): Merged {
    val isThing = bundle.categories.map { it.isThing }.toBooleanArray()
    if (maskLogits.size != bundle.numSlots * bundle.logitsSize.area ||
        classLogits.size != bundle.numSlots * (isThing.size + 1)
    ) {
        refuse("${maskLogits.size} mask logits and ${classLogits.size} class logits")
    }
    return mergeSlots(classLogits, maskLogits, bundle.logitsSize, bundle.merge, isThing)
}

private fun refuse(what: String): Nothing = throw SegmenterException(
    "the artifact answers with $what, which bundle.json does not allow; export the bundle again"
)
