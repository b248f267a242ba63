import EdgeSegCore
import Foundation
import Testing

/// The protocol, on a clock that only the segmenter moves.
@Suite struct BenchmarkTests {
    final class World {
        var ms = 0.0
        var loads = 0
        var callMs: [Double] = []
        var calls = 0
    }

    final class Slow: Segmenter {
        let world: World
        let runtimeVersion = "test"

        init(_ world: World) {
            self.world = world
            world.loads += 1
            world.ms += 40
        }

        func run(_ input: [UInt8]) throws -> Merged {
            #expect(input.count == 3 * 4 * 4)
            world.ms += world.calls < world.callMs.count ? world.callMs[world.calls] : 10
            world.calls += 1
            return Merged(mapSize: Size(height: 1, width: 1), slotMap: [255], slotCategory: [], slotScore: [])
        }
    }

    let world = World()

    @Test func theSecondLoadIsTimedAndEveryCallKept() throws {
        let round = try bench(seconds: 0.1)
        #expect(world.loads == 2)
        #expect(round.loadMs == 40)
        #expect(round.warmupRuns == 20 && round.isSettled)  // 200 ms at the least
        #expect(round.samplesMs == [Double](repeating: 10, count: 10))
    }

    @Test func callsThatKeepGettingSlowerEndTheWarmupByTheClock() throws {
        world.callMs = (0..<200).map { 10 * pow(1.1, Double($0)) }
        let round = try bench(seconds: 0)
        #expect(!round.isSettled)
        #expect(round.samplesMs.count == 5)
    }

    @Test func aStopBetweenCallsEndsTheRound() {
        struct Stopped: Error {}
        #expect(throws: Stopped.self) {
            try benchmark().round(seconds: 1, load: { Slow(world) }, pause: { if world.calls > 7 { throw Stopped() } })
        }
        #expect(world.calls == 8)
    }

    @Test func everyRoundHoldsEveryCaseAndASeedGivesOneOrder() {
        let order = roundOrder([1, 2, 3, 4, 5], rounds: 3, seed: 7)
        for round in 0..<3 { #expect(order[5 * round..<5 * round + 5].sorted() == [1, 2, 3, 4, 5]) }
        #expect(order == roundOrder([1, 2, 3, 4, 5], rounds: 3, seed: 7))
        #expect(order != roundOrder([1, 2, 3, 4, 5], rounds: 3, seed: 8))
    }

    @Test func stageTimesForgetWhatIsOlderThanTheWindow() {
        let clock = Clock()
        var times = StageTimes(window: .seconds(5), now: { clock.now })
        times.add(.run, ms: 100)
        clock.now += .seconds(4)
        times.add(.run, ms: 10)
        #expect(times.recent()[.run]?.p50Ms == 55)
        clock.now += .seconds(2)
        #expect(times.recent()[.run]?.p50Ms == 10)
        #expect(times.recent()[.draw] == nil)
    }

    final class Clock: @unchecked Sendable {  // of one test, on one thread
        var now = ContinuousClock.now
    }

    private func benchmark() -> Benchmark {
        Benchmark(inputSize: Size(height: 4, width: 4), residentMib: { 0 }, nowMs: { [world] in world.ms })
    }

    private func bench(seconds: Double) throws -> BenchRound {
        try benchmark().round(seconds: seconds, load: { Slow(world) })
    }
}
