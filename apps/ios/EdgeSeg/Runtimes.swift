import EdgeSegCore
import Foundation

/// The runtimes that this build has, by their name in bundle.json.
enum Runtimes {
    static var names: Set<String> {
        #if canImport(ExecuTorch)
            ["coreml", "executorch"]
        #else
            ["coreml"]
        #endif
    }

    /// ExecuTorch's XNNPACK computes on the CPU and nowhere else.
    static func units(for artifact: Artifact) -> [ComputeUnits] {
        artifact.runtime == "coreml" ? ComputeUnits.allCases : [.cpu]
    }

    /// Does what takes long and is needed once, and gives a loader for as many segmenters as wanted.
    ///
    /// - Throws: ``SegmenterError`` in one line for people. Nothing is replaced by another choice.
    static func prepare(_ open: OpenBundle, _ choice: Choice) async throws -> () throws -> any Segmenter {
        if let refusal = choice.units.refusal { throw SegmenterError("\(choice.title): \(refusal); choose other units") }
        guard names.contains(choice.artifact.runtime), units(for: choice.artifact).contains(choice.units) else {
            throw SegmenterError("\(choice.title) is not in this build; choose another model or other units")
        }
        #if canImport(ExecuTorch)
            if choice.artifact.runtime == "executorch" {
                return { try ExecuTorchSegmenter(open, choice.artifact) }
            }
        #endif
        let compiled = try await CompiledModel(open, choice)
        return { try CoreMLSegmenter(open.bundle, choice, compiled) }
    }
}
