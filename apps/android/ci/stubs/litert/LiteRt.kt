// Signatures of com.google.ai.edge.litert 2.2 that the app uses, declared anew from litert/kotlin of
// google-ai-edge/LiteRT at tag v2.2.0, for a compiler that cannot reach Google's artifact. Nothing of this is packed.
package com.google.ai.edge.litert

enum class Accelerator { NONE, CPU, GPU, NPU }

class Environment private constructor()

class LiteRtException(message: String) : Exception(message)

class TensorBuffer private constructor() : AutoCloseable {
    external fun writeInt8(data: ByteArray)

    external fun readInt8(): ByteArray

    external fun readInt(): IntArray

    external fun readFloat(): FloatArray

    external override fun close()
}

class CompiledModel private constructor() : AutoCloseable {
    class CpuOptions(
        val numThreads: Int? = null,
        val xnnPackFlags: Int? = null,
        val xnnPackWeightCachePath: String? = null
    )

    class Options(internal val accelerators: Set<Accelerator>) {
        constructor(vararg accelerators: Accelerator) : this(setOf(*accelerators))

        var cpuOptions: CpuOptions? = null

        companion object {
            @JvmStatic
            val CPU = Options(Accelerator.CPU)
        }
    }

    @JvmOverloads
    external fun createInputBuffers(signatureIndex: Int = 0): List<TensorBuffer>

    @JvmOverloads
    external fun createOutputBuffers(signatureIndex: Int = 0): List<TensorBuffer>

    @JvmOverloads
    external fun run(inputs: List<TensorBuffer>, outputs: List<TensorBuffer>, signatureIndex: Int = 0)

    external override fun close()

    companion object {
        @JvmStatic
        @JvmOverloads
        external fun create(
            filePath: String,
            options: Options = Options.CPU,
            optionalEnv: Environment? = null
        ): CompiledModel
    }
}
