public struct Device: Equatable, Sendable {
    public let name: String
    public let cores: Int
    public let os: String
    public let machine: String
    public let memoryMib: Int

    public init(name: String, cores: Int, os: String, machine: String, memoryMib: Int) {
        self.name = name
        self.cores = cores
        self.os = os
        self.machine = machine
        self.memoryMib = memoryMib
    }
}

/// What the rounds of one case share.
public struct MeasurementContext: Sendable {
    public let bundle: String
    public let device: Device
    public let isEmulated: Bool
    public let timeUTC: String

    public init(bundle: String, device: Device, isEmulated: Bool, timeUTC: String) {
        self.bundle = bundle
        self.device = device
        self.isEmulated = isEmulated
        self.timeUTC = timeUTC
    }
}

/// One line of measurements.jsonl (docs/measurements.md, apps/spec/measurement.schema.json).
///
/// - Parameter notTimed: Why there are no rounds, else empty.
public func measurement(
    of artifact: Artifact, runtimeVersion: String, threads: Int, rounds: [BenchRound], in context: MeasurementContext,
    peakMib: Double, notTimed: String = ""
) -> JSON {
    let samples = rounds.flatMap(\.samplesMs)
    return .object([
        "bundle": .text(context.bundle),
        "artifact": .text(artifact.file),
        "sha256": .text(artifact.sha256),
        "runtime": .text(artifact.runtime),
        "runtime_version": .text(runtimeVersion),
        "precision": .text(artifact.precision),
        "merge": .text(artifact.merge.rawValue),
        "threads": .number(threads),
        "samples_ms": .numbers(samples),
        "round_sizes": .numbers(rounds.map(\.samplesMs.count)),
        "warmup_runs": .number(rounds.reduce(0) { $0 + $1.warmupRuns }),
        "is_settled": .bool(rounds.allSatisfy(\.isSettled)),
        "load_ms": .numbers(rounds.map(\.loadMs)),
        "peak_mib": .number(peakMib),
        "rss_delta_mib": .number(Latency(rounds.map(\.rssDeltaMib))?.p50Ms ?? 0),
        "device": .object([
            "name": .text(context.device.name), "cores": .number(context.device.cores), "os": .text(context.device.os),
            "machine": .text(context.device.machine), "memory_mib": .number(context.device.memoryMib),
        ]),
        "emulated": .bool(context.isEmulated),
        "time_utc": .text(context.timeUTC),
        "commit": "",
        "not_timed": .text(notTimed),
        "schema": 1,
        "latency": Latency(samples).map(describe) ?? .null,
    ])
}

private func describe(_ latency: Latency) -> JSON {
    .object([
        "p50_ms": .number(latency.p50Ms), "p90_ms": .number(latency.p90Ms), "p99_ms": .number(latency.p99Ms),
        "min_ms": .number(latency.minMs), "mean_ms": .number(latency.meanMs),
    ])
}
