import EdgeSegCore
import SwiftUI

/// Model, compute units, look, bundle, times, self-check, benchmark.
struct SettingsScreen: View {
    @EnvironmentObject private var model: AppModel
    @State private var isChoosing = false

    var body: some View {
        Form {
            if let open = model.open { modelSection(open.bundle) }
            Section("Picture") {
                Slider(value: $model.look.opacity, in: 0...1) { Text("Opacity") }
                    .accessibilityValue(percent(model.look.opacity))
                Toggle("Outlines", isOn: $model.look.outlines)
            }
            Section("Times of the last 5 seconds") { TimesView() }
            Section("Self-check against the exporter's golden pictures") {
                Text(model.selfCheck)
                Button("Run again") { Task { await model.check() } }
            }
            if model.open != nil {
                Section { NavigationLink("Benchmark") { BenchmarkScreen() } }
            }
            Section("Bundle") {
                if let bundle = model.open?.bundle { Text("\(bundle.name), weights: \(bundle.licence)") }
                Button("Open another (a folder NAME.edgeseg)") { isChoosing = true }
                Button("Go back to the app's own") { model.openBundle(BundleStore.openOwn) }
            }
        }
        .navigationTitle("Settings")
        .fileImporter(isPresented: $isChoosing, allowedContentTypes: [.folder]) { chosen in
            switch chosen {
            case .success(let folder): model.openBundle { try BundleStore.adopt(folder) }
            case .failure(let error): model.problem = error.localizedDescription
            }
        }
    }

    private func modelSection(_ bundle: ModelBundle) -> some View {
        Section("Model") {
            ForEach(bundle.artifacts, id: \.file) { artifact in
                ForEach(Runtimes.units(for: artifact)) { units in
                    choiceRow(Choice(artifact: artifact, units: units))
                }
            }
            Text(model.runtimeVersion ?? "No model is running").font(.caption).foregroundStyle(.secondary)
        }
    }

    /// What is not to be had is listed with the reason and cannot be chosen.
    private func choiceRow(_ choice: Choice) -> some View {
        Button {
            Task { await model.use(choice) }
        } label: {
            VStack(alignment: .leading) {
                HStack {
                    Text(choice.title)
                    Spacer()
                    if model.choice == choice && model.runtimeVersion != nil { Image(systemName: "checkmark") }
                }
                if let refusal = choice.units.refusal { Text(refusal).font(.caption) }
            }
        }
        .disabled(choice.units.refusal != nil)
        .accessibilityAddTraits(model.choice == choice ? .isSelected : [])
    }
}
