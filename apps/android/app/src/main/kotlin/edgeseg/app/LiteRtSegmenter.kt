package edgeseg.app

import com.google.ai.edge.litert.Accelerator as LiteRtAccelerator
import com.google.ai.edge.litert.CompiledModel
import edgeseg.core.Accelerator
import edgeseg.core.Artifact
import edgeseg.core.MergePlace
import edgeseg.core.Merged
import edgeseg.core.OpenBundle
import edgeseg.core.Segmenter
import edgeseg.core.SegmenterException
import edgeseg.core.appAnswer
import edgeseg.core.graphAnswer

/**
 * An artifact for LiteRT.
 *
 * Exactly one accelerator is requested. LiteRT given (GPU, CPU) runs on the CPU where it finds no GPU library, and says
 * so only in the log; given GPU alone it throws.
 */
class LiteRtSegmenter(
    private val open: OpenBundle,
    private val artifact: Artifact,
    override val accelerator: Accelerator,
    threads: Int,
    version: String
) : Segmenter {
    private val model: CompiledModel
    override val runtimeVersion = "LiteRT $version ($accelerator)"

    init {
        // The Kotlin binding tells neither scale nor zero point of an int8 output.
        if (artifact.merge == MergePlace.APP && artifact.precision != "float32") {
            throw SegmenterException(
                "LiteRT on Android needs ${artifact.file} with the merge in the graph; export it so"
            )
        }
        val options = when (accelerator) {
            Accelerator.CPU -> CompiledModel.Options(LiteRtAccelerator.CPU).apply {
                cpuOptions = CompiledModel.CpuOptions(numThreads = threads)
            }

            Accelerator.GPU -> CompiledModel.Options(LiteRtAccelerator.GPU)
        }
        model = CompiledModel.create(open.fileOf(artifact).path, options)
    }

    private val inputs = model.createInputBuffers()
    private val outputs = model.createOutputBuffers()

    override fun run(input: ByteArray): Merged {
        inputs[0].writeInt8(input) // bytes as they are; the binding has no name for uint8
        model.run(inputs, outputs)
        return when (artifact.merge) {
            MergePlace.GRAPH -> graphAnswer(
                open.bundle,
                outputs[0].readInt8(),
                outputs[1].readInt(),
                outputs[2].readFloat()
            )

            MergePlace.APP -> appAnswer(open.bundle, outputs[0].readFloat(), outputs[1].readFloat())
        }
    }

    override fun close() {
        (inputs + outputs).forEach { it.close() }
        model.close()
    }
}
