/// Percentiles of some calls, in milliseconds.
public struct Latency: Equatable, Sendable {
    public let p50Ms: Double
    public let p90Ms: Double
    public let p99Ms: Double
    public let minMs: Double
    public let meanMs: Double

    /// Nil without samples.
    public init?(_ samplesMs: [Double]) {
        let sorted = samplesMs.sorted()
        guard let least = sorted.first else { return nil }
        p50Ms = percentile(sorted, 50)
        p90Ms = percentile(sorted, 90)
        p99Ms = percentile(sorted, 99)
        minMs = least
        meanMs = samplesMs.reduce(0, +) / Double(samplesMs.count)
    }
}

/// Linear between the two samples next to (n - 1) q / 100.
func percentile(_ sorted: [Double], _ q: Double) -> Double {
    let position = Double(sorted.count - 1) * q / 100
    let below = Int(position)
    let above = min(below + 1, sorted.count - 1)
    return sorted[below] + (sorted[above] - sorted[below]) * (position - Double(below))
}
