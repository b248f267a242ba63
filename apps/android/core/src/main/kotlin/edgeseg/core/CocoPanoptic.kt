package edgeseg.core

import kotlinx.serialization.json.JsonArrayBuilder
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.add
import kotlinx.serialization.json.addJsonObject
import kotlinx.serialization.json.buildJsonArray
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.put
import kotlinx.serialization.json.putJsonArray

/**
 * The segments as COCO panoptic JSON for one photo, image id 1.
 *
 * @param name file name without its ending: the JSON speaks of NAME.jpg, and of NAME.png with [Panoptic.idPixels]
 */
fun cocoPanoptic(panoptic: Panoptic, categories: List<Category>, name: String): JsonObject = buildJsonObject {
    putJsonArray("images") {
        addJsonObject {
            put("id", 1)
            put("file_name", "$name.jpg")
            put("height", panoptic.placement.photo.height)
            put("width", panoptic.placement.photo.width)
        }
    }
    putJsonArray("annotations") {
        addJsonObject {
            put("image_id", 1)
            put("file_name", "$name.png")
            putJsonArray("segments_info") { panoptic.segments.forEach { addSegment(it) } }
        }
    }
    putJsonArray("categories") { categories.forEach { addCategory(it) } }
}

private fun JsonArrayBuilder.addSegment(segment: Segment) = addJsonObject {
    put("id", segment.id)
    put("category_id", segment.category.id)
    put("area", segment.area)
    put("bbox", buildJsonArray { segment.bbox.forEach { add(it) } })
    put("iscrowd", 0)
    // The shortest digits of the float: 0.9, not 0.8999999761581421.
    if (segment.score != 1f) put("score", JsonPrimitive(segment.score.toString().toDouble()))
}

private fun JsonArrayBuilder.addCategory(category: Category) = addJsonObject {
    put("id", category.id)
    put("name", category.name)
    put("supercategory", category.name)
    put("isthing", if (category.isThing) 1 else 0)
    put("color", buildJsonArray { listOf(::red, ::green, ::blue).forEach { add(it(category.color)) } })
}
