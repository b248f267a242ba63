package edgeseg.app

import edgeseg.core.Accelerator
import edgeseg.core.Artifact
import edgeseg.core.MergePlace
import edgeseg.core.Merged
import edgeseg.core.OpenBundle
import edgeseg.core.Segmenter
import edgeseg.core.appAnswer
import edgeseg.core.graphAnswer
import org.pytorch.executorch.EValue
import org.pytorch.executorch.Module
import org.pytorch.executorch.Tensor

/** An artifact for ExecuTorch with XNNPACK, which computes on the CPU. */
class ExecuTorchSegmenter(private val open: OpenBundle, private val artifact: Artifact, threads: Int, version: String) :
    Segmenter {
    private val shape = open.bundle.inputSize.let { longArrayOf(1, it.height.toLong(), it.width.toLong(), 3) }
    private val buffer = Tensor.allocateByteBuffer(3 * open.bundle.inputSize.area)
    private val module = Module.load(open.fileOf(artifact).path, Module.LOAD_MODE_MMAP, threads)

    override val accelerator = Accelerator.CPU
    override val runtimeVersion = "ExecuTorch $version (XNNPACK, CPU)"

    override fun run(input: ByteArray): Merged {
        buffer.clear()
        buffer.put(input)
        buffer.rewind()
        val outputs = module.forward(EValue.from(Tensor.fromBlobUnsigned(buffer, shape))).map { it.toTensor() }
        return when (artifact.merge) {
            MergePlace.GRAPH -> graphAnswer(
                open.bundle,
                outputs[0].dataAsUnsignedByteArray,
                outputs[1].dataAsIntArray,
                outputs[2].dataAsFloatArray
            )

            MergePlace.APP -> appAnswer(open.bundle, outputs[0].dataAsFloatArray, outputs[1].dataAsFloatArray)
        }
    }

    override fun close() = module.destroy()
}
