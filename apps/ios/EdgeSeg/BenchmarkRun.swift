import EdgeSegCore
import Foundation

/// The protocol of docs/measurements.md over some choices, except that the rounds share one process.
struct BenchmarkRun {
    let open: OpenBundle
    let choices: [Choice]
    let seconds: Double
    let rounds: Int
    let context: MeasurementContext

    /// Every artifact on every choice of compute units that this device has.
    @MainActor
    static func everything(of open: OpenBundle, seconds: Double, rounds: Int) -> BenchmarkRun {
        let choices = open.bundle.artifacts.flatMap { artifact in
            Runtimes.units(for: artifact).filter { $0.refusal == nil }.map { Choice(artifact: artifact, units: $0) }
        }
        let context = MeasurementContext(
            bundle: "\(open.bundle.name).edgeseg", device: thisDevice(), isEmulated: isSimulator, timeUTC: utcNow())
        return BenchmarkRun(open: open, choices: choices, seconds: seconds, rounds: rounds, context: context)
    }

    /// Lines of measurements.jsonl; a choice that cannot run gets a line that says why.
    ///
    /// - Parameter progress: Called with a line for people after each round.
    /// - Throws: `CancellationError`.
    func lines(progress: @escaping @Sendable (String) -> Void) async throws -> [String] {
        let benchmark = Benchmark(inputSize: open.bundle.inputSize, residentMib: { memoryMib().now })
        var found: [Choice: [BenchRound]] = [:]
        var versions: [Choice: String] = [:]
        var refusals: [Choice: String] = [:]
        for choice in roundOrder(choices, rounds: rounds, seed: 0) where refusals[choice] == nil {
            do {
                let load = try await Runtimes.prepare(open, choice)
                let round = try benchmark.round(
                    seconds: seconds,
                    load: {
                        let segmenter = try load()
                        versions[choice] = segmenter.runtimeVersion
                        return segmenter
                    }, pause: { try Task.checkCancellation() })
                found[choice, default: []].append(round)
                progress("\(choice.title): p50 \(Latency(round.samplesMs)?.p50Ms.formatted() ?? "-") ms")
            } catch let error as SegmenterError {
                refusals[choice] = error.description
                progress(error.description)
            }
        }
        return choices.map { choice in
            let refusal = refusals[choice] ?? ""
            return measurement(
                of: choice.artifact, runtimeVersion: versions[choice] ?? choice.title, threads: 0,
                rounds: refusal.isEmpty ? found[choice] ?? [] : [], in: context, peakMib: memoryMib().peak, notTimed: refusal
            ).line
        }
    }

    /// The lines as Documents/measurements.jsonl, which appears whole or not at all.
    static func write(_ lines: [String]) throws -> URL {
        let file = URL.documentsDirectory.appendingPathComponent("measurements.jsonl")
        try Data(lines.map { $0 + "\n" }.joined().utf8).write(to: file, options: .atomic)
        return file
    }
}

func utcNow() -> String { Date.now.formatted(.iso8601).replacingOccurrences(of: "Z", with: "+00:00") }
