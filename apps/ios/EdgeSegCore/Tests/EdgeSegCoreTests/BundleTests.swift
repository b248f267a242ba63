import EdgeSegCore
import Foundation
import Testing

/// On a copy of apps/spec/tiny.edgeseg, which `edgeseg export` wrote.
@Suite struct BundleTests {
    let folder: URL

    init() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID()).edgeseg")
        try FileManager.default.copyItem(at: Spec.folder.appendingPathComponent("tiny.edgeseg"), to: folder)
    }

    @Test func aBundleOpensWithTheArtifactsOfTheRuntimesAtHand() throws {
        let open = try openBundle(folder, runtimes: ["coreml"])
        #expect(open.bundle.artifacts.map(\.file) == ["tiny-64x64.float32.mlpackage", "tiny-64x64.int8.mlpackage"])
        #expect(open.bundle.mapSize == Size(height: 64, width: 64))
    }

    @Test func aChangedFileInsideAPackageIsNamed() throws {
        let weights = folder.appendingPathComponent("tiny-64x64.int8.mlpackage/Data/com.apple.CoreML/weights/weight.bin")
        var bytes = try Data(contentsOf: weights)
        bytes[1000] ^= 1
        try bytes.write(to: weights)
        let error = try #require(refusal())
        #expect(error.kind == .changed)
        #expect(error.description.contains("tiny-64x64.int8.mlpackage"))
    }

    @Test func aTruncatedDescriptionIsRefused() throws {
        let file = folder.appendingPathComponent("bundle.json")
        try Data(try Data(contentsOf: file).prefix(2000)).write(to: file)
        #expect(refusal()?.kind == .notJSON)
    }

    @Test func aMissingGoldenFileIsNamed() throws {
        try FileManager.default.removeItem(at: folder.appendingPathComponent("golden/001.png"))
        #expect(refusal()?.description.hasPrefix("golden/001.png is missing") == true)
    }

    @Test func filesThatTheAppNeverReadsMayBeLeftOut() throws {
        for name in ["weights.safetensors", "tiny-64x64.int8.onnx"] {
            try FileManager.default.removeItem(at: folder.appendingPathComponent(name))
        }
        #expect(try openBundle(folder, runtimes: ["coreml"]).bundle.artifacts.count == 2)
    }

    @Test func aBundleWithoutAnArtifactForThisAppSaysWhatItHolds() throws {
        let error = try #require(refusal(runtime: "tensorrt"))
        #expect(error.kind == .missing && error.description.contains("tiny-64x64.int8.mlpackage"))
    }

    @Test func aLinkThatLeavesTheBundleIsRefused() throws {
        let file = folder.appendingPathComponent("verify.json")
        try FileManager.default.removeItem(at: file)
        try FileManager.default.createSymbolicLink(at: file, withDestinationURL: Spec.folder.appendingPathComponent("README.md"))
        #expect(refusal()?.kind == .outside)
    }

    @Test func aFolderWithoutADescriptionIsRefused() throws {
        try FileManager.default.removeItem(at: folder.appendingPathComponent("bundle.json"))
        #expect(refusal()?.kind == .missing)
    }

    private func refusal(runtime: String = "coreml") -> BundleError? {
        do {
            _ = try openBundle(folder, runtimes: [runtime])
            return nil
        } catch {
            return error as? BundleError
        }
    }
}
