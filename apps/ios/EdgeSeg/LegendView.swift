import EdgeSegCore
import SwiftUI

/// The segments that the picture shows, the largest first, with their share of it.
struct LegendView: View {
    @EnvironmentObject private var model: AppModel

    var body: some View {
        List {
            if let panoptic = model.picture?.panoptic {
                let colors = slotColors(panoptic.merged, panoptic.categories)
                ForEach(panoptic.legend) { segment in
                    Button {
                        model.selected = segment
                    } label: {
                        row(segment.category.name, percent(segment.share), color(colors[segment.slot]))
                    }
                    .listRowBackground(model.selected?.id == segment.id ? Color.accentColor.opacity(0.2) : nil)
                    .accessibilityLabel("\(segment.category.name), \(percent(segment.share)) of the picture")
                }
                row("void", percent(panoptic.voidShare), .black)
            }
        }
        .listStyle(.plain)
    }

    private func row(_ name: String, _ share: String, _ color: Color) -> some View {
        HStack {
            RoundedRectangle(cornerRadius: 3).fill(color).frame(width: 18, height: 18)
                .overlay { RoundedRectangle(cornerRadius: 3).stroke(.secondary) }
            Text(name)
            Spacer()
            Text(share).monospacedDigit().foregroundStyle(.secondary)
        }
        .foregroundStyle(.primary)
    }

    private func color(_ pixel: UInt32) -> Color {
        Color(.sRGB, red: Double(red(pixel)) / 255, green: Double(green(pixel)) / 255, blue: Double(blue(pixel)) / 255)
    }
}
