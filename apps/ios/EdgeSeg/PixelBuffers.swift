import CoreGraphics
import CoreVideo
import EdgeSegCore
import Foundation
import ImageIO

/// An empty 32BGRA buffer that every compute unit can read.
func makePixelBuffer(_ size: Size) throws -> CVPixelBuffer {
    var buffer: CVPixelBuffer?
    let attributes = [kCVPixelBufferIOSurfacePropertiesKey: [:] as CFDictionary] as CFDictionary
    CVPixelBufferCreate(kCFAllocatorDefault, size.width, size.height, kCVPixelFormatType_32BGRA, attributes, &buffer)
    guard let buffer else { throw SegmenterError("no memory for a picture of \(size); close other apps") }
    return buffer
}

/// Writes (height, width, 3) RGB bytes.
func fill(_ buffer: CVPixelBuffer, with rgb: [UInt8], size: Size) {
    CVPixelBufferLockBaseAddress(buffer, [])
    defer { CVPixelBufferUnlockBaseAddress(buffer, []) }
    guard let base = CVPixelBufferGetBaseAddress(buffer) else { return }
    let rowBytes = CVPixelBufferGetBytesPerRow(buffer)
    for y in 0..<size.height {
        let row = (base + y * rowBytes).assumingMemoryBound(to: UInt32.self)
        for x in 0..<size.width {
            let at = 3 * (y * size.width + x)
            row[x] = packRGB(Int(rgb[at]), Int(rgb[at + 1]), Int(rgb[at + 2]))
        }
    }
}

/// A copy of a camera's 32BGRA frame.
func copyImage(_ buffer: CVPixelBuffer) -> RGBImage? {
    CVPixelBufferLockBaseAddress(buffer, .readOnly)
    defer { CVPixelBufferUnlockBaseAddress(buffer, .readOnly) }
    guard CVPixelBufferGetPixelFormatType(buffer) == kCVPixelFormatType_32BGRA,
        let base = CVPixelBufferGetBaseAddress(buffer)
    else { return nil }
    let size = Size(height: CVPixelBufferGetHeight(buffer), width: CVPixelBufferGetWidth(buffer))
    let rowBytes = CVPixelBufferGetBytesPerRow(buffer)
    let pixels = [UInt32](unsafeUninitializedCapacity: size.area) { out, count in
        for y in 0..<size.height {
            let row = (base + y * rowBytes).assumingMemoryBound(to: UInt32.self)
            out.baseAddress.map { ($0 + y * size.width).update(from: row, count: size.width) }
        }
        count = size.area
    }
    return RGBImage(size: size, pixels: pixels)
}

/// 0xAARRGGBB pixels, alpha not multiplied in unless `isOpaque`.
func makeCGImage(_ pixels: [UInt32], _ size: Size, isOpaque: Bool) -> CGImage? {
    let data = pixels.withUnsafeBytes { Data($0) }
    guard let provider = CGDataProvider(data: data as CFData), let space = CGColorSpace(name: CGColorSpace.sRGB) else {
        return nil
    }
    let alpha: CGImageAlphaInfo = isOpaque ? .noneSkipFirst : .first
    return CGImage(
        width: size.width, height: size.height, bitsPerComponent: 8, bitsPerPixel: 32, bytesPerRow: 4 * size.width,
        space: space, bitmapInfo: [.byteOrder32Little, CGBitmapInfo(rawValue: alpha.rawValue)], provider: provider,
        decode: nil, shouldInterpolate: false, intent: .defaultIntent)
}

/// A photo, turned as its EXIF says; its longer side is at most 4096 pixels, so that memory suffices.
///
/// - Throws: ``SegmenterError`` if it is no picture.
func readPhoto(_ data: Data) throws -> RGBImage {
    let options: [CFString: Any] = [
        kCGImageSourceCreateThumbnailFromImageAlways: true, kCGImageSourceCreateThumbnailWithTransform: true,
        kCGImageSourceThumbnailMaxPixelSize: 4096,
    ]
    guard let source = CGImageSourceCreateWithData(data as CFData, nil),
        let image = CGImageSourceCreateThumbnailAtIndex(source, 0, options as CFDictionary)
    else { throw SegmenterError("this file is not a picture that iOS reads; choose another") }
    let size = Size(height: image.height, width: image.width)
    var pixels = [UInt32](repeating: 0, count: size.area)
    let isDrawn = pixels.withUnsafeMutableBytes { bytes in
        guard let space = CGColorSpace(name: CGColorSpace.sRGB),
            let context = CGContext(
                data: bytes.baseAddress, width: size.width, height: size.height, bitsPerComponent: 8,
                bytesPerRow: 4 * size.width, space: space,
                bitmapInfo: CGBitmapInfo.byteOrder32Little.rawValue | CGImageAlphaInfo.noneSkipFirst.rawValue)
        else { return false }
        context.draw(image, in: CGRect(x: 0, y: 0, width: size.width, height: size.height))
        return true
    }
    guard isDrawn else { throw SegmenterError("no memory for this picture; choose a smaller one") }
    return RGBImage(size: size, pixels: pixels)
}
