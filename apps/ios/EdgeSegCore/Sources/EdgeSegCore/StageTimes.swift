/// What a frame spends its time on, in order.
public enum Stage: String, CaseIterable, Sendable { case capture, pre, run, post, draw }

/// Times of each ``Stage`` over the last seconds.
public struct StageTimes: Sendable {
    private let window: Duration
    private let now: @Sendable () -> ContinuousClock.Instant
    private var samples: [Stage: [(at: ContinuousClock.Instant, ms: Double)]] = [:]

    public init(
        window: Duration = .seconds(5), now: @escaping @Sendable () -> ContinuousClock.Instant = { ContinuousClock.now }
    ) {
        self.window = window
        self.now = now
    }

    public mutating func add(_ stage: Stage, ms: Double) {
        samples[stage, default: []].append((now(), ms))
    }

    /// Runs `work` and notes how long it took.
    public mutating func measure<Result>(_ stage: Stage, _ work: () throws -> Result) rethrows -> Result {
        let started = ContinuousClock.now
        let result = try work()
        add(stage, ms: milliseconds(ContinuousClock.now - started))
        return result
    }

    /// Stages without a recent sample are absent.
    public mutating func recent() -> [Stage: Latency] {
        let oldest = now() - window
        for stage in samples.keys { samples[stage]?.removeAll { $0.at < oldest } }
        return samples.compactMapValues { Latency($0.map(\.ms)) }
    }

    public mutating func clear() { samples = [:] }
}

public func milliseconds(_ duration: Duration) -> Double { duration / .milliseconds(1) }
