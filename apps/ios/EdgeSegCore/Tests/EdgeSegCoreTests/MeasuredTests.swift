import EdgeSegCore
import XCTest

/// Has XCTest print a measured line, for tests/apps/test_ios.py to read as `edgeseg bench import` does.
final class MeasuredTests: XCTestCase {
    func testPercentilesOfManySamples() {
        let samples = (0..<20_000).map { Double($0 * 7919 % 10_007) }
        measure { XCTAssertNotNil(Latency(samples)) }
    }
}
