import CoreML
import EdgeSegCore
import Foundation

/// An .mlpackage compiled on this device, and where Core ML plans to run its operators.
struct CompiledModel {
    let url: URL
    /// Such as "planned: 120 operators on the Neural Engine, 4 on the CPU".
    let plan: String

    /// - Throws: ``SegmenterError``.
    init(_ open: OpenBundle, _ choice: Choice) async throws {
        do {
            url = try await Self.compile(open.url(of: choice.artifact), sha256: choice.artifact.sha256)
            plan = try await Self.plan(url, choice.units)
        } catch {
            throw SegmenterError("Core ML cannot load \(choice.title): \(error.localizedDescription); choose another model")
        }
    }

    /// Once per file and version of the system; kept in the caches, which the system may empty.
    private static func compile(_ package: URL, sha256: String) async throws -> URL {
        let caches = try FileManager.default.url(for: .cachesDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
        let system = ProcessInfo.processInfo.operatingSystemVersionString.filter { $0.isLetter || $0.isNumber }
        let kept = caches.appendingPathComponent("\(sha256)-\(system).mlmodelc")
        if FileManager.default.fileExists(atPath: kept.path) { return kept }
        let compiled = try await MLModel.compileModel(at: package)
        try FileManager.default.moveItem(at: compiled, to: kept)
        return kept
    }

    private static func plan(_ url: URL, _ units: ComputeUnits) async throws -> String {
        let configuration = MLModelConfiguration()
        configuration.computeUnits = units.coreML
        let plan = try await MLComputePlan.load(contentsOf: url, configuration: configuration)
        guard case .program(let program) = plan.modelStructure, let main = program.functions["main"] else {
            return "plan unknown"
        }
        var counts: [String: Int] = [:]
        for operation in main.block.operations {
            guard let device = plan.deviceUsage(for: operation)?.preferred else { continue }  // constants have none
            counts[name(device), default: 0] += 1
        }
        let sorted = counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        return "planned: " + sorted.map { "\($0.value) operators on \($0.key)" }.joined(separator: ", ")
    }

    private static func name(_ device: MLComputeDevice) -> String {
        switch device {
        case .cpu: "CPU"
        case .gpu: "GPU"
        case .neuralEngine: "Neural Engine"
        @unknown default: "an unknown unit"
        }
    }
}
