package edgeseg.core

import edgeseg.core.BundleException.Kind
import java.io.File
import java.nio.file.Files
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

class BundleFolderTest {
    private val folder: File = Files.createTempDirectory("edgeseg").toFile()

    @AfterTest
    fun clean() {
        folder.deleteRecursively()
    }

    @Test
    fun `checksum is the published sha256 of abc`() {
        val file = File(folder, "abc").apply { writeText("abc") } // FIPS 180-2, appendix B.1
        assertEquals("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", checksum(file))
    }

    @Test
    fun `only artifacts that are there and that the app can run are offered`() {
        write()
        assertEquals(listOf("tiny-64x64.int8.tflite"), open().bundle.artifacts.map { it.file })
    }

    @Test
    fun `a folder without bundle json says which folder to choose`() {
        assertTrue("NAME.edgeseg" in refusal(Kind.MISSING))
    }

    @Test
    fun `a bundle without a file for the app's runtimes names what it lists`() {
        write()
        File(folder, "tiny-64x64.int8.tflite").delete()
        assertTrue("tiny-64x64.int8.onnx" in refusal(Kind.MISSING))
    }

    @Test
    fun `a truncated artifact is named`() {
        write()
        File(folder, "tiny-64x64.int8.tflite").writeBytes(ByteArray(2))
        assertTrue("tiny-64x64.int8.tflite" in refusal(Kind.CHANGED))
    }

    @Test
    fun `a changed file that no artifact needs is named too`() {
        write()
        File(folder, "verify.json").writeText("{}")
        assertTrue("verify.json" in refusal(Kind.CHANGED))
    }

    @Test
    fun `a golden file that is missing is named`() {
        write { it.replace("\"verify.json\"", "\"golden/000.png\"") }
        assertTrue("golden/000.png" in refusal(Kind.MISSING))
    }

    @Test
    fun `a path that leaves the folder is refused, also on a system with backslashes`() {
        for (path in listOf("../x", "/etc/passwd", "a/../../x", "C:x", "..\\\\x")) {
            write { it.replace("\"verify.json\"", "\"$path\"") }
            refusal(Kind.OUTSIDE)
        }
    }

    @Test
    fun `a link that leaves the folder is refused`() {
        write()
        val outside = Files.createTempFile("outside", "")
        Files.createSymbolicLink(File(folder, "verify.json").toPath(), outside)
        refusal(Kind.OUTSIDE)
        Files.delete(outside)
    }

    private fun open() = openBundle(folder, setOf("litert"))

    private fun refusal(kind: Kind): String {
        val refused = assertFailsWith<BundleException> { open() }
        assertEquals(kind, refused.kind)
        return refused.message!!
    }

    /** The spec's first description, its LiteRT file there with four bytes, its other files not. */
    private fun write(change: (String) -> String = { it }) {
        val artifact = File(folder, "tiny-64x64.int8.tflite").apply { writeBytes(byteArrayOf(1, 2, 3, 4)) }
        val text = Spec.read("descriptions.json")["cases"].rows[0]["text"].text
        File(folder, DESCRIPTION).writeText(change(text.replace(Regex("(tflite.*?)0{64}"), "$1${checksum(artifact)}")))
    }
}
