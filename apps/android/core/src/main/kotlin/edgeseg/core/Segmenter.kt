package edgeseg.core

/** Where a runtime computes. A segmenter is asked for one and gives that one or fails: never another in silence. */
enum class Accelerator { CPU, GPU }

/** An artifact, loaded by its runtime. Used from one thread at a time. */
interface Segmenter : AutoCloseable {
    /** Name and version of the runtime, and the accelerator that it obtained. */
    val runtimeVersion: String

    val accelerator: Accelerator

    /**
     * Segments one picture.
     *
     * @param input (H, W, 3) uint8 RGB at the bundle's input size, not kept
     * @throws SegmenterException in one line for people
     */
    fun run(input: ByteArray): Merged
}

/** A runtime cannot do what was asked of it; says what, and a way on. */
class SegmenterException(message: String, cause: Throwable? = null) : Exception(message, cause)
