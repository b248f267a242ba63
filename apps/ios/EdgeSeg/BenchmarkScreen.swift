import EdgeSegCore
import SwiftUI

/// Times every artifact on every choice of compute units and shares measurements.jsonl.
struct BenchmarkScreen: View {
    @EnvironmentObject private var model: AppModel
    @State private var log: [String] = []
    @State private var file: URL?
    @State private var run: Task<Void, Never>?
    @State private var seconds = 3.0
    @State private var rounds = 3

    var body: some View {
        List {
            Section {
                Stepper("\(rounds) rounds", value: $rounds, in: 1...10)
                Stepper("\(seconds.formatted()) seconds a round", value: $seconds, in: 1...30)
                if run == nil { Button("Start") { begin() } } else { Button("Stop", role: .cancel) { run?.cancel() } }
                if let file { ShareLink("Share measurements.jsonl", item: file) }
            } footer: {
                Text("Put the phone on a desk, off the charger. Camera and model of the main screen rest meanwhile.")
            }
            Section("Log") { ForEach(log.indices, id: \.self) { Text(log[$0]).font(.caption.monospaced()) } }
        }
        .navigationTitle("Benchmark")
        .onDisappear { run?.cancel() }
    }

    private func begin() {
        guard let open = model.open else { return }
        let benchmark = BenchmarkRun.everything(of: open, seconds: seconds, rounds: rounds)
        log = []
        file = nil
        UIApplication.shared.isIdleTimerDisabled = true
        run = Task {
            await model.beginBenchmark()
            do {
                let lines = try await benchmark.lines { line in Task { @MainActor in log.append(line) } }
                file = try BenchmarkRun.write(lines)
            } catch is CancellationError {
                log.append("stopped; nothing was written")
            } catch {
                log.append("\(error)")
            }
            UIApplication.shared.isIdleTimerDisabled = false
            run = nil
            await model.endBenchmark()
        }
    }
}
