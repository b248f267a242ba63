package edgeseg.app

import android.view.View
import android.widget.AdapterView
import android.widget.ArrayAdapter
import android.widget.CheckBox
import android.widget.SeekBar
import android.widget.Spinner
import edgeseg.core.Bundle

/** The controls for what runs and how it looks. */
class SettingsPanel(
    private val root: View,
    private val onChoice: (Choice) -> Unit,
    private val onLook: (Look) -> Unit
) {
    private val artifacts = root.findViewById<Spinner>(R.id.artifact)
    private val accelerators = root.findViewById<Spinner>(R.id.accelerator)
    private val threads = root.findViewById<Spinner>(R.id.threads)
    private val opacity = root.findViewById<SeekBar>(R.id.opacity)
    private val outlines = root.findViewById<CheckBox>(R.id.outlines)
    private var shown: Choice? = null

    fun showLook(look: Look) {
        opacity.progress = Math.round(100 * look.opacity).toInt()
        outlines.isChecked = look.outlines
        outlines.setOnCheckedChangeListener { _, _ -> tellLook() }
        opacity.setOnSeekBarChangeListener(object : SeekBar.OnSeekBarChangeListener {
            override fun onProgressChanged(bar: SeekBar, progress: Int, fromUser: Boolean) {
                if (fromUser) tellLook()
            }

            override fun onStartTrackingTouch(bar: SeekBar) = Unit

            override fun onStopTrackingTouch(bar: SeekBar) = Unit
        })
    }

    fun showChoice(bundle: Bundle, choice: Choice) {
        shown = choice
        val allowed = Runtimes.accelerators(choice.artifact)
        fill(
            artifacts,
            bundle.artifacts.map {
                "${it.precision}  ${it.runtime}"
            },
            bundle.artifacts.indexOf(choice.artifact)
        ) {
            val artifact = bundle.artifacts[it]
            val kept = choice.accelerator.takeIf { it in Runtimes.accelerators(artifact) }
            choice.copy(artifact = artifact, accelerator = kept ?: Runtimes.accelerators(artifact).first())
        }
        fill(
            accelerators,
            allowed.map {
                it.name
            },
            allowed.indexOf(choice.accelerator)
        ) { choice.copy(accelerator = allowed[it]) }
        fill(threads, Preferences.threadCounts.map { "$it" }, Preferences.threadCounts.indexOf(choice.threads)) {
            choice.copy(threads = Preferences.threadCounts[it])
        }
    }

    private fun fill(spinner: Spinner, rows: List<String>, selected: Int, choiceAt: (Int) -> Choice) {
        spinner.onItemSelectedListener = null
        spinner.adapter = ArrayAdapter(root.context, android.R.layout.simple_spinner_dropdown_item, rows)
        spinner.setSelection(selected)
        spinner.onItemSelectedListener = object : AdapterView.OnItemSelectedListener {
            override fun onItemSelected(parent: AdapterView<*>?, view: View?, position: Int, id: Long) {
                val choice = choiceAt(position)
                if (choice != shown) onChoice(choice) // a spinner also reports what it was set to
            }

            override fun onNothingSelected(parent: AdapterView<*>?) = Unit
        }
    }

    private fun tellLook() = onLook(Look(opacity.progress / 100.0, outlines.isChecked))
}
