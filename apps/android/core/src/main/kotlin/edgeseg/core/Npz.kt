package edgeseg.core

import java.io.IOException
import java.io.InputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.ZipInputStream

/** One array of an .npz: [values] is a ByteArray (uint8), an IntArray (int32) or a FloatArray (float32). */
class NpyArray(val shape: List<Int>, val values: Any)

/**
 * Reads numpy's zip of arrays: format 1.0, little-endian, C order, uint8, int32 or float32.
 *
 * @throws IOException naming what is not so
 */
fun readNpz(stream: InputStream): Map<String, NpyArray> {
    val arrays = LinkedHashMap<String, NpyArray>()
    ZipInputStream(stream).use { zip ->
        while (true) {
            val entry = zip.nextEntry ?: break
            arrays[entry.name.removeSuffix(".npy")] = readNpy(zip.readBytes(), entry.name)
        }
    }
    return arrays
}

private const val PREFIX = 10 // magic, version, length of the header
private val MAGIC = byteArrayOf(0x93.toByte()) + "NUMPY".toByteArray()
private val DTYPE = Regex("'descr': '([^']+)'")
private val SHAPE = Regex("'shape': \\(([0-9, ]*)\\)")

private fun readNpy(bytes: ByteArray, name: String): NpyArray {
    fun refuse(why: String): Nothing = throw IOException("$name: $why; export the bundle again")
    if (bytes.size < PREFIX || !bytes.copyOf(MAGIC.size).contentEquals(MAGIC) || bytes[6].toInt() != 1) {
        refuse("not an array of numpy format 1")
    }
    val buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)
    val start = PREFIX + (buffer.getShort(8).toInt() and 0xFFFF)
    if (start > bytes.size) refuse("cut off")
    val header = String(bytes, PREFIX, start - PREFIX, Charsets.ISO_8859_1)
    if ("'fortran_order': False" !in header) refuse("not in C order")
    val dtype = DTYPE.find(header)?.groupValues?.get(1) ?: refuse("no dtype")
    val words = SHAPE.find(header)?.groupValues?.get(1) ?: refuse("no shape")
    val shape = words.split(',').map { it.trim() }.filter { it.isNotEmpty() }.map { it.toInt() }
    val count = shape.fold(1, Math::multiplyExact)
    val bytesEach = if (dtype == "|u1") 1 else 4
    if (bytes.size - start != count * bytesEach) refuse("${bytes.size - start} bytes for $shape of $dtype")
    buffer.position(start)
    return NpyArray(
        shape,
        when (dtype) {
            "|u1" -> bytes.copyOfRange(start, bytes.size)
            "<i4" -> IntArray(count).also { buffer.asIntBuffer().get(it) }
            "<f4" -> FloatArray(count).also { buffer.asFloatBuffer().get(it) }
            else -> refuse("dtype $dtype")
        }
    )
}
