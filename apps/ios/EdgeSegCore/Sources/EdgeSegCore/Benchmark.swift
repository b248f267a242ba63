/// What one round of a case gave.
public struct BenchRound: Equatable, Sendable {
    public let loadMs: Double
    public let warmupRuns: Int
    public let isSettled: Bool
    public let samplesMs: [Double]
    public let rssDeltaMib: Double

    public init(loadMs: Double, warmupRuns: Int, isSettled: Bool, samplesMs: [Double], rssDeltaMib: Double) {
        self.loadMs = loadMs
        self.warmupRuns = warmupRuns
        self.isSettled = isSettled
        self.samplesMs = samplesMs
        self.rssDeltaMib = rssDeltaMib
    }
}

/// The protocol of docs/measurements.md inside one process: a second load that is timed, warm-up until the calls settle, every
/// call kept.
public struct Benchmark {
    private let input: [UInt8]
    private let residentMib: () -> Double
    private let nowMs: () -> Double

    /// - Parameters:
    ///   - residentMib: Resident memory of this process now.
    ///   - nowMs: Milliseconds of a clock that only goes forward.
    public init(inputSize: Size, residentMib: @escaping () -> Double, nowMs: @escaping () -> Double = Self.clockMs) {
        var random = SplitMix64(seed: 0)
        input = (0..<3 * inputSize.area).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        self.residentMib = residentMib
        self.nowMs = nowMs
    }

    public static func clockMs() -> Double { milliseconds(ContinuousClock.now - start) }

    /// - Throws: What `load`, the segmenter or `pause` throw; `pause` is called between calls, untimed.
    public func round(seconds: Double, load: () throws -> any Segmenter, pause: () throws -> Void = {}) throws -> BenchRound {
        _ = try load().run(input)  // brings the runtime's libraries in
        let before = residentMib()
        let started = nowMs()
        let segmenter = try load()
        let loadMs = nowMs() - started
        func call() throws -> Double {
            try pause()
            let started = nowMs()
            _ = try segmenter.run(input)
            return nowMs() - started
        }
        let (warmupRuns, isSettled) = try warmUp(call)
        let delta = residentMib() - before
        var samples: [Double] = []
        let until = nowMs() + 1000 * seconds
        while nowMs() < until || samples.count < minSamples { samples.append(try call()) }
        return BenchRound(
            loadMs: loadMs, warmupRuns: warmupRuns, isSettled: isSettled, samplesMs: samples, rssDeltaMib: delta)
    }

    private func warmUp(_ call: () throws -> Double) throws -> (runs: Int, isSettled: Bool) {
        var times: [Double] = []
        let started = nowMs()
        while nowMs() - started < mostWarmupMs || times.count < 2 {
            times.append(try call())
            if nowMs() - started >= leastWarmupMs && isSettled(times) { return (times.count, true) }
        }
        return (times.count, false)
    }
}

/// All (round, case) pairs, each round in an order of its own.
public func roundOrder<Case>(_ cases: [Case], rounds: Int, seed: UInt64) -> [Case] {
    var random = SplitMix64(seed: seed)
    return (0..<rounds).flatMap { _ in cases.shuffled(using: &random) }
}

private let start = ContinuousClock.now
private let leastWarmupMs = 200.0
private let mostWarmupMs = 3000.0
private let minSamples = 5
private let window = 5  // calls in each of the two stretches that must agree
private let tolerance = 0.05  // relative difference of their medians

private func isSettled(_ times: [Double]) -> Bool {
    guard times.count >= 2 * window, let earlier = Latency(Array(times.suffix(2 * window).prefix(window)))?.p50Ms,
        let later = Latency(Array(times.suffix(window)))?.p50Ms
    else { return false }
    return abs(later - earlier) <= tolerance * earlier
}

/// Sebastiano Vigna's SplitMix64 (prng.di.unimi.it): the same numbers for a seed on every system.
struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }
}
