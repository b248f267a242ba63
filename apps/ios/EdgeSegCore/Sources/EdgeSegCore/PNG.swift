/// Reads a PNG of 8-bit RGB without interlacing, which is what a bundle's golden pictures are.
///
/// The system's decoder would do, but might convert colours; here a pixel is the file's byte.
///
/// - Throws: ``PackedFileError``.
public func readPNG(_ bytes: [UInt8]) throws -> RGBImage {
    guard bytes.count > 33, bytes[..<8].elementsEqual(signature) else { throw PackedFileError("a picture is not a PNG") }
    let size = Size(height: bigEndian(bytes, 20), width: bigEndian(bytes, 16))
    guard bytes[24...28].elementsEqual([8, 2, 0, 0, 0]), (1...1 << 14).contains(size.height),
        (1...1 << 14).contains(size.width)
    else { throw PackedFileError("a picture is not 8-bit RGB without interlacing") }
    var packed: [UInt8] = []
    var at = 8
    while at + 12 <= bytes.count {
        let end = at + 8 + bigEndian(bytes, at)
        guard end + 4 <= bytes.count else { throw PackedFileError("a picture is cut off") }
        if bytes[at + 4..<at + 8].elementsEqual("IDAT".utf8) { packed += bytes[at + 8..<end] }
        at = end + 4
    }
    let rowBytes = 3 * size.width
    let raw = try inflate(packed.dropFirst(2), limit: size.height * (rowBytes + 1))  // 2 bytes of zlib header
    guard raw.count == size.height * (rowBytes + 1) else { throw PackedFileError("a picture is cut off") }
    return RGBImage(size: size, rgb: try unfilter(raw, rowBytes))
}

/// Writes 8-bit RGB; alpha is dropped. Rows repeat in a map of segments, so their differences pack well.
public func writePNG(_ image: RGBImage) -> [UInt8] {
    let (height, width) = (image.size.height, image.size.width)
    var raw: [UInt8] = []
    raw.reserveCapacity(height * (3 * width + 1))
    for y in 0..<height {
        raw.append(2)  // filter "up": the difference from the row above
        for x in y * width..<(y + 1) * width {
            let (here, above) = (image.pixels[x], y > 0 ? image.pixels[x - width] : 0)
            for channel in [red, green, blue] { raw.append(UInt8(truncatingIfNeeded: channel(here) - channel(above))) }
        }
    }
    let header = word(width) + word(height) + [8, 2, 0, 0, 0]
    let data = [0x78, 0x01] + deflateRuns(raw) + word(Int(adler32(raw)))
    return signature + chunk("IHDR", header) + chunk("IDAT", data) + chunk("IEND", [])
}

private let signature: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]

private func unfilter(_ raw: [UInt8], _ rowBytes: Int) throws -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(raw.count)
    for start in stride(from: 0, to: raw.count, by: rowBytes + 1) {
        let kind = raw[start]
        guard kind < 5 else { throw PackedFileError("a picture has an unknown filter") }
        for i in 0..<rowBytes {
            let left = i < 3 ? 0 : Int(out[out.count - 3])
            let up = start == 0 ? 0 : Int(out[out.count - rowBytes])
            let corner = i < 3 || start == 0 ? 0 : Int(out[out.count - rowBytes - 3])
            let predicted = [0, left, up, (left + up) / 2, paeth(left, up, corner)][Int(kind)]
            out.append(UInt8(truncatingIfNeeded: Int(raw[start + 1 + i]) + predicted))
        }
    }
    return out
}

private func paeth(_ left: Int, _ up: Int, _ corner: Int) -> Int {
    let (a, b, c) = (abs(up - corner), abs(left - corner), abs(left + up - 2 * corner))
    return a <= b && a <= c ? left : b <= c ? up : corner
}

/// Deflate with the fixed code (RFC 1951, 3.2.6), literals and runs of one byte only.
private func deflateRuns(_ raw: [UInt8]) -> [UInt8] {
    var bits = BitWriter()
    bits.put(0b011, 3)  // last block, fixed code
    var at = 0
    while at < raw.count {
        bits.putLiteral(raw[at])
        var length = 0
        while length < 258, at + 1 + length < raw.count, raw[at + 1 + length] == raw[at] { length += 1 }
        if length == 258 {
            bits.putCode(0b1100_0101, 8)  // 285: length 258
            bits.putCode(0, 5)  // distance 1
            at += 259
        } else if length >= 3 {
            bits.putCode(1, 7)  // 257: length 3
            bits.putCode(0, 5)
            at += 4
        } else {
            at += 1
        }
    }
    bits.putCode(0, 7)  // 256: end
    return bits.finish()
}

private struct BitWriter {
    private var bytes: [UInt8] = []
    private var held: UInt32 = 0
    private var numHeld: UInt32 = 0

    mutating func put(_ value: UInt32, _ count: UInt32) {
        held |= value << numHeld
        numHeld += count
        while numHeld >= 8 {
            bytes.append(UInt8(truncatingIfNeeded: held))
            held >>= 8
            numHeld -= 8
        }
    }

    /// Huffman codes stand with their first bit first.
    mutating func putCode(_ code: UInt32, _ count: UInt32) {
        for bit in stride(from: Int(count) - 1, through: 0, by: -1) { put(code >> UInt32(bit) & 1, 1) }
    }

    mutating func putLiteral(_ byte: UInt8) {
        if byte < 144 { putCode(0x30 + UInt32(byte), 8) } else { putCode(0x190 + UInt32(byte) - 144, 9) }
    }

    mutating func finish() -> [UInt8] {
        if numHeld > 0 { put(0, 8 - numHeld) }
        return bytes
    }
}

private func chunk(_ name: String, _ body: [UInt8]) -> [UInt8] {
    let named = Array(name.utf8) + body
    return word(body.count) + named + word(Int(crc32(named)))
}

private func word(_ value: Int) -> [UInt8] { [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) } }

private func bigEndian(_ bytes: [UInt8], _ at: Int) -> Int { (0..<4).reduce(0) { $0 << 8 | Int(bytes[at + $1]) } }

private let crcTable: [UInt32] = (0..<256).map { byte in
    (0..<8).reduce(UInt32(byte)) { crc, _ in crc & 1 == 1 ? crc >> 1 ^ 0xEDB8_8320 : crc >> 1 }
}

private func crc32(_ bytes: [UInt8]) -> UInt32 {
    ~bytes.reduce(~0) { crc, byte in crcTable[Int((crc ^ UInt32(byte)) & 0xFF)] ^ crc >> 8 }
}

private func adler32(_ bytes: [UInt8]) -> UInt32 {
    var (a, b) = (UInt32(1), UInt32(0))
    for byte in bytes {
        a = (a + UInt32(byte)) % 65521
        b = (b + a) % 65521
    }
    return b << 16 | a
}
