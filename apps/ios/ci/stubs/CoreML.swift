// Signatures of Core ML (iOS 18 SDK) that the app uses, after Apple's documentation as of 2026; never linked, never run.
@_exported import Foundation

public enum MLComputeUnits { case cpuOnly, cpuAndGPU, cpuAndNeuralEngine, all }
public class MLCPUComputeDevice {}
public class MLGPUComputeDevice {}
public class MLNeuralEngineComputeDevice {}

public enum MLComputeDevice {
    case cpu(MLCPUComputeDevice)
    case gpu(MLGPUComputeDevice)
    case neuralEngine(MLNeuralEngineComputeDevice)
    public static var allComputeDevices: [MLComputeDevice] { fatalError() }
}

public class MLModelConfiguration {
    public var computeUnits = MLComputeUnits.all
    public init() {}
}

public enum MLModelStructure {
    public struct Program {
        public class Operation {}
        public class Block { public var operations: [Operation] { fatalError() } }
        public class Function { public var block: Block { fatalError() } }
        public var functions: [String: Function] { fatalError() }
    }
    case program(Program)
    case unsupported
}

public class MLComputePlan {
    public struct DeviceUsage { public var preferred: MLComputeDevice }
    public var modelStructure: MLModelStructure { fatalError() }
    public static func load(contentsOf url: URL, configuration: MLModelConfiguration) async throws -> MLComputePlan {
        fatalError()
    }
    public func deviceUsage(for operation: MLModelStructure.Program.Operation) -> DeviceUsage? { fatalError() }
}

public class CVBuffer { public init() {} }
public typealias CVPixelBuffer = CVBuffer
public class MLMultiArray {}

public class MLFeatureValue {
    public var multiArrayValue: MLMultiArray? { fatalError() }
    public init(pixelBuffer: CVPixelBuffer) {}
}

public protocol MLFeatureProvider {
    func featureValue(for name: String) -> MLFeatureValue?
}

public class MLDictionaryFeatureProvider: MLFeatureProvider {
    public init(dictionary: [String: Any]) throws {}
    public func featureValue(for name: String) -> MLFeatureValue? { fatalError() }
}

public protocol MLShapedArrayScalar {}
extension Float: MLShapedArrayScalar {}
extension Int32: MLShapedArrayScalar {}

public struct MLShapedArray<Scalar: MLShapedArrayScalar> {
    public var scalars: [Scalar] { fatalError() }
    public init(converting array: MLMultiArray) {}
}

public class MLModel {
    public init(contentsOf url: URL, configuration: MLModelConfiguration) throws {}
    public static func compileModel(at url: URL) async throws -> URL { fatalError() }
    public func prediction(from input: any MLFeatureProvider) throws -> any MLFeatureProvider { fatalError() }
}
