import SwiftUI

/// One line on the model and its self-check; below it what to do where the camera is not to be had.
struct StatusView: View {
    @EnvironmentObject private var model: AppModel

    var body: some View {
        VStack(alignment: .leading, spacing: 4) {
            Text(model.runtimeVersion == nil ? "No model is running" : model.choice?.title ?? "")
                .font(.caption.bold())
            Text("Self-check: \(model.selfCheck)").font(.caption)
            if let selected = model.selected { Text("\(selected.category.name), \(percent(selected.share))").font(.headline) }
            switch model.camera {
            case .refused:
                Text("The camera is not allowed. Allow it in the system's settings, or choose a photo.").font(.callout)
                if let url = URL(string: UIApplication.openSettingsURLString) { Link("Open settings", destination: url) }
            case .problem(let text): Text(text).font(.callout)
            case .stopped, .running: EmptyView()
            }
        }
        .frame(maxWidth: .infinity, alignment: .leading)
        .padding(8)
        .background(.bar)
        .accessibilityElement(children: .contain)
    }
}

func percent(_ share: Double) -> String { share.formatted(.percent.precision(.fractionLength(1))) }
