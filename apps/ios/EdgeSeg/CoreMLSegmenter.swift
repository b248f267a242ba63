import CoreML
import EdgeSegCore
import Foundation

/// An artifact for Core ML. The input is a pixel buffer, as bundle.json says with `"input": "pixels"`.
final class CoreMLSegmenter: Segmenter {
    let runtimeVersion: String
    private let bundle: ModelBundle
    private let artifact: Artifact
    private let model: MLModel
    private let pixels: CVPixelBuffer

    /// - Throws: ``SegmenterError``.
    init(_ bundle: ModelBundle, _ choice: Choice, _ compiled: CompiledModel) throws {
        self.bundle = bundle
        artifact = choice.artifact
        guard artifact.input == "pixels" else {
            throw SegmenterError("\(artifact.file) takes \(artifact.input), this app gives pixels; update the app")
        }
        let configuration = MLModelConfiguration()
        configuration.computeUnits = choice.units.coreML
        do {
            model = try MLModel(contentsOf: compiled.url, configuration: configuration)
        } catch {
            throw SegmenterError("Core ML cannot load \(choice.title): \(error.localizedDescription); choose other units")
        }
        pixels = try makePixelBuffer(bundle.inputSize)
        let system = ProcessInfo.processInfo.operatingSystemVersion
        let version = "\(system.majorVersion).\(system.minorVersion).\(system.patchVersion)"
        runtimeVersion = "Core ML of iOS \(version) (asked: \(choice.units.rawValue); \(compiled.plan))"
    }

    func run(_ input: [UInt8]) throws -> Merged {
        fill(pixels, with: input, size: bundle.inputSize)
        let answer: any MLFeatureProvider
        do {
            let value = MLFeatureValue(pixelBuffer: pixels)
            answer = try model.prediction(from: MLDictionaryFeatureProvider(dictionary: [bundle.inputName: value]))
        } catch {
            throw SegmenterError("\(artifact.file) does not run: \(error.localizedDescription); choose other units")
        }
        switch artifact.merge {
        case .app:
            return try appAnswer(
                bundle, maskLogits: scalars("mask_logits", answer), classLogits: scalars("class_logits", answer))
        case .graph:
            let map: [Int32] = try scalars("slot_map", answer)
            let categories: [Int32] = try scalars("slot_category", answer)
            guard map.allSatisfy((0...255).contains) else { throw SegmenterError("\(artifact.file) gives no map of bytes") }
            return try graphAnswer(
                bundle, slotMap: map.map(UInt8.init), slotCategory: categories.map(Int.init),
                slotScore: scalars("slot_score", answer))
        }
    }

    /// Row by row, whatever strides and type the engine chose.
    private func scalars<Scalar: MLShapedArrayScalar>(_ name: String, _ answer: any MLFeatureProvider) throws -> [Scalar] {
        guard let array = answer.featureValue(for: name)?.multiArrayValue else {
            throw SegmenterError("\(artifact.file) has no output \(name); export the bundle again")
        }
        return MLShapedArray<Scalar>(converting: array).scalars
    }
}
