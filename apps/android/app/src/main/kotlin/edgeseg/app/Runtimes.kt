package edgeseg.app

import android.content.Context
import edgeseg.core.Accelerator
import edgeseg.core.Artifact
import edgeseg.core.OpenBundle
import edgeseg.core.Segmenter
import edgeseg.core.SegmenterException

/** What runs: an artifact, where, and on how many threads. */
data class Choice(val artifact: Artifact, val accelerator: Accelerator, val threads: Int) {
    override fun toString() = "${artifact.runtime} ${artifact.precision} on $accelerator with $threads threads"
}

/** The runtimes of this app, by their name in bundle.json, with the accelerators that each can be asked for. */
object Runtimes {
    private val acceleratorsOf = mapOf(
        "executorch" to listOf(Accelerator.CPU),
        "litert" to listOf(Accelerator.CPU, Accelerator.GPU)
    )

    val names: Set<String> get() = acceleratorsOf.keys

    fun accelerators(artifact: Artifact): List<Accelerator> = acceleratorsOf.getValue(artifact.runtime)

    /**
     * Loads an artifact on the accelerator asked for, or says why not; never on another one.
     *
     * @throws SegmenterException in one line for people
     */
    fun load(context: Context, open: OpenBundle, choice: Choice): Segmenter = explained(context, choice) {
        when (choice.artifact.runtime) {
            "executorch" ->
                ExecuTorchSegmenter(
                    open,
                    choice.artifact,
                    choice.threads,
                    context.getString(R.string.executorch_version)
                )

            else ->
                LiteRtSegmenter(
                    open,
                    choice.artifact,
                    choice.accelerator,
                    choice.threads,
                    context.getString(R.string.litert_version)
                )
        }
    }

    /** Turns what a runtime throws into a message. Their exceptions are of many kinds, a missing library is an Error. */
    fun <T> explained(context: Context, choice: Choice, block: () -> T): T = try {
        block()
    } catch (error: SegmenterException) {
        throw error
    } catch (error: LinkageError) {
        throw SegmenterException(context.getString(R.string.no_library, choice.artifact.runtime, error), error)
    } catch (error: OutOfMemoryError) {
        throw SegmenterException(context.getString(R.string.no_memory, choice), error)
    } catch (error: Exception) {
        throw SegmenterException(
            context.getString(R.string.cannot_run, choice, error.message ?: error.javaClass.name),
            error
        )
    }
}
