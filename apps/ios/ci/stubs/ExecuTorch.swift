// Signatures of ExecuTorch's Swift binding that the app uses, after extension/apple of pytorch/executorch as of 2026.

public protocol Scalar {}
extension UInt8: Scalar {}
extension Int32: Scalar {}
extension Float: Scalar {}

public final class Tensor<T: Scalar>: ValueConvertible {
    public init(_ scalars: [T], shape: [Int]) {}
    public func scalars() -> [T] { fatalError() }
}

public protocol ValueConvertible {}

public final class Value {
    public func tensor<T: Scalar>() -> Tensor<T>? { fatalError() }
}

public final class Module {
    public init(filePath: String) {}
    public func load(_ method: String) throws {}
    public func forward(_ input: any ValueConvertible) throws -> [Value] { fatalError() }
}
