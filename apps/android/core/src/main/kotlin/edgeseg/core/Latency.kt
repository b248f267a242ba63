package edgeseg.core

/** Percentiles of some calls, in milliseconds. */
data class Latency(val p50Ms: Double, val p90Ms: Double, val p99Ms: Double, val minMs: Double, val meanMs: Double) {
    companion object {
        /** Null without samples. */
        fun of(samplesMs: List<Double>): Latency? {
            if (samplesMs.isEmpty()) return null
            val sorted = samplesMs.sorted()
            return Latency(
                percentile(sorted, 50.0),
                percentile(sorted, 90.0),
                percentile(sorted, 99.0),
                sorted.first(),
                samplesMs.average()
            )
        }
    }
}

/** Linear between the two samples next to (n - 1) q / 100. */
internal fun percentile(sorted: List<Double>, q: Double): Double {
    val position = (sorted.size - 1) * q / 100
    val below = position.toInt()
    val above = minOf(below + 1, sorted.size - 1)
    return sorted[below] + (sorted[above] - sorted[below]) * (position - below)
}

/** What a frame spends its time on, in order. */
enum class Stage { CAPTURE, PRE, RUN, POST, DRAW }

/** Times of each [Stage] over the last [seconds]; safe to use from several threads. */
class StageTimes(private val seconds: Double = 5.0, private val nowNanos: () -> Long = System::nanoTime) {
    private class Sample(val atNanos: Long, val ms: Double)

    private val samples = Stage.entries.associateWith { ArrayDeque<Sample>() }

    @Synchronized
    fun add(stage: Stage, ms: Double) {
        samples.getValue(stage).addLast(Sample(nowNanos(), ms))
    }

    /** Runs [block] and notes how long it took. */
    inline fun <T> measure(stage: Stage, block: () -> T): T {
        val started = System.nanoTime()
        return block().also { add(stage, (System.nanoTime() - started) / 1e6) }
    }

    /** Stages without a recent sample are absent. */
    @Synchronized
    fun recent(): Map<Stage, Latency> {
        val oldest = nowNanos() - (seconds * 1e9).toLong()
        val found = LinkedHashMap<Stage, Latency>()
        for ((stage, queue) in samples) {
            while (queue.isNotEmpty() && queue.first().atNanos < oldest) queue.removeFirst()
            Latency.of(queue.map { it.ms })?.let { found[stage] = it }
        }
        return found
    }

    @Synchronized
    fun clear() = samples.values.forEach { it.clear() }
}
