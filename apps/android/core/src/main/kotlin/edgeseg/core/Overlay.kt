package edgeseg.core

/**
 * Colours a photo's segments: packed 0xAARRGGBB, alpha not multiplied in (apps/spec/README.md, "Overlay").
 *
 * Most rows repeat the one above them, so only a row next to a change of map row is painted, and it in runs.
 *
 * @param into one value per photo pixel
 */
fun paintOverlay(panoptic: Panoptic, categories: List<Category>, opacity: Double, outlines: Boolean, into: IntArray) {
    require(into.size == panoptic.placement.photo.area) { "${into.size} values for ${panoptic.placement.photo}" }
    val alpha = (opacity * 255 + 0.5).toInt()
    val colors = slotColors(panoptic.merged, categories)
    val fill = IntArray(colors.size) { (colors[it] and 0xFFFFFF) or (alpha shl 24) }
    val ink = IntArray(colors.size) { if (panoptic.idOfSlot[it] == 0) packRgb(60, 60, 60) else lighten(colors[it]) }
    Painter(panoptic, fill, ink, outlines, into).paint()
}

private fun lighten(color: Int): Int {
    fun channel(value: Int) = (35 * value + 65 * 255 + 50) / 100
    return packRgb(channel(red(color)), channel(green(color)), channel(blue(color)))
}

private class Painter(
    private val panoptic: Panoptic,
    private val fill: IntArray,
    private val ink: IntArray,
    private val outlines: Boolean,
    private val into: IntArray
) {
    private val placement = panoptic.placement
    private val width = placement.photo.width
    private val mapWidth = panoptic.merged.mapSize.width

    fun paint() {
        val starts = placement.rowStarts
        for (run in 0 until starts.size - 1) {
            val first = starts[run]
            val last = starts[run + 1] - 1
            paintRow(first)
            if (!outlines) {
                repeatRow(first, last)
            } else if (last > first) {
                if (last > first + 1) paintRow(first + 1)
                repeatRow(first + 1, last - 1)
                paintRow(last)
            }
        }
    }

    private fun repeatRow(row: Int, last: Int) {
        for (y in row + 1..last) into.copyInto(into, y * width, row * width, (row + 1) * width)
    }

    private fun paintRow(y: Int) {
        val here = placement.rows[y] * mapWidth
        val above = if (y > 0) placement.rows[y - 1] * mapWidth else here
        val below = if (y + 1 < placement.photo.height) placement.rows[y + 1] * mapWidth else here
        val starts = placement.columnStarts
        val row = y * width
        var leftId = -1 // of no neighbour
        for (run in 0 until starts.size - 1) {
            val column = placement.columns[starts[run]]
            val slot = panoptic.merged.slotAt(here + column)
            val from = row + starts[run]
            val until = row + starts[run + 1]
            if (!outlines) {
                into.fill(fill[slot], from, until)
                continue
            }
            val id = panoptic.idOfSlot[slot]
            val isBorder = idAt(above + column) != id || idAt(below + column) != id
            into.fill(if (isBorder) ink[slot] else fill[slot], from, until)
            if (leftId >= 0 && leftId != id) into[from] = ink[slot]
            if (run + 2 < starts.size &&
                idAt(here + placement.columns[starts[run + 1]]) != id
            ) {
                into[until - 1] = ink[slot]
            }
            leftId = id
        }
    }

    private fun idAt(cell: Int) = panoptic.idOfSlot[panoptic.merged.slotAt(cell)]
}
