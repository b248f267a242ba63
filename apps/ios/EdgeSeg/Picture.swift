import CoreGraphics
import EdgeSegCore

/// How the overlay is painted.
struct Look: Equatable {
    var opacity = 0.5
    var outlines = true
}

/// A photo, its segments, and both as they are drawn.
struct Picture: @unchecked Sendable {  // a CGImage never changes
    let photo: RGBImage
    let panoptic: Panoptic
    let photoImage: CGImage
    let overlayImage: CGImage

    /// Nil if the system has no memory for it.
    init?(_ photo: RGBImage, _ panoptic: Panoptic, _ look: Look) {
        let overlay = paintOverlay(panoptic, opacity: look.opacity, outlines: look.outlines)
        guard let photoImage = makeCGImage(photo.pixels, photo.size, isOpaque: true),
            let overlayImage = makeCGImage(overlay, photo.size, isOpaque: false)
        else { return nil }
        self.photo = photo
        self.panoptic = panoptic
        self.photoImage = photoImage
        self.overlayImage = overlayImage
    }

    /// The photo under its overlay.
    func flattened() -> CGImage? {
        let rect = CGRect(x: 0, y: 0, width: photo.size.width, height: photo.size.height)
        guard let space = photoImage.colorSpace,
            let context = CGContext(
                data: nil, width: photo.size.width, height: photo.size.height, bitsPerComponent: 8, bytesPerRow: 0,
                space: space, bitmapInfo: CGImageAlphaInfo.noneSkipFirst.rawValue)
        else { return nil }
        context.draw(photoImage, in: rect)
        context.draw(overlayImage, in: rect)
        return context.makeImage()
    }
}
