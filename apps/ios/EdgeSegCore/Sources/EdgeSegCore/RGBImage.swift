/// A picture, row by row, packed as 0xFFRRGGBB: in memory the bytes of a camera's 32BGRA pixel buffer.
public struct RGBImage: Equatable, Sendable {
    public let size: Size
    public var pixels: [UInt32]

    public init(size: Size, pixels: [UInt32]) {
        precondition(pixels.count == size.area, "\(pixels.count) pixels are not \(size)")
        self.size = size
        self.pixels = pixels
    }

    /// From (height, width, 3) bytes.
    public init(size: Size, rgb: [UInt8]) {
        precondition(rgb.count == 3 * size.area, "\(rgb.count) bytes are not \(size)")
        let pixels = (0..<size.area).map { packRGB(Int(rgb[3 * $0]), Int(rgb[3 * $0 + 1]), Int(rgb[3 * $0 + 2])) }
        self.init(size: size, pixels: pixels)
    }
}

@inlinable public func packRGB(_ red: Int, _ green: Int, _ blue: Int) -> UInt32 {
    0xFF00_0000 | UInt32(red) << 16 | UInt32(green) << 8 | UInt32(blue)
}

@inlinable public func red(_ pixel: UInt32) -> Int { Int(pixel >> 16 & 0xFF) }
@inlinable public func green(_ pixel: UInt32) -> Int { Int(pixel >> 8 & 0xFF) }
@inlinable public func blue(_ pixel: UInt32) -> Int { Int(pixel & 0xFF) }
