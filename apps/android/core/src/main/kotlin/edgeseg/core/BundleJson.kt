package edgeseg.core

import edgeseg.core.BundleException.Kind
import kotlinx.serialization.SerializationException
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.booleanOrNull
import kotlinx.serialization.json.doubleOrNull
import kotlinx.serialization.json.longOrNull

private const val SCHEMA_MAJOR = "1."

/**
 * Reads the text of a bundle.json; keys that are unknown are no error.
 *
 * @throws BundleException with the kinds that apps/spec/README.md lists
 */
fun parseBundle(text: String): Bundle {
    val root = try {
        Json.parseToJsonElement(text)
    } catch (error: SerializationException) {
        throw BundleException(Kind.NOT_JSON, "bundle.json is not JSON (truncated?); copy the bundle again")
    }
    val version = ((root as? JsonObject)?.get("schema_version") as? JsonPrimitive)?.takeIf { it.isString }?.content
    if (version == null || !version.startsWith(SCHEMA_MAJOR)) {
        val said = version?.let { "schema $it" } ?: "no schema_version"
        throw BundleException(Kind.OTHER_SCHEMA, "bundle.json has $said, this app reads 1.x; update the app")
    }
    return readBundle(Node(root, "bundle.json"))
}

private fun readBundle(root: Node): Bundle {
    val input = root["input"]
    val (height, width) = input["size"].ints(2)
    input["size"].require(height > 0 && width > 0 && height % 4 == 0 && width % 4 == 0, "two positive multiples of 4")
    for ((key, wanted) in INPUT) input[key].require(input[key].string() == wanted, wanted)
    input["name"].string()
    for (key in listOf("normalisation", "licence")) root[key].string()
    for (key in listOf("outputs", "config", "metrics", "tools")) root[key].objectKeys()
    val numSlots = root["num_slots"].int()
    root["num_slots"].require(numSlots in 1..MAX_SLOTS, "1 to $MAX_SLOTS")
    val categories = root["categories"].nodes().mapIndexed { index, row -> readCategory(row, index) }
    root["categories"].require(categories.isNotEmpty(), "at least one category")
    val artifacts = root["artifacts"].nodes().map(::readArtifact)
    root["artifacts"].require(artifacts.isNotEmpty(), "at least one artifact")
    val files = root["files"]
    val sha256ByFile = files.objectKeys().associate { inside(it) to files[it].string() }
    return Bundle(
        name = root["name"].string(),
        inputSize = Size(height, width),
        numSlots = numSlots,
        categories = categories,
        merge = readMerge(root["merge"]),
        licence = root["licence"].string(),
        artifacts = artifacts,
        sha256ByFile = sha256ByFile + artifacts.associate { it.file to it.sha256 }
    )
}

private val INPUT = mapOf("layout" to "NHWC", "dtype" to "uint8", "channels" to "RGB", "fit" to "letterbox")

private fun readMerge(node: Node): MergeRule {
    val upsample = node["upsample"].int()
    node["upsample"].require(upsample in listOf(1, 2, 4), "1, 2 or 4")
    return MergeRule(
        thingThreshold = node["thing_threshold"].double().toFloat(),
        stuffThreshold = node["stuff_threshold"].double().toFloat(),
        minArea = node["min_area"].int(),
        upsample = upsample
    )
}

private fun readCategory(node: Node, index: Int): Category {
    node["index"].require(node["index"].int() == index, "$index")
    val (red, green, blue) = node["color"].ints(3)
    node["color"].require(listOf(red, green, blue).all { it in 0..255 }, "three of 0 to 255")
    return Category(node["id"].int(), node["name"].string(), node["is_thing"].boolean(), packRgb(red, green, blue))
}

private fun readArtifact(node: Node): Artifact {
    for (key in listOf("coverage", "verify")) node[key].objectKeys()
    val merge = MergePlace.entries.find { it.name.lowercase() == node["merge"].string() }
    node["merge"].require(merge != null, "graph or app")
    return Artifact(
        file = inside(node["file"].string()),
        runtime = node["runtime"].string(),
        precision = node["precision"].string(),
        merge = merge!!,
        input = node["input"].string(),
        bytes = node["bytes"].long(),
        sha256 = node["sha256"].string()
    )
}

/** Refuses a path that leaves the bundle's folder. */
private fun inside(path: String): String {
    val parts = path.split('/', '\\')
    if (path.isEmpty() || parts.first().let { it.isEmpty() || ':' in it } || ".." in parts) {
        throw BundleException(Kind.OUTSIDE, "bundle.json lists '$path', which is outside the bundle; do not trust it")
    }
    return path
}

/** A JSON value that knows where it stands, so that an error can name it. */
private class Node(private val element: JsonElement, private val where: String) {
    operator fun get(key: String): Node {
        val value = (element as? JsonObject)?.get(key) ?: fail("$where.$key is missing")
        return Node(value, "$where.$key")
    }

    fun require(holds: Boolean, wanted: String) {
        if (!holds) fail("$where is ${element.toString().take(60)}, not $wanted")
    }

    fun nodes(): List<Node> =
        (element as? JsonArray)?.mapIndexed { i, row -> Node(row, "$where[$i]") } ?: mistyped("a list")

    fun objectKeys(): Set<String> = (element as? JsonObject)?.keys ?: mistyped("an object")

    fun string(): String = primitive { it.isString }?.content ?: mistyped("a text")

    fun boolean(): Boolean = primitive { !it.isString }?.booleanOrNull ?: mistyped("true or false")

    fun double(): Double = primitive { !it.isString }?.doubleOrNull ?: mistyped("a number")

    fun long(): Long = primitive { !it.isString }?.longOrNull ?: mistyped("a whole number")

    fun int(): Int = long().also { require(it in Int.MIN_VALUE..Int.MAX_VALUE, "a whole number of 32 bits") }.toInt()

    fun ints(count: Int): List<Int> =
        nodes().also { require(it.size == count, "$count whole numbers") }.map { it.int() }

    private fun primitive(fits: (JsonPrimitive) -> Boolean) =
        (element as? JsonPrimitive)?.takeIf { it !is JsonNull && fits(it) }

    private fun mistyped(wanted: String): Nothing = fail("$where is ${element.toString().take(60)}, not $wanted")

    private fun fail(message: String): Nothing =
        throw BundleException(Kind.MISSHAPEN, "$message; export the bundle again")
}
