import Foundation
import Testing

@testable import EdgeSegCore

/// Torch's answers in apps/spec/tiny.edgeseg, and the files that hold them.
@Suite struct GoldenTests {
    let open: OpenBundle

    init() throws {
        open = try openBundle(Spec.folder.appendingPathComponent("tiny.edgeseg"), runtimes: ["coreml"])
    }

    /// The whole way of an artifact that leaves the merge to the app: torch's logits in, torch's map out.
    @Test(arguments: ["float32", "int8"]) func torchsLogitsMergeToTorchsMap(precision: String) throws {
        let npz = try Data(contentsOf: open.folder.appendingPathComponent("golden/000.\(precision).npz"))
        let arrays = try readNpz(Array(npz))
        guard case .float32(let masks)? = arrays["mask_logits"]?.values,
            case .float32(let classes)? = arrays["class_logits"]?.values
        else { throw PackedFileError("no logits") }
        let answer = try appAnswer(open.bundle, maskLogits: masks, classLogits: classes)
        let golden = try #require(readGoldens(open, precision: precision).first)
        #expect(answer.slotMap == golden.expected.slotMap)
        #expect(answer.slotCategory == golden.expected.slotCategory)
        #expect(agreement(answer, golden.expected) == 1)
    }

    @Test func goldenPicturesAreOfTheNetworksSize() throws {
        let goldens = try readGoldens(open, precision: "int8")
        #expect(goldens.map(\.picture.size) == [open.bundle.inputSize, open.bundle.inputSize])
    }

    /// Expected: `numpy.asarray(PIL.Image.open("golden/000.png"), int).sum((0, 1))` and pixel (40, 7).
    @Test func aPictureIsReadAsPillowReadsIt() throws {
        let pixels = try #require(readGoldens(open, precision: "int8").first).picture.pixels
        #expect([red, green, blue].map { channel in pixels.reduce(0) { $0 + channel($1) } } == [562177, 603313, 518091])
        #expect([red, green, blue].map { $0(pixels[40 * 64 + 7]) } == [57, 112, 75])
    }

    @Test func aMisshapenAnswerIsRefused() {
        #expect(throws: SegmenterError.self) { try appAnswer(open.bundle, maskLogits: [0], classLogits: [0]) }
        let slots = open.bundle.numSlots
        let cells = [UInt8](repeating: 0, count: open.bundle.mapSize.area)
        let scores = [Float](repeating: 0, count: slots)
        for category in [-1, open.bundle.categories.count] {  // a pixel in an empty slot; no such category
            #expect(throws: SegmenterError.self) {
                try graphAnswer(
                    open.bundle, slotMap: cells, slotCategory: [Int](repeating: category, count: slots), slotScore: scores)
            }
        }
    }

    @Test func aLogitThatIsNoNumberIsRefused() {
        let classes = [Float](repeating: .nan, count: open.bundle.numSlots * (open.bundle.categories.count + 1))
        let masks = [Float](repeating: 0, count: open.bundle.numSlots * open.bundle.logitsSize.area)
        #expect(throws: SegmenterError.self) { try appAnswer(open.bundle, maskLogits: masks, classLogits: classes) }
    }

    @Test func everyTruncationOfAGoldenFileIsAnError() throws {
        let npz = Array(try Data(contentsOf: open.folder.appendingPathComponent("golden/001.int8.npz")))
        for length in 0..<npz.count { #expect(throws: PackedFileError.self) { try readNpz(Array(npz[..<length])) } }
    }

    @Test func aDamagedGoldenFileIsAnErrorOrAnArrayButNeverACrash() throws {
        let npz = Array(try Data(contentsOf: open.folder.appendingPathComponent("golden/001.int8.npz")))
        var random = SplitMix64(seed: 1)
        var numErrors = 0
        for _ in 0..<2000 {
            var damaged = npz
            damaged[Int.random(in: 0..<npz.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            do { _ = try readNpz(damaged) } catch is PackedFileError { numErrors += 1 }
        }
        #expect(numErrors > 500)
    }

    @Test(arguments: [
        ("float32", 0.999, true), ("float32", 0.9989, false), ("int8", 0.99, true), ("ternary", 0.9899, false),
    ]) func floatNeeds999Of1000PixelsAnyOtherPrecision990(precision: String, share: Double, isPass: Bool) {
        let artifact = Artifact(
            file: "f", runtime: "coreml", precision: precision, merge: .app, input: "pixels", bytes: 0, sha256: "")
        #expect(SelfCheck(artifact: artifact, pixelsEqual: [share]).isPass == isPass)
        #expect(!SelfCheck(artifact: artifact, pixelsEqual: []).isPass)
    }

    @Test(arguments: [("int8", true), ("float32", false)])
    func oneTippedPictureFailsFloatOnly(precision: String, isPass: Bool) {
        let artifact = Artifact(
            file: "f", runtime: "coreml", precision: precision, merge: .app, input: "pixels", bytes: 0, sha256: "")
        let shares = [0.75] + [Double](repeating: 0.995, count: 7)
        #expect(SelfCheck(artifact: artifact, pixelsEqual: shares).isPass == isPass)
    }

    /// FIPS 180-2, appendices B.1 to B.3.
    @Test(arguments: [
        ("abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        ),
        ("a", 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ]) func sha256IsTheStandards(text: String, times: Int, digest: String) {
        var hash = PortableSHA256()
        hash.update(Array(String(repeating: text, count: times).utf8))
        #expect(hash.finish() == digest)
    }
}
