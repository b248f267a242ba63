package edgeseg.app

import android.app.Activity
import android.content.Intent
import android.os.Bundle
import android.view.View
import android.view.WindowManager
import android.widget.Button
import android.widget.TextView
import edgeseg.core.Accelerator
import edgeseg.core.BenchCase
import edgeseg.core.BenchRound
import edgeseg.core.Benchmark
import edgeseg.core.BundleException
import edgeseg.core.Latency
import edgeseg.core.OpenBundle
import edgeseg.core.SegmenterException
import edgeseg.core.toMeasurement
import java.io.File
import java.io.IOException
import java.text.SimpleDateFormat
import java.util.Date
import java.util.Locale
import java.util.TimeZone
import kotlin.concurrent.thread

/**
 * Times the bundle's artifacts and writes measurements.jsonl, by button or over adb (docs/apps.md):
 *
 *     adb shell am start -W -S -n edgeseg.app/.BenchActivity --ez start true --es artifact FILE --es accelerator GPU
 *         --ei threads 4 --ef seconds 3 --ei rounds 3
 *
 * Without `artifact` all are timed, without `accelerator` each one of an artifact, without `threads` the largest count.
 * The file appears whole when the run has ended, beside it problems.txt with what could not be timed. -S makes the process
 * fresh; rounds share it.
 */
class BenchActivity : Activity() {
    private lateinit var log: TextView
    private lateinit var start: Button
    private val folder: File get() = getExternalFilesDir(null) ?: filesDir

    @Volatile
    private var isStopped = false

    override fun onCreate(saved: Bundle?) {
        super.onCreate(saved)
        setContentView(R.layout.bench)
        window.addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        log = findViewById(R.id.log)
        start = findViewById(R.id.start)
        start.setOnClickListener { begin() }
        findViewById<View>(R.id.share).setOnClickListener { shareMeasurements() }
        if (saved == null && intent.getBooleanExtra("start", false)) begin()
    }

    override fun onDestroy() {
        isStopped = true
        super.onDestroy()
    }

    private fun begin() {
        start.isEnabled = false
        log.text = ""
        val asked = intent
        thread(name = "bench") {
            listOf(MEASUREMENTS, PROBLEMS).forEach { File(folder, it).delete() }
            val problems = ArrayList<String>()
            val lines = try {
                measure(asked, problems)
            } catch (error: BundleException) {
                problems += error.message.orEmpty()
                emptyList()
            }
            if (lines != null) finishRun(lines, problems)
        }
    }

    /** Null if the activity was closed meanwhile. */
    private fun measure(asked: Intent, problems: MutableList<String>): List<String>? {
        val open = BundleStore(applicationContext).open()
        val cases = casesOf(asked, open)
        if (cases.isEmpty()) {
            problems +=
                getString(R.string.bench_nothing, asked.extras?.keySet().orEmpty().joinToString())
        }
        val benchmark = Benchmark(open.bundle.inputSize, { load(open, it) }, ::residentMib)
        val rounds = LinkedHashMap<BenchCase, MutableList<BenchRound>>()
        val broken = HashSet<BenchCase>()
        val seconds = asked.getFloatExtra("seconds", 3f).toDouble()
        val started = utcNow()
        for (case in benchmark.order(cases, asked.getIntExtra("rounds", 3), asked.getIntExtra("seed", 0))) {
            if (isStopped) return null
            if (case in broken) continue
            try {
                val round = Runtimes.explained(this, choiceOf(case)) { benchmark.round(case, seconds) }
                rounds.getOrPut(case) { ArrayList() } += round
                say("${choiceOf(case)}: ${getString(R.string.bench_p50, Latency.of(round.samplesMs)?.p50Ms)}")
            } catch (error: SegmenterException) {
                broken += case
                problems += error.message.orEmpty()
                say(error.message.orEmpty())
            }
        }
        return rounds.filterKeys { it !in broken }.map { (case, found) ->
            toMeasurement(open.bundle.name, case, found, thisDevice(this), isEmulated(), peakMib(), started)
                .toJson().toString()
        }
    }

    private fun load(open: OpenBundle, case: BenchCase) = Runtimes.load(applicationContext, open, choiceOf(case))

    private fun choiceOf(case: BenchCase) = Choice(case.artifact, case.accelerator, case.threads)

    private fun casesOf(asked: Intent, open: OpenBundle): List<BenchCase> {
        val file = asked.getStringExtra("artifact")
        val accelerator = asked.getStringExtra("accelerator")?.uppercase(Locale.ROOT)
        val threads = asked.getIntExtra("threads", Preferences.threadCounts.last())
        return open.bundle.artifacts.filter { file == null || it.file == file }.flatMap { artifact ->
            Runtimes.accelerators(artifact).filter { accelerator == null || it.name == accelerator }.map {
                BenchCase(artifact, it, if (it == Accelerator.CPU) threads else 1)
            }
        }
    }

    private fun finishRun(lines: List<String>, problems: List<String>) {
        val said = try {
            writeAside(PROBLEMS, problems)
            writeAside(MEASUREMENTS, lines)
            getString(R.string.bench_written, lines.size, File(folder, MEASUREMENTS).path)
        } catch (error: IOException) {
            getString(R.string.cannot_read_or_write, error.message)
        }
        problems.forEach(::say)
        say(said)
        runOnUiThread { start.isEnabled = true }
    }

    /** A driver that polls for the file never sees half of it. */
    private fun writeAside(name: String, lines: List<String>) {
        val aside = File(folder, "$name.part")
        aside.writeText(lines.joinToString("") { "$it\n" })
        if (!aside.renameTo(File(folder, name))) throw IOException(name)
    }

    private fun shareMeasurements() {
        val written = File(folder, MEASUREMENTS)
        if (!written.isFile) return say(getString(R.string.bench_none))
        try {
            share(
                this,
                listOf(written.copyTo(File(shareFolder(this), MEASUREMENTS), overwrite = true)),
                "application/json"
            )
        } catch (error: IOException) {
            say(getString(R.string.cannot_read_or_write, error.message))
        }
    }

    private fun say(line: String) = runOnUiThread { log.append("$line\n") }

    private companion object {
        const val MEASUREMENTS = "measurements.jsonl"
        const val PROBLEMS = "problems.txt"
    }
}

private fun utcNow(): String {
    val format = SimpleDateFormat("yyyy-MM-dd'T'HH:mm:ss'+00:00'", Locale.ROOT)
    format.timeZone = TimeZone.getTimeZone("UTC")
    return format.format(Date())
}
