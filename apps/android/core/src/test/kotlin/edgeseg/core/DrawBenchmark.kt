package edgeseg.core

import java.lang.management.ManagementFactory
import kotlin.random.Random

/** Times what follows the runtime at 1080p: segments, and the overlay with outlines. Prints CPU time of one thread. */
fun main() {
    val photo = Size(1080, 1920)
    val network = Size(512, 512)
    val categories = List(20) { Category(it, "category $it", it < 10, packRgb(12 * it, 255 - 12 * it, 7 * it)) }
    val merged = blocks(Size(256, 256), numSlots = 64, categories.size)
    val pixels = IntArray(photo.area)
    val after = cpuTime {
        val panoptic = Panoptic(merged, Placement(photo, network, 2), categories)
        paintOverlay(panoptic, categories, opacity = 0.5, outlines = true, into = pixels)
    }
    println("post + draw at 1920x1080: p50 %.2f ms, p90 %.2f ms".format(after.p50Ms, after.p90Ms))

    val letterbox = Letterbox(Size(720, 1280), network)
    val frame = RgbImage(letterbox.photo, IntArray(letterbox.photo.area) { Random.nextInt() })
    val input = ByteArray(3 * network.area)
    val before = cpuTime { letterbox.apply(frame, input) }
    println("pre, 1280x720 to 512x512: p50 %.2f ms, p90 %.2f ms".format(before.p50Ms, before.p90Ms))
}

private fun cpuTime(block: () -> Unit): Latency {
    val threads = ManagementFactory.getThreadMXBean()
    val samples = List(200) {
        val started = threads.currentThreadCpuTime
        block()
        (threads.currentThreadCpuTime - started) / 1e6
    }
    return Latency.of(samples.drop(100))!! // the first ones are not compiled yet
}

/** A map of 16 x 16 patches, far busier than a photo. */
private fun blocks(size: Size, numSlots: Int, numCategories: Int): Merged {
    val random = Random(0)
    val slotOf = IntArray(17 * 17) { random.nextInt(numSlots) }
    return Merged(
        size,
        ByteArray(size.area) { slotOf[it / size.width / 16 * 17 + it % size.width / 16].toByte() },
        IntArray(numSlots) { it % numCategories },
        FloatArray(numSlots) { 0.9f }
    )
}
