package edgeseg.core

/**
 * The way back: which cell of the slot map each pixel of the photo reads (docs/merge.md).
 *
 * Photo pixels that read the same cell row or column stand together; a *run* is one such stretch. Statistics and overlay
 * work on runs, not on pixels.
 */
class Placement(val photo: Size, network: Size, upsample: Int) {
    val fitted = fittedSize(photo, network)
    val rows: IntArray = sources(photo.height, fitted.height, LOGITS_STRIDE / upsample)
    val columns: IntArray = sources(photo.width, fitted.width, LOGITS_STRIDE / upsample)

    /** First pixel of each run, and the end of the last one. */
    val rowStarts: IntArray = runStarts(rows)
    val columnStarts: IntArray = runStarts(columns)

    private fun sources(photo: Int, fitted: Int, factor: Int) =
        IntArray(photo) { ((2L * it + 1) * fitted / (2L * photo * factor)).toInt() }

    private fun runStarts(sources: IntArray): IntArray =
        sources.indices.filter { it == 0 || sources[it] != sources[it - 1] }.toIntArray() + sources.size
}
