package edgeseg.core

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.boolean
import kotlinx.serialization.json.double
import kotlinx.serialization.json.int

/** The cases of apps/spec, which Python wrote. */
object Spec {
    val folder = File(System.getProperty("edgeseg.spec") ?: error("run with -Dedgeseg.spec=.../apps/spec"))

    fun read(name: String): JsonElement = Json.parseToJsonElement(File(folder, name).readText())

    /** Calls [check] on each case; a failure says which one. */
    fun forEachCase(name: String, check: (JsonElement) -> Unit) {
        val cases = read(name)["cases"].rows
        check(cases.isNotEmpty())
        cases.forEachIndexed { index, case ->
            try {
                check(case)
            } catch (error: Throwable) {
                throw AssertionError(
                    "$name, case ${(case as? JsonObject)?.get("name") ?: index}: ${error.message}",
                    error
                )
            }
        }
    }

    fun bytes(array: JsonElement): ByteArray = File(folder, array["file"].text).readBytes()

    fun floats(array: JsonElement): FloatArray {
        val buffer = ByteBuffer.wrap(bytes(array)).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
        return FloatArray(buffer.remaining()).also { buffer.get(it) }
    }

    /** (H, W, 3) uint8 as an image. */
    fun image(array: JsonElement): RgbImage {
        val (height, width) = array["shape"].ints
        val bytes = bytes(array)
        fun at(i: Int) = bytes[i].toInt() and 0xFF
        return RgbImage(
            Size(height, width),
            IntArray(height * width) {
                packRgb(at(3 * it), at(3 * it + 1), at(3 * it + 2))
            }
        )
    }
}

operator fun JsonElement.get(key: String): JsonElement = (this as JsonObject).getValue(key)

val JsonElement.text get() = (this as JsonPrimitive).content
val JsonElement.number get() = (this as JsonPrimitive).double
val JsonElement.whole get() = (this as JsonPrimitive).int
val JsonElement.isTrue get() = (this as JsonPrimitive).boolean
val JsonElement.rows get() = (this as JsonArray).toList()
val JsonElement.ints get() = rows.map { it.whole }
val JsonElement.size get() = ints.let { (height, width) -> Size(height, width) }
