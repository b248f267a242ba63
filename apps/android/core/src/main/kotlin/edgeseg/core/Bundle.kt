package edgeseg.core

import java.io.File

/** Rows and columns, of pixels or cells. */
data class Size(val height: Int, val width: Int) {
    val area: Int get() = height * width

    override fun toString() = "${height}x$width"
}

/** One entry of the bundle's category list; [color] is packed 0xFFRRGGBB. */
data class Category(val id: Int, val name: String, val isThing: Boolean, val color: Int)

/** Thresholds of the panoptic merge (docs/merge.md); [minArea] counts pixels of the network's input. */
data class MergeRule(val thingThreshold: Float, val stuffThreshold: Float, val minArea: Int, val upsample: Int)

enum class MergePlace { GRAPH, APP }

/** One file for one runtime at one precision. */
data class Artifact(
    val file: String,
    val runtime: String,
    val precision: String,
    val merge: MergePlace,
    val input: String,
    val bytes: Long,
    val sha256: String
)

/** What bundle.json says (docs/bundle.md). */
data class Bundle(
    val name: String,
    val inputSize: Size,
    val numSlots: Int,
    val categories: List<Category>,
    val merge: MergeRule,
    val licence: String,
    val artifacts: List<Artifact>,
    val sha256ByFile: Map<String, String>
) {
    /** Logits are at a quarter of the input (docs/merge.md). */
    val logitsSize get() = Size(inputSize.height / LOGITS_STRIDE, inputSize.width / LOGITS_STRIDE)

    val mapSize get() = Size(logitsSize.height * merge.upsample, logitsSize.width * merge.upsample)
}

/** A bundle whose files lie in [folder], checksums confirmed; [bundle] lists only artifacts that are there. */
class OpenBundle(val folder: File, val bundle: Bundle) {
    fun fileOf(artifact: Artifact) = File(folder, artifact.file)
}

/** Why a bundle cannot be used, in one line for people; [kind] is the word of apps/spec. */
class BundleException(val kind: Kind, message: String) : Exception(message) {
    enum class Kind { NOT_JSON, OTHER_SCHEMA, MISSHAPEN, OUTSIDE, MISSING, CHANGED }
}

const val LOGITS_STRIDE = 4
const val VOID_SLOT = 255
const val MAX_SLOTS = 254
