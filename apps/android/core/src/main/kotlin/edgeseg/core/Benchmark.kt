package edgeseg.core

import kotlin.math.abs
import kotlin.random.Random

/** An artifact with an accelerator and a number of threads. */
data class BenchCase(val artifact: Artifact, val accelerator: Accelerator, val threads: Int)

/** What one round of a case gave. */
class BenchRound(
    val runtimeVersion: String,
    val loadMs: Double,
    val warmupRuns: Int,
    val isSettled: Boolean,
    val samplesMs: List<Double>,
    val rssDeltaMib: Double
)

/**
 * The protocol of docs/measurements.md inside one process: rounds in random order, a second load that is timed, warm-up
 * until the calls settle, every call kept.
 *
 * @param load makes a case runnable
 * @param residentMib resident memory of this process now
 */
class Benchmark(
    private val inputSize: Size,
    private val load: (BenchCase) -> Segmenter,
    private val residentMib: () -> Double,
    private val nowNanos: () -> Long = System::nanoTime
) {
    private val input = Random(0).nextBytes(3 * inputSize.area)

    /** The order of all (round, case) pairs. */
    fun order(cases: List<BenchCase>, rounds: Int, seed: Int): List<BenchCase> {
        val random = Random(seed)
        return (0 until rounds).flatMap { cases.shuffled(random) }
    }

    fun round(case: BenchCase, seconds: Double): BenchRound {
        load(case).use { it.run(input) } // brings the runtime's libraries in
        val before = residentMib()
        val started = nowNanos()
        load(case).use { segmenter ->
            val loadMs = (nowNanos() - started) / 1e6
            val (warmupRuns, isSettled) = warmUp(segmenter)
            val delta = residentMib() - before
            return BenchRound(
                segmenter.runtimeVersion,
                loadMs,
                warmupRuns,
                isSettled,
                time(segmenter, seconds),
                delta
            )
        }
    }

    private fun warmUp(segmenter: Segmenter): Pair<Int, Boolean> {
        val times = ArrayList<Double>()
        val started = nowNanos()
        while (true) {
            val spent = (nowNanos() - started) / 1e9
            if (spent >= MOST_SECONDS && times.size >= 2) return times.size to false
            times += callMs(segmenter)
            if (spent >= LEAST_SECONDS && isSettled(times)) return times.size to true
        }
    }

    private fun time(segmenter: Segmenter, seconds: Double): List<Double> {
        val samples = ArrayList<Double>()
        val until = nowNanos() + (seconds * 1e9).toLong()
        while (nowNanos() < until || samples.size < MIN_SAMPLES) samples += callMs(segmenter)
        return samples
    }

    private fun callMs(segmenter: Segmenter): Double {
        val started = nowNanos()
        segmenter.run(input)
        return (nowNanos() - started) / 1e6
    }
}

private const val LEAST_SECONDS = 0.2
private const val MOST_SECONDS = 3.0
private const val MIN_SAMPLES = 5
private const val WINDOW = 5 // calls in each of the two stretches that must agree
private const val TOLERANCE = 0.05 // relative difference of their medians

private fun isSettled(times: List<Double>): Boolean {
    if (times.size < 2 * WINDOW) return false
    val earlier = median(times.subList(times.size - 2 * WINDOW, times.size - WINDOW))
    return abs(median(times.takeLast(WINDOW)) - earlier) <= TOLERANCE * earlier
}

private fun median(values: List<Double>): Double = Latency.of(values)!!.p50Ms

/** One record from a case's rounds. */
fun toMeasurement(
    bundle: String,
    case: BenchCase,
    rounds: List<BenchRound>,
    device: Device,
    isEmulated: Boolean,
    peakMib: Double,
    timeUtc: String
) = Measurement(
    bundle = bundle,
    artifact = case.artifact,
    runtimeVersion = rounds.first().runtimeVersion,
    threads = case.threads,
    samplesMs = rounds.flatMap { it.samplesMs },
    roundSizes = rounds.map { it.samplesMs.size },
    warmupRuns = rounds.sumOf { it.warmupRuns },
    isSettled = rounds.all { it.isSettled },
    loadMs = rounds.map { it.loadMs },
    peakMib = peakMib,
    rssDeltaMib = median(rounds.map { it.rssDeltaMib }),
    device = device,
    isEmulated = isEmulated,
    timeUtc = timeUtc
)
