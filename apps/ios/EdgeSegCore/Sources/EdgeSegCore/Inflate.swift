/// What is wrong with a compressed file, in one line.
public struct PackedFileError: Error, CustomStringConvertible {
    public let description: String

    init(_ what: String) { description = "\(what); export the bundle again" }
}

/// Unpacks a raw deflate stream (RFC 1951). Foundation has none that Linux has too, and this one is the same everywhere.
///
/// - Parameter limit: No more bytes than this, whatever the stream says.
func inflate(_ packed: ArraySlice<UInt8>, limit: Int) throws -> [UInt8] {
    var bits = BitReader(packed)
    var out: [UInt8] = []
    var isLast = false
    while !isLast {
        isLast = try bits.take(1) == 1
        switch try bits.take(2) {
        case 0: out += try bits.stored()
        case 1: try unpack(&bits, &out, literals: .fixedLiterals, distances: .fixedDistances, limit)
        case 2:
            let (literals, distances) = try readTables(&bits)
            try unpack(&bits, &out, literals: literals, distances: distances, limit)
        default: throw PackedFileError("a deflate block of an unknown kind")
        }
        if out.count > limit { throw PackedFileError("more than \(limit) bytes of deflate data") }
    }
    return out
}

private func unpack(
    _ bits: inout BitReader, _ out: inout [UInt8], literals: Huffman, distances: Huffman, _ limit: Int
) throws {
    while out.count <= limit {
        let symbol = try literals.next(&bits)
        if symbol < 256 {
            out.append(UInt8(symbol))
        } else if symbol == 256 {
            return
        } else {
            guard symbol < 286 else { throw PackedFileError("a deflate length out of range") }
            let length = lengthBase[symbol - 257] + (try bits.take(lengthExtra[symbol - 257]))
            let far = try distances.next(&bits)
            guard far < 30 else { throw PackedFileError("a deflate distance out of range") }
            let distance = distanceBase[far] + (try bits.take(far < 2 ? 0 : far / 2 - 1))
            guard distance <= out.count else { throw PackedFileError("a deflate distance before the start") }
            for _ in 0..<length { out.append(out[out.count - distance]) }
        }
    }
}

private let lengthExtra = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0]
/// Each length code starts where the one before it ends, but the last, which is 258 alone.
private let lengthBase: [Int] =
    lengthExtra.dropLast(2).reduce(into: [3]) { $0.append($0[$0.count - 1] + 1 << $1) } + [258]
private let distanceBase: [Int] =
    (0..<29).reduce(into: [1]) { $0.append($0[$0.count - 1] + 1 << ($1 < 2 ? 0 : $1 / 2 - 1)) }
private let lengthOrder = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]

private func readTables(_ bits: inout BitReader) throws -> (Huffman, Huffman) {
    let numLiterals = try bits.take(5) + 257
    let numDistances = try bits.take(5) + 1
    var codeLengths = [Int](repeating: 0, count: 19)
    for i in 0..<(try bits.take(4) + 4) { codeLengths[lengthOrder[i]] = try bits.take(3) }
    let codes = Huffman(codeLengths)
    var lengths: [Int] = []
    while lengths.count < numLiterals + numDistances {
        let symbol = try codes.next(&bits)
        switch symbol {
        case 0..<16: lengths.append(symbol)
        case 16:
            guard let last = lengths.last else { throw PackedFileError("a deflate table repeats nothing") }
            lengths += [Int](repeating: last, count: try bits.take(2) + 3)
        case 17: lengths += [Int](repeating: 0, count: try bits.take(3) + 3)
        default: lengths += [Int](repeating: 0, count: try bits.take(7) + 11)
        }
    }
    guard lengths.count == numLiterals + numDistances else { throw PackedFileError("a deflate table too long") }
    return (Huffman(Array(lengths[..<numLiterals])), Huffman(Array(lengths[numLiterals...])))
}

/// Canonical code: `counts` codes of each length, their symbols in order of code.
private struct Huffman {
    static let fixedLiterals = Huffman((0..<288).map { $0 < 144 ? 8 : $0 < 256 ? 9 : $0 < 280 ? 7 : 8 })
    static let fixedDistances = Huffman([Int](repeating: 5, count: 30))
    private var counts = [Int](repeating: 0, count: 16)
    private let symbols: [Int]

    init(_ lengths: [Int]) {
        for length in lengths where length > 0 { counts[length] += 1 }
        symbols = (1..<16).flatMap { length in lengths.indices.filter { lengths[$0] == length } }
    }

    func next(_ bits: inout BitReader) throws -> Int {
        var (code, first, index) = (0, 0, 0)
        for length in 1..<16 {
            code |= try bits.take(1)
            if code - first < counts[length] { return symbols[index + code - first] }
            index += counts[length]
            first = (first + counts[length]) << 1
            code <<= 1
        }
        throw PackedFileError("a deflate code that is in no table")
    }
}

private struct BitReader {
    private let bytes: ArraySlice<UInt8>
    private var at: Int
    private var held = 0
    private var numHeld = 0

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        at = bytes.startIndex
    }

    mutating func take(_ count: Int) throws -> Int {
        while numHeld < count {
            guard at < bytes.endIndex else { throw PackedFileError("deflate data that is cut off") }
            held |= Int(bytes[at]) << numHeld
            at += 1
            numHeld += 8
        }
        defer {
            held >>= count
            numHeld -= count
        }
        return held & (1 << count - 1)
    }

    /// A stored block: from the next byte on.
    mutating func stored() throws -> ArraySlice<UInt8> {
        (held, numHeld) = (0, 0)
        let length = try take(16)
        guard try take(16) == length ^ 0xFFFF, at + length <= bytes.endIndex else {
            throw PackedFileError("a stored deflate block that is cut off")
        }
        defer { at += length }
        return bytes[at..<at + length]
    }
}
