import EdgeSegCore
import Foundation
import XCTest

/// The cases of apps/spec, which Python wrote.
enum Spec {
    static let folder = URL(
        fileURLWithPath: ProcessInfo.processInfo.environment["EDGESEG_SPEC"]
            ?? URL(fileURLWithPath: #filePath).appendingPathComponent("../../../../../spec").standardizedFileURL.path)

    static func read(_ name: String) throws -> JSON {
        try JSON(parsing: String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8))
    }

    /// Calls `check` on each case inside an activity that says which one.
    static func forEachCase(_ name: String, _ check: (JSON, String) throws -> Void) throws {
        let cases = try read(name)["cases"].rows
        XCTAssertFalse(cases.isEmpty)
        for (index, row) in cases.enumerated() {
            var title = "\(name), case \(index)"
            if case .object(let table) = row, case .text(let said)? = table["name"] { title = "\(name), \(said)" }
            try check(row, title)
        }
    }

    static func bytes(_ array: JSON) throws -> [UInt8] {
        Array(try Data(contentsOf: folder.appendingPathComponent(array["file"].text)))
    }

    static func floats(_ array: JSON) throws -> [Float] {
        let bytes = try bytes(array)
        return stride(from: 0, to: bytes.count, by: 4).map { at in
            Float(bitPattern: (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[at + $1]) << (8 * UInt32($1)) })
        }
    }

    static func image(_ array: JSON) throws -> RGBImage {
        let shape = array["shape"].wholes
        return RGBImage(size: Size(height: shape[0], width: shape[1]), rgb: try bytes(array))
    }
}

/// A case's values; a case that is not as the specification says stops the test.
extension JSON {
    subscript(key: String) -> JSON {
        guard case .object(let table) = self, let value = table[key] else { fatalError("no \(key) in \(self)") }
        return value
    }

    var rows: [JSON] {
        guard case .list(let list) = self else { fatalError("\(self) is no list") }
        return list
    }

    var text: String {
        guard case .text(let text) = self else { fatalError("\(self) is no text") }
        return text
    }

    var number: Double {
        guard case .number(let number) = self else { fatalError("\(self) is no number") }
        return number
    }

    var isTrue: Bool { self == .bool(true) }
    var whole: Int { Int(number) }
    var wholes: [Int] { rows.map(\.whole) }
    var size: Size { Size(height: wholes[0], width: wholes[1]) }
    var color: UInt32 { packRGB(wholes[0], wholes[1], wholes[2]) }
}

/// Equal JSON, numbers up to `tolerance`, keys in any order.
func assertSame(_ wanted: JSON, _ got: JSON, tolerance: Double, _ place: String) {
    switch (wanted, got) {
    case (.object(let left), .object(let right)):
        XCTAssertEqual(left.keys.sorted(), right.keys.sorted(), place)
        for (key, value) in left { assertSame(value, right[key] ?? .null, tolerance: tolerance, "\(place).\(key)") }
    case (.list(let left), .list(let right)):
        XCTAssertEqual(left.count, right.count, place)
        for (i, (a, b)) in zip(left, right).enumerated() { assertSame(a, b, tolerance: tolerance, "\(place)[\(i)]") }
    case (.number(let left), .number(let right)): XCTAssertEqual(left, right, accuracy: tolerance, place)
    default: XCTAssertEqual(wanted, got, place)
    }
}
