package edgeseg.core

import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.add
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.put
import kotlinx.serialization.json.putJsonArray
import kotlinx.serialization.json.putJsonObject

private const val SCHEMA = 1

data class Device(val name: String, val cores: Int, val os: String, val machine: String, val memoryMib: Int)

/** One line of measurements.jsonl (docs/measurements.md, apps/spec/measurement.schema.json). */
data class Measurement(
    val bundle: String,
    val artifact: Artifact,
    val runtimeVersion: String,
    val threads: Int,
    val samplesMs: List<Double>,
    val roundSizes: List<Int>,
    val warmupRuns: Int,
    val isSettled: Boolean,
    val loadMs: List<Double>,
    val peakMib: Double,
    val rssDeltaMib: Double,
    val device: Device,
    val isEmulated: Boolean,
    val timeUtc: String,
    val notTimed: String = ""
) {
    fun toJson(): JsonObject = buildJsonObject {
        put("bundle", bundle)
        put("artifact", artifact.file)
        put("sha256", artifact.sha256)
        put("runtime", artifact.runtime)
        put("runtime_version", runtimeVersion)
        put("precision", artifact.precision)
        put("merge", artifact.merge.name.lowercase())
        put("threads", threads)
        putJsonArray("samples_ms") { samplesMs.forEach { add(it) } }
        putJsonArray("round_sizes") { roundSizes.forEach { add(it) } }
        put("warmup_runs", warmupRuns)
        put("is_settled", isSettled)
        putJsonArray("load_ms") { loadMs.forEach { add(it) } }
        put("peak_mib", peakMib)
        put("rss_delta_mib", rssDeltaMib)
        putJsonObject("device") {
            put("name", device.name)
            put("cores", device.cores)
            put("os", device.os)
            put("machine", device.machine)
            put("memory_mib", device.memoryMib)
        }
        put("emulated", isEmulated)
        put("time_utc", timeUtc)
        put("commit", "")
        put("not_timed", notTimed)
        put("schema", SCHEMA)
        val latency = Latency.of(samplesMs)
        if (latency == null) {
            put("latency", JsonNull)
        } else {
            putJsonObject("latency") {
                put("p50_ms", latency.p50Ms)
                put("p90_ms", latency.p90Ms)
                put("p99_ms", latency.p99Ms)
                put("min_ms", latency.minMs)
                put("mean_ms", latency.meanMs)
            }
        }
    }
}
