/// One array of an .npz.
public struct NpyArray: Equatable, Sendable {
    public enum Values: Equatable, Sendable {
        case uint8([UInt8])
        case int32([Int])
        case float32([Float])
    }

    public let shape: [Int]
    public let values: Values
}

/// Reads numpy's zip of arrays: format 1.0, little-endian, C order, uint8, int32 or float32.
///
/// Sizes come from the zip's directory: numpy's local headers leave them to zip64 fields.
///
/// - Throws: ``PackedFileError`` naming what is not so.
public func readNpz(_ bytes: [UInt8]) throws -> [String: NpyArray] {
    let file = LittleEndian(bytes)
    guard bytes.count >= 22, let end = (0...bytes.count - 22).last(where: { file.word($0) == 0x0605_4b50 }) else {
        throw PackedFileError("a golden file is not a zip")
    }
    var arrays: [String: NpyArray] = [:]
    var at = Int(file.word(end + 16))
    for _ in 0..<file.half(end + 10) {
        guard at + 46 <= end, file.word(at) == 0x0201_4b50 else { throw PackedFileError("a damaged zip directory") }
        let nameEnd = at + 46 + file.half(at + 28)
        guard nameEnd <= end else { throw PackedFileError("a damaged zip directory") }
        let name = String(decoding: bytes[at + 46..<nameEnd], as: UTF8.self)
        let packed = try content(file, header: Int(file.word(at + 42)), size: Int(file.word(at + 20)), name)
        let size = Int(file.word(at + 24))
        let raw = file.half(at + 10) == 0 ? Array(packed) : try inflate(packed, limit: size)
        guard raw.count == size else { throw PackedFileError("\(name) unpacks to \(raw.count) bytes, not \(size)") }
        arrays[name.hasSuffix(".npy") ? String(name.dropLast(4)) : name] = try readNpy(raw, name)
        at = nameEnd + file.half(at + 30) + file.half(at + 32)
    }
    return arrays
}

private func content(_ file: LittleEndian, header: Int, size: Int, _ name: String) throws -> ArraySlice<UInt8> {
    guard header + 30 <= file.bytes.count else { throw PackedFileError("\(name) lies outside its zip") }
    let start = header + 30 + file.half(header + 26) + file.half(header + 28)
    guard start + size <= file.bytes.count else { throw PackedFileError("\(name) is cut off") }
    return file.bytes[start..<start + size]
}

private func readNpy(_ bytes: [UInt8], _ name: String) throws -> NpyArray {
    guard bytes.count >= 10, bytes[..<6].elementsEqual([0x93] + Array("NUMPY".utf8)), bytes[6] == 1 else {
        throw PackedFileError("\(name) is not an array of numpy format 1")
    }
    let start = 10 + LittleEndian(bytes).half(8)
    guard start <= bytes.count else { throw PackedFileError("\(name) is cut off") }
    let header = String(decoding: bytes[10..<start], as: UTF8.self)
    guard header.contains("'fortran_order': False") else { throw PackedFileError("\(name) is not in C order") }
    guard let dtype = header.firstMatch(of: /'descr': '([^']+)'/)?.1,
        let listed = header.firstMatch(of: /'shape': \(([0-9, ]*)\)/)?.1
    else { throw PackedFileError("\(name) has no dtype or shape") }
    let shape = listed.split(whereSeparator: { ", ".contains($0) }).compactMap { Int($0) }
    let body = bytes[start...]
    let bytesEach = dtype == "|u1" ? 1 : 4
    guard body.count == shape.reduce(bytesEach, { $0.multipliedReportingOverflow(by: $1).partialValue }) else {
        throw PackedFileError("\(name) has \(body.count) bytes for \(shape) of \(dtype)")
    }
    let data = LittleEndian(Array(body))
    let words = stride(from: 0, to: body.count - 3, by: 4)
    switch dtype {
    case "|u1": return NpyArray(shape: shape, values: .uint8(data.bytes))
    case "<i4": return NpyArray(shape: shape, values: .int32(words.map { Int(Int32(bitPattern: data.word($0))) }))
    case "<f4": return NpyArray(shape: shape, values: .float32(words.map { Float(bitPattern: data.word($0)) }))
    default: throw PackedFileError("\(name) has dtype \(dtype)")
    }
}

private struct LittleEndian {
    let bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    func half(_ at: Int) -> Int { Int(bytes[at]) | Int(bytes[at + 1]) << 8 }
    func word(_ at: Int) -> UInt32 { UInt32(half(at)) | UInt32(half(at + 2)) << 16 }
}
