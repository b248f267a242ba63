package edgeseg.core

import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertNull
import kotlin.test.assertTrue

/** A clock that only a call moves, so that every number is known. */
private class FakeClock {
    var nanos = 0L

    fun pass(ms: Double) {
        nanos += (ms * 1e6).toLong()
    }
}

class BenchmarkTest {
    private val clock = FakeClock()
    private var isOpen = 0
    private val case = BenchCase(Artifact("a", "litert", "int8", MergePlace.GRAPH, "", 0, ""), Accelerator.CPU, 2)

    @Test
    fun `steady calls settle after the shortest warm-up`() {
        val round = benchmark { 10.0 }.round(case, seconds = 0.1)
        assertTrue(round.isSettled)
        assertEquals(21, round.warmupRuns) // the 21st call of 10 ms is the first that starts after 0.2 s
        assertEquals(List(10) { 10.0 }, round.samplesMs)
        assertEquals(30.0, round.loadMs)
    }

    @Test
    fun `calls that never settle end after three seconds and say so`() {
        var call = 0
        val round = benchmark { 10.0 * 1.06.pow(call++) }.round(case, seconds = 0.0)
        assertFalse(round.isSettled)
        assertEquals(5, round.samplesMs.size) // at least five, however short the time
    }

    @Test
    fun `both loads are closed`() {
        benchmark { 10.0 }.round(case, seconds = 0.1)
        assertEquals(0, isOpen)
    }

    @Test
    fun `every round holds every case once, in an order that the seed gives`() {
        val cases = List(6) { case.copy(threads = it + 1) }
        val order = benchmark { 1.0 }.order(cases, rounds = 4, seed = 3)
        order.chunked(6).forEach { assertEquals(cases.toSet(), it.toSet()) }
        assertEquals(order, benchmark { 1.0 }.order(cases, rounds = 4, seed = 3))
        assertTrue(order.chunked(6).distinct().size > 1)
    }

    @Test
    fun `stage times forget what is older than their window`() {
        val times = StageTimes(seconds = 5.0, nowNanos = { clock.nanos })
        times.add(Stage.RUN, 100.0)
        clock.pass(5001.0)
        assertTrue(times.recent().isEmpty())
        times.add(Stage.RUN, 3.0)
        times.add(Stage.RUN, 5.0)
        assertEquals(4.0, times.recent().getValue(Stage.RUN).p50Ms)
        assertNull(times.recent()[Stage.DRAW])
    }

    private fun benchmark(callMs: () -> Double) = Benchmark(
        Size(4, 4),
        load = {
            clock.pass(30.0)
            isOpen++
            FakeSegmenter(callMs)
        },
        residentMib = { 0.0 },
        nowNanos = { clock.nanos }
    )

    private inner class FakeSegmenter(private val callMs: () -> Double) : Segmenter {
        override val runtimeVersion = "fake"
        override val accelerator = Accelerator.CPU

        override fun run(input: ByteArray): Merged {
            clock.pass(callMs())
            return Merged(Size(1, 1), ByteArray(1), IntArray(1), FloatArray(1))
        }

        override fun close() {
            isOpen--
        }
    }
}

private fun Double.pow(exponent: Int): Double = Math.pow(this, exponent.toDouble())
