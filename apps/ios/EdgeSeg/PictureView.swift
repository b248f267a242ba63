import EdgeSegCore
import SwiftUI

/// The photo under its overlay; a tap names the segment there.
struct PictureView: View {
    @EnvironmentObject private var model: AppModel

    var body: some View {
        if let picture = model.picture {
            ZStack {
                Image(decorative: picture.photoImage, scale: 1).resizable()
                Image(decorative: picture.overlayImage, scale: 1).resizable().interpolation(.none)
            }
            .aspectRatio(
                CGFloat(picture.photo.size.width) / CGFloat(picture.photo.size.height), contentMode: .fit
            )
            .overlay { GeometryReader { space in taps(on: picture, space.size) } }
            .accessibilityElement()
            .accessibilityLabel(label(picture))
            .accessibilityAddTraits(.isImage)
        } else {
            ContentUnavailableView(
                "No picture yet", systemImage: "camera", description: Text("Start the camera or choose a photo."))
        }
    }

    private func taps(on picture: Picture, _ shown: CGSize) -> some View {
        Color.clear.contentShape(Rectangle()).gesture(
            SpatialTapGesture().onEnded { tap in
                let size = picture.photo.size
                let x = Int(tap.location.x / shown.width * CGFloat(size.width))
                let y = Int(tap.location.y / shown.height * CGFloat(size.height))
                guard (0..<size.width).contains(x), (0..<size.height).contains(y) else { return }
                model.selected = picture.panoptic.segment(x: x, y: y)
            })
    }

    private func label(_ picture: Picture) -> String {
        let names = picture.panoptic.legend.map { "\($0.category.name) \(percent($0.share))" }
        return names.isEmpty ? "Picture without segments" : "Picture with " + names.joined(separator: ", ")
    }
}
