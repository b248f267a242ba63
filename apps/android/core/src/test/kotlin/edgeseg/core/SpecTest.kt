package edgeseg.core

import kotlin.math.abs
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.doubleOrNull

/** Kotlin's answers are Python's, on every case of apps/spec and with the equality that its README asks for. */
class SpecTest {
    @Test
    fun `merge gives Python's maps and categories`() = Spec.forEachCase("merge.json") { case ->
        val rule = case["merge"]
        val shape = case["mask_logits"]["shape"].ints
        val merged = mergeSlots(
            Spec.floats(case["class_logits"]),
            Spec.floats(case["mask_logits"]),
            Size(shape[1], shape[2]),
            MergeRule(
                rule["thing_threshold"].number.toFloat(),
                rule["stuff_threshold"].number.toFloat(),
                rule["min_area"].whole,
                rule["upsample"].whole
            ),
            case["is_thing"].rows.map { it.isTrue }.toBooleanArray()
        )
        assertContentEquals(Spec.bytes(case["slot_map"]), merged.slotMap)
        assertContentEquals(case["slot_category"].ints.toIntArray(), merged.slotCategory)
        case["slot_score"].rows.forEachIndexed { slot, score ->
            assertEquals(score.number, merged.slotScore[slot].toDouble(), 1e-5)
        }
    }

    @Test
    fun `letterbox gives Python's bytes`() = Spec.forEachCase("letterbox.json") { case ->
        val letterbox = Letterbox(case["photo_size"].size, case["network_size"].size)
        assertEquals(case["fitted"].size, letterbox.fitted)
        val input = ByteArray(3 * letterbox.network.area) { 77 }
        repeat(2) { letterbox.apply(Spec.image(case["image"]), input) } // a frame leaves nothing behind for the next
        assertContentEquals(Spec.bytes(case["letterboxed"]), input)
    }

    @Test
    fun `the way back reads Python's rows and columns`() = Spec.forEachCase("unletterbox.json") { case ->
        val placement = Placement(case["photo_size"].size, case["network_size"].size, case["upsample"].whole)
        assertEquals(case["fitted"].size, placement.fitted)
        assertEquals(case["rows"].ints, placement.rows.toList())
        assertEquals(case["columns"].ints, placement.columns.toList())
    }

    @Test
    fun `shades are Python's`() {
        for (row in Spec.read("palette.json")["rows"].rows) {
            val shades = row["shades"].rows.map { it.color }
            assertEquals(shades, shades.indices.map { shade(row["color"].color, it) })
        }
    }

    @Test
    fun `overlay, segments, legend and taps are Python's`() = Spec.forEachCase("overlay.json") { case ->
        val panoptic = panopticOf(case)
        val pixels = IntArray(panoptic.placement.photo.area)
        paintOverlay(panoptic, categoriesOf(case), case["opacity"].number, case["outlines"].isTrue, pixels)
        val rgba = Spec.bytes(case["rgba"])
        assertEquals(List(pixels.size) { rgbaAt(rgba, it) }, pixels.toList())
        assertEquals(case["segments"].rows.map { it["id"].whole }, panoptic.segments.map { it.id })
        case["segments"].rows.zip(panoptic.segments) { wanted, segment ->
            assertEquals(wanted["category_id"].whole, segment.category.id)
            assertEquals(wanted["area"].whole, segment.area)
            assertEquals(wanted["bbox"].ints, segment.bbox)
            assertEquals(wanted["share"].number, segment.share, 1e-9)
            assertEquals(wanted["score"].number, segment.score.toDouble(), 1e-6)
        }
        assertEquals(case["legend"].ints, panoptic.legend.map { it.id })
        assertEquals(case["void_share"].number, panoptic.voidShare, 1e-9)
        for (tap in case["taps"].rows) {
            assertEquals(tap["segment_id"].whole, panoptic.segmentAt(tap["x"].whole, tap["y"].whole)?.id ?: 0)
        }
    }

    @Test
    fun `the self-check counts the pixels that Python counts`() = Spec.forEachCase("selfcheck.json") { case ->
        fun merged(map: String, categories: String): Merged {
            val rows = case[map].rows.map { it.ints }
            val category = case[categories].ints.toIntArray()
            val cells = rows.flatten().map { it.toByte() }.toByteArray()
            return Merged(Size(rows.size, rows[0].size), cells, category, FloatArray(category.size))
        }
        val found = agreement(merged("slot_map", "slot_category"), merged("wanted_slot_map", "wanted_slot_category"))
        assertEquals(case["pixels_equal"].number, found.pixelsEqual, 1e-9)
    }

    @Test
    fun `COCO panoptic JSON and its PNG's pixels are Python's`() = Spec.forEachCase("overlay.json") { case ->
        val panoptic = panopticOf(case)
        assertSame(case["panoptic"], cocoPanoptic(panoptic, categoriesOf(case), "photo"), 1e-6)
        assertContentEquals(Spec.image(case["panoptic_png"]).pixels, panoptic.idPixels().pixels)
    }

    @Test
    fun `percentiles are Python's`() = Spec.forEachCase("latency.json") { case ->
        val latency = Latency.of(case["samples_ms"].rows.map { it.number })!!
        val got = with(latency) { listOf(p50Ms, p90Ms, p99Ms, minMs, meanMs) }
        listOf("p50_ms", "p90_ms", "p99_ms", "min_ms", "mean_ms").zip(got) { key, value ->
            assertTrue(abs(case[key].number - value) <= 1e-9 * abs(value), "$key is $value, not ${case[key]}")
        }
    }

    @Test
    fun `a bundle's description is read or refused as Python does`() = Spec.forEachCase("descriptions.json") { case ->
        if (case["error"] is JsonNull) {
            parseBundle(case["text"].text)
        } else {
            val refused = assertFailsWith<BundleException> { parseBundle(case["text"].text) }
            assertEquals(case["error"].text, refused.kind.name.lowercase())
            assertTrue('\n' !in refused.message!!)
        }
    }

    @Test
    fun `a measurement is written as Python writes it`() {
        val line = Spec.read("measurement.json")["line"]
        val device = line["device"]
        val artifact = Artifact(
            line["artifact"].text,
            line["runtime"].text,
            line["precision"].text,
            MergePlace.GRAPH,
            "",
            0,
            line["sha256"].text
        )
        val case = BenchCase(artifact, Accelerator.CPU, line["threads"].whole)
        val samples = line["samples_ms"].rows.map { it.number }
        val (first, second) = line["round_sizes"].ints
        val (load0, load1) = line["load_ms"].rows.map { it.number }
        val measurement = toMeasurement(
            bundle = line["bundle"].text,
            case = case,
            rounds = listOf(
                BenchRound(
                    line["runtime_version"].text,
                    load0,
                    line["warmup_runs"].whole,
                    true,
                    samples.take(first),
                    0.0
                ),
                BenchRound(line["runtime_version"].text, load1, 0, true, samples.takeLast(second), 0.0)
            ),
            device = Device(
                device["name"].text,
                device["cores"].whole,
                device["os"].text,
                device["machine"].text,
                device["memory_mib"].whole
            ),
            isEmulated = false,
            peakMib = 0.0,
            timeUtc = line["time_utc"].text
        )
        assertSame(line, Json.parseToJsonElement(measurement.toJson().toString()), 1e-12)
    }

    private fun panopticOf(case: JsonElement): Panoptic {
        val placement = Placement(case["photo_size"].size, case["network_size"].size, case["upsample"].whole)
        assertEquals(case["fitted"].size, placement.fitted)
        val merged = Merged(
            case["slot_map"]["shape"].size,
            Spec.bytes(case["slot_map"]),
            case["slot_category"].ints.toIntArray(),
            case["slot_score"].rows.map { it.number.toFloat() }.toFloatArray()
        )
        return Panoptic(merged, placement, categoriesOf(case))
    }

    private fun categoriesOf(case: JsonElement) = case["panoptic"]["categories"].rows.map {
        Category(it["id"].whole, it["name"].text, it["isthing"].whole == 1, it["color"].color)
    }

    private val JsonElement.color get() = ints.let { (red, green, blue) -> packRgb(red, green, blue) }

    private fun rgbaAt(bytes: ByteArray, pixel: Int): Int {
        fun at(channel: Int) = bytes[4 * pixel + channel].toInt() and 0xFF
        return (packRgb(at(0), at(1), at(2)) and 0xFFFFFF) or (at(3) shl 24)
    }

    /** Equal JSON, numbers up to [tolerance], keys in any order. */
    private fun assertSame(wanted: JsonElement, got: JsonElement, tolerance: Double, where: String = "") {
        val number = (wanted as? JsonPrimitive)?.takeIf { !it.isString }?.doubleOrNull
        when {
            wanted is JsonObject -> {
                assertEquals(wanted.keys, (got as JsonObject).keys, where)
                wanted.forEach { (key, value) -> assertSame(value, got.getValue(key), tolerance, "$where.$key") }
            }

            wanted is JsonArray -> {
                assertEquals(wanted.size, (got as JsonArray).size, where)
                wanted.forEachIndexed { i, value -> assertSame(value, got[i], tolerance, "$where[$i]") }
            }

            number != null -> assertEquals(number, (got as JsonPrimitive).doubleOrNull ?: Double.NaN, tolerance, where)

            else -> assertEquals(wanted, got, where)
        }
    }
}
