package edgeseg.app

import android.content.Context
import edgeseg.core.Accelerator
import edgeseg.core.OpenBundle

/** What the user chose, kept over restarts. */
class Preferences(context: Context) {
    private val stored = context.getSharedPreferences("choice", Context.MODE_PRIVATE)

    var look: Look
        get() = Look(stored.getInt("opacity_percent", 50) / 100.0, stored.getBoolean("outlines", true))
        set(value) = stored.edit()
            .putInt("opacity_percent", Math.round(100 * value.opacity).toInt())
            .putBoolean("outlines", value.outlines)
            .apply()

    /** The last choice if the bundle still allows it, else int8 (or the first artifact) on the CPU. */
    fun choiceFor(open: OpenBundle): Choice {
        val artifacts = open.bundle.artifacts
        val artifact = artifacts.find { it.file == stored.getString("artifact", null) }
            ?: artifacts.find { it.precision == "int8" }
            ?: artifacts.first()
        val accelerators = Runtimes.accelerators(artifact)
        val accelerator = accelerators.find { it.name == stored.getString("accelerator", null) } ?: Accelerator.CPU
        return Choice(
            artifact,
            accelerator,
            stored.getInt("threads", 0).takeIf { it in threadCounts } ?: threadCounts.last()
        )
    }

    fun keep(choice: Choice) = stored.edit()
        .putString("artifact", choice.artifact.file)
        .putString("accelerator", choice.accelerator.name)
        .putInt("threads", choice.threads)
        .apply()

    /** True once for each file and accelerator, so that each is checked when it runs first. */
    fun needsCheck(choice: Choice): Boolean = checkKey(choice) !in stored.getStringSet("checked", null).orEmpty()

    fun markChecked(choice: Choice) {
        val checked = stored.getStringSet("checked", null).orEmpty()
        stored.edit().putStringSet("checked", checked + checkKey(choice)).apply()
    }

    private fun checkKey(choice: Choice) = "${choice.artifact.sha256} ${choice.accelerator}"

    companion object {
        /** 1, 2, 4, ... up to half the processors, rounded up: the large cores of most phones. */
        val threadCounts: List<Int> = Runtime.getRuntime().availableProcessors().let { cores ->
            generateSequence(1) { it * 2 }.takeWhile { it == 1 || it <= (cores + 1) / 2 }.toList()
        }
    }
}
