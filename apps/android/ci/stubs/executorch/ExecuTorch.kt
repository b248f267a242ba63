// Signatures of org.pytorch.executorch 1.5 that the app uses, declared anew from extension/android of pytorch/executorch
// (version.txt 1.5.0, 2026-08-22), for a compiler that cannot reach the artifact. Nothing of this is packed.
package org.pytorch.executorch

import java.nio.ByteBuffer

abstract class Tensor internal constructor() {
    abstract val dataAsUnsignedByteArray: ByteArray
    abstract val dataAsIntArray: IntArray
    abstract val dataAsFloatArray: FloatArray

    companion object {
        @JvmStatic
        external fun allocateByteBuffer(numElements: Int): ByteBuffer

        @JvmStatic
        external fun fromBlobUnsigned(data: ByteBuffer, shape: LongArray): Tensor
    }
}

class EValue private constructor() {
    external fun toTensor(): Tensor

    companion object {
        @JvmStatic
        external fun from(tensor: Tensor): EValue
    }
}

open class Module private constructor() {
    open external fun forward(vararg inputs: EValue): Array<EValue>

    open external fun destroy()

    companion object {
        const val LOAD_MODE_FILE = 0
        const val LOAD_MODE_MMAP = 1

        @JvmStatic
        @JvmOverloads
        external fun load(modelPath: String?, loadMode: Int = LOAD_MODE_FILE, numThreads: Int = 0): Module
    }
}
