import EdgeSegCore
import SwiftUI

/// p50 and p90 of each stage, read twice a second.
struct TimesView: View {
    @EnvironmentObject private var model: AppModel

    var body: some View {
        Grid(alignment: .trailing) {
            GridRow {
                Text("stage").gridColumnAlignment(.leading)
                Text("p50 ms")
                Text("p90 ms")
            }
            .foregroundStyle(.secondary)
            ForEach(Stage.allCases, id: \.self) { stage in
                GridRow {
                    Text(stage.rawValue)
                    Text(milliseconds(model.times[stage]?.p50Ms))
                    Text(milliseconds(model.times[stage]?.p90Ms))
                }
                .accessibilityElement(children: .combine)
            }
        }
        .monospacedDigit()
        .task {
            while !Task.isCancelled {
                await model.refreshTimes()
                try? await Task.sleep(for: .milliseconds(500))
            }
        }
    }

    private func milliseconds(_ value: Double?) -> String {
        value?.formatted(.number.precision(.fractionLength(1))) ?? "-"
    }
}
