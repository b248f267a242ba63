package edgeseg.core

/** One segment of the photo; [bbox] is x, y, width, height, all in photo pixels. */
data class Segment(
    val id: Int,
    val category: Category,
    val area: Int,
    val share: Double,
    val bbox: List<Int>,
    val score: Float
)

/**
 * What the photo shows: one segment per thing slot, one for all stuff slots of a category together (docs/merge.md).
 *
 * @property segments ids from 1 by the lowest slot that the photo shows
 * @property idOfSlot segment id by slot, 0 = void
 */
class Panoptic(val merged: Merged, val placement: Placement, categories: List<Category>) {
    val segments: List<Segment>
    val idOfSlot: IntArray

    init {
        val extents = slotExtents()
        idOfSlot = IntArray(VOID_SLOT + 1)
        val slotsOf = ArrayList<MutableList<Int>>()
        val stuffId = HashMap<Int, Int>()
        for (slot in merged.slotCategory.indices) {
            if (extents[slot].area == 0) continue
            val index = merged.slotCategory[slot]
            val id = stuffId[index] ?: (slotsOf.size + 1).also { slotsOf += ArrayList<Int>() }
            if (!categories[index].isThing) stuffId[index] = id
            slotsOf[id - 1] += slot
            idOfSlot[slot] = id
        }
        segments = slotsOf.mapIndexed { i, slots ->
            val extent = slots.map { extents[it] }.reduce(Extent::plus)
            Segment(
                id = i + 1,
                category = categories[merged.slotCategory[slots[0]]],
                area = extent.area,
                share = extent.area / placement.photo.area.toDouble(),
                bbox = listOf(extent.left, extent.top, extent.right - extent.left, extent.bottom - extent.top),
                score = slots.maxOf { merged.slotScore[it] }
            )
        }
    }

    /** Segments by area, the larger first, equal ones by id. */
    val legend: List<Segment> get() = segments.sortedWith(compareBy({ -it.area }, { it.id }))

    val voidShare: Double get() = 1.0 - segments.sumOf { it.area } / placement.photo.area.toDouble()

    /** The segment at a photo pixel, null where there is none. */
    fun segmentAt(x: Int, y: Int): Segment? {
        val cell = placement.rows[y] * merged.mapSize.width + placement.columns[x]
        return segments.getOrNull(idOfSlot[merged.slotAt(cell)] - 1)
    }

    /** The pixels of a COCO panoptic PNG: id = R + 256 G + 65536 B, opaque. */
    fun idPixels(): RgbImage {
        val photo = placement.photo
        val pixels = IntArray(photo.area)
        for (y in 0 until photo.height) {
            val row = placement.rows[y] * merged.mapSize.width
            for (x in 0 until photo.width) {
                val id = idOfSlot[merged.slotAt(row + placement.columns[x])]
                pixels[y * photo.width + x] = packRgb(id and 0xFF, id shr 8 and 0xFF, id shr 16 and 0xFF)
            }
        }
        return RgbImage(photo, pixels)
    }

    /** Photo pixels and box of every slot, counted over runs; 255 is void. */
    private fun slotExtents(): Array<Extent> {
        val extents = Array(VOID_SLOT + 1) { Extent() }
        val rowStarts = placement.rowStarts
        val columnStarts = placement.columnStarts
        for (r in 0 until rowStarts.size - 1) {
            val row = placement.rows[rowStarts[r]] * merged.mapSize.width
            for (c in 0 until columnStarts.size - 1) {
                extents[merged.slotAt(row + placement.columns[columnStarts[c]])]
                    .add(rowStarts[r], rowStarts[r + 1], columnStarts[c], columnStarts[c + 1])
            }
        }
        return extents
    }
}

private class Extent {
    var area = 0
    var top = Int.MAX_VALUE
    var bottom = 0
    var left = Int.MAX_VALUE
    var right = 0

    fun add(top: Int, bottom: Int, left: Int, right: Int) {
        area += (bottom - top) * (right - left)
        this.top = minOf(this.top, top)
        this.bottom = maxOf(this.bottom, bottom)
        this.left = minOf(this.left, left)
        this.right = maxOf(this.right, right)
    }

    operator fun plus(other: Extent) = Extent().also {
        it.area = area + other.area
        it.top = minOf(top, other.top)
        it.bottom = maxOf(bottom, other.bottom)
        it.left = minOf(left, other.left)
        it.right = maxOf(right, other.right)
    }
}
