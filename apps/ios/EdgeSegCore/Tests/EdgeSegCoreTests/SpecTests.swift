import EdgeSegCore
import Foundation
import XCTest

/// Swift's answers are Python's, on every case of apps/spec and with the equality that its README asks for.
final class SpecTests: XCTestCase {
    func testMergeGivesPythonsMapsAndCategories() throws {
        try Spec.forEachCase("merge.json") { row, title in
            let rule = row["merge"]
            let shape = row["mask_logits"]["shape"].wholes
            let merged = mergeSlots(
                classLogits: try Spec.floats(row["class_logits"]), maskLogits: try Spec.floats(row["mask_logits"]),
                logitsSize: Size(height: shape[1], width: shape[2]),
                rule: MergeRule(
                    thingThreshold: Float(rule["thing_threshold"].number), stuffThreshold: Float(rule["stuff_threshold"].number),
                    minArea: rule["min_area"].whole, upsample: rule["upsample"].whole),
                isThing: row["is_thing"].rows.map(\.isTrue))
            XCTAssertEqual(try Spec.bytes(row["slot_map"]), merged.slotMap, title)
            XCTAssertEqual(row["slot_category"].wholes, merged.slotCategory, title)
            XCTAssertEqual(row["slot_score"].rows.count, merged.slotScore.count, title)
            for (wanted, score) in zip(row["slot_score"].rows, merged.slotScore) {
                XCTAssertEqual(wanted.number, Double(score), accuracy: 1e-5, title)
            }
        }
    }

    func testLetterboxGivesPythonsBytes() throws {
        try Spec.forEachCase("letterbox.json") { row, title in
            let letterbox = Letterbox(photo: row["photo_size"].size, network: row["network_size"].size)
            XCTAssertEqual(row["fitted"].size, letterbox.fitted, title)
            XCTAssertEqual(try Spec.bytes(row["letterboxed"]), letterbox.apply(try Spec.image(row["image"])), title)
        }
    }

    func testTheWayBackReadsPythonsRowsAndColumns() throws {
        try Spec.forEachCase("unletterbox.json") { row, title in
            let placement = Placement(
                photo: row["photo_size"].size, network: row["network_size"].size, upsample: row["upsample"].whole)
            XCTAssertEqual(row["fitted"].size, placement.fitted, title)
            XCTAssertEqual(row["rows"].wholes, placement.rows, title)
            XCTAssertEqual(row["columns"].wholes, placement.columns, title)
        }
    }

    func testShadesArePythons() throws {
        for row in try Spec.read("palette.json")["rows"].rows {
            let shades = row["shades"].rows.map(\.color)
            XCTAssertEqual(shades, shades.indices.map { shade(row["color"].color, rank: $0) })
        }
    }

    func testOverlayIsPythons() throws {
        try Spec.forEachCase("overlay.json") { row, title in
            let pixels = paintOverlay(try panoptic(row), opacity: row["opacity"].number, outlines: row["outlines"].isTrue)
            let rgba = pixels.flatMap { [UInt8(red($0)), UInt8(green($0)), UInt8(blue($0)), UInt8($0 >> 24)] }
            XCTAssertEqual(try Spec.bytes(row["rgba"]), rgba, title)
        }
    }

    func testSegmentsLegendAndTapsArePythons() throws {
        try Spec.forEachCase("overlay.json") { row, title in
            let panoptic = try panoptic(row)
            XCTAssertEqual(row["segments"].rows.map { $0["id"].whole }, panoptic.segments.map(\.id), title)
            for (wanted, segment) in zip(row["segments"].rows, panoptic.segments) {
                XCTAssertEqual(wanted["category_id"].whole, segment.category.id, title)
                XCTAssertEqual(wanted["area"].whole, segment.area, title)
                XCTAssertEqual(wanted["bbox"].wholes, segment.bbox, title)
                XCTAssertEqual(wanted["share"].number, segment.share, accuracy: 1e-9, title)
                XCTAssertEqual(wanted["score"].number, Double(segment.score), accuracy: 1e-6, title)
            }
            XCTAssertEqual(row["legend"].wholes, panoptic.legend.map(\.id), title)
            XCTAssertEqual(row["void_share"].number, panoptic.voidShare, accuracy: 1e-9, title)
            for tap in row["taps"].rows {
                let found = panoptic.segment(x: tap["x"].whole, y: tap["y"].whole)
                XCTAssertEqual(tap["segment_id"].whole, found?.id ?? 0, title)
            }
        }
    }

    /// The PNG is left in $EDGESEG_OUT for a reader that is not ours (tests/apps/test_ios.py).
    func testCocoPanopticAndItsPNGArePythons() throws {
        try Spec.forEachCase("overlay.json") { row, title in
            let panoptic = try panoptic(row)
            assertSame(row["panoptic"], cocoPanoptic(panoptic, name: "photo"), tolerance: 1e-6, title)
            let pixels = panoptic.idPixels()
            XCTAssertEqual(try Spec.image(row["panoptic_png"]), pixels, title)
            XCTAssertEqual(pixels, try readPNG(writePNG(pixels)), title)
            if let out = ProcessInfo.processInfo.environment["EDGESEG_OUT"] {
                try Data(writePNG(pixels)).write(to: URL(fileURLWithPath: "\(out)/panoptic.\(row["name"].text).png"))
            }
        }
    }

    func testTheSelfCheckCountsThePixelsThatPythonCounts() throws {
        func merged(_ map: JSON, _ categories: JSON) -> Merged {
            let rows = map.rows.map(\.wholes)
            return Merged(
                mapSize: Size(height: rows.count, width: rows[0].count), slotMap: rows.flatMap { $0 }.map { UInt8($0) },
                slotCategory: categories.wholes, slotScore: categories.wholes.map { _ in 0 })
        }
        try Spec.forEachCase("selfcheck.json") { row, title in
            let found = agreement(
                merged(row["slot_map"], row["slot_category"]), merged(row["wanted_slot_map"], row["wanted_slot_category"]))
            XCTAssertEqual(row["pixels_equal"].number, found, accuracy: 1e-9, title)
        }
    }

    func testPercentilesArePythons() throws {
        try Spec.forEachCase("latency.json") { row, title in
            let latency = try XCTUnwrap(Latency(row["samples_ms"].rows.map(\.number)))
            let got = [latency.p50Ms, latency.p90Ms, latency.p99Ms, latency.minMs, latency.meanMs]
            for (key, value) in zip(["p50_ms", "p90_ms", "p99_ms", "min_ms", "mean_ms"], got) {
                XCTAssertEqual(row[key].number, value, accuracy: 1e-9 * abs(value), "\(title), \(key)")
            }
        }
    }

    func testADescriptionIsReadOrRefusedAsPythonDoes() throws {
        try Spec.forEachCase("descriptions.json") { row, title in
            guard case .text(let kind) = row["error"] else {
                XCTAssertNoThrow(try parseBundle(row["text"].text), title)
                return
            }
            XCTAssertThrowsError(try parseBundle(row["text"].text), title) { error in
                XCTAssertEqual(kind, (error as? BundleError)?.kind.rawValue, title)
                XCTAssertFalse("\(error)".contains("\n"), title)
            }
        }
    }

    func testAMeasurementIsWrittenAsPythonWritesIt() throws {
        let line = try Spec.read("measurement.json")["line"]
        let samples = line["samples_ms"].rows.map(\.number)
        let sizes = line["round_sizes"].wholes
        let loads = line["load_ms"].rows.map(\.number)
        let rounds = [
            BenchRound(
                loadMs: loads[0], warmupRuns: line["warmup_runs"].whole, isSettled: true,
                samplesMs: Array(samples.prefix(sizes[0])),
                rssDeltaMib: 0),
            BenchRound(
                loadMs: loads[1], warmupRuns: 0, isSettled: true, samplesMs: Array(samples.suffix(sizes[1])), rssDeltaMib: 0),
        ]
        let device = line["device"]
        let context = MeasurementContext(
            bundle: line["bundle"].text,
            device: Device(
                name: device["name"].text, cores: device["cores"].whole, os: device["os"].text, machine: device["machine"].text,
                memoryMib: device["memory_mib"].whole), isEmulated: false, timeUTC: line["time_utc"].text)
        let artifact = Artifact(
            file: line["artifact"].text, runtime: line["runtime"].text, precision: line["precision"].text, merge: .graph,
            input: "",
            bytes: 0, sha256: line["sha256"].text)
        let written = measurement(
            of: artifact, runtimeVersion: line["runtime_version"].text, threads: line["threads"].whole, rounds: rounds,
            in: context,
            peakMib: 0)
        assertSame(line, try JSON(parsing: written.line), tolerance: 1e-12, "line")
    }

    private func panoptic(_ row: JSON) throws -> Panoptic {
        let merged = Merged(
            mapSize: row["slot_map"]["shape"].size, slotMap: try Spec.bytes(row["slot_map"]),
            slotCategory: row["slot_category"].wholes, slotScore: row["slot_score"].rows.map { Float($0.number) })
        let placement = Placement(
            photo: row["photo_size"].size, network: row["network_size"].size, upsample: row["upsample"].whole)
        let categories = row["panoptic"]["categories"].rows.map {
            PanopticCategory(
                id: $0["id"].whole, name: $0["name"].text, isThing: $0["isthing"].whole == 1, color: $0["color"].color)
        }
        return Panoptic(merged, placement, categories)
    }
}
