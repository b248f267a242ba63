import XCTest

@testable import EdgeSeg

/// Runs on a phone inside the app (scheme EdgeSegBench). `xcodebuild test` passes TEST_RUNNER_X on as X: EDGESEG_SECONDS and
/// EDGESEG_ROUNDS, both 3. The lines are left in Documents/measurements.jsonl and attached to the result.
///
/// It uses the app's types only: EdgeSegCore is linked into the app, and a second copy here would be other types.
final class BenchmarkTests: XCTestCase {
    func testEveryArtifactPassesItsSelfCheckOnTheCPU() async throws {
        let said = try await checkOwnBundle()
        XCTAssertFalse(said.isEmpty)
        for (file, verdict) in said { XCTAssertTrue(verdict.hasPrefix("PASS"), "\(file): \(verdict)") }
    }

    func testMeasurements() async throws {
        let run = await BenchmarkRun.everything(
            of: try BundleStore.openOwn(), seconds: asked("EDGESEG_SECONDS"), rounds: Int(asked("EDGESEG_ROUNDS")))
        let lines = try await run.lines { print($0) }
        XCTAssertEqual(lines.count, run.choices.count)
        let attachment = XCTAttachment(contentsOfFile: try BenchmarkRun.write(lines))
        attachment.name = "measurements.jsonl"  // bench/transport_ios.py looks for it
        attachment.lifetime = .keepAlways
        add(attachment)
    }

    private func asked(_ name: String) -> Double {
        ProcessInfo.processInfo.environment[name].flatMap(Double.init) ?? 3
    }
}
