import CoreML
import EdgeSegCore

/// Where Core ML may compute. Core ML decides for each operator; what it planned is shown beside what was asked.
enum ComputeUnits: String, CaseIterable, Identifiable {
    case cpu = "CPU"
    case cpuAndGPU = "CPU and GPU"
    case cpuAndNeuralEngine = "CPU and Neural Engine"
    case all = "All"

    var id: String { rawValue }

    var coreML: MLComputeUnits {
        switch self {
        case .cpu: .cpuOnly
        case .cpuAndGPU: .cpuAndGPU
        case .cpuAndNeuralEngine: .cpuAndNeuralEngine
        case .all: .all
        }
    }

    /// Why this device cannot give them, nil if it can.
    var refusal: String? {
        let devices = MLComputeDevice.allComputeDevices
        let hasGPU = devices.contains { if case .gpu = $0 { true } else { false } }
        let hasNeuralEngine = devices.contains { if case .neuralEngine = $0 { true } else { false } }
        switch self {
        case .cpuAndGPU where !hasGPU: return "no GPU for Core ML here"
        case .cpuAndNeuralEngine where !hasNeuralEngine: return "no Neural Engine here"
        default: return nil
        }
    }
}

/// What runs, and where.
struct Choice: Hashable {
    let artifact: Artifact
    let units: ComputeUnits

    var title: String { "\(artifact.runtime) \(artifact.precision) on \(units.rawValue)" }
}
