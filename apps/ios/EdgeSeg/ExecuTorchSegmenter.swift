#if canImport(ExecuTorch)
    import EdgeSegCore
    import ExecuTorch
    import Foundation

    /// An artifact for ExecuTorch with XNNPACK, which computes on the CPU. Add the package as apps/ios/README.md says.
    final class ExecuTorchSegmenter: Segmenter {
        let runtimeVersion = "ExecuTorch (XNNPACK, CPU)"
        private let bundle: ModelBundle
        private let artifact: Artifact
        private let module: Module

        /// - Throws: ``SegmenterError``.
        init(_ open: OpenBundle, _ artifact: Artifact) throws {
            bundle = open.bundle
            self.artifact = artifact
            module = Module(filePath: open.url(of: artifact).path)
            do {
                try module.load("forward")
            } catch {
                throw SegmenterError("ExecuTorch cannot load \(artifact.file): \(error.localizedDescription)")
            }
        }

        func run(_ input: [UInt8]) throws -> Merged {
            let size = bundle.inputSize
            let outputs: [Value]
            do {
                outputs = try module.forward(Tensor<UInt8>(input, shape: [1, size.height, size.width, 3]))
            } catch {
                throw SegmenterError("\(artifact.file) does not run: \(error.localizedDescription); choose another model")
            }
            switch artifact.merge {
            case .app: return try appAnswer(bundle, maskLogits: scalars(outputs, 0), classLogits: scalars(outputs, 1))
            case .graph:
                let categories: [Int32] = try scalars(outputs, 1)
                return try graphAnswer(
                    bundle, slotMap: scalars(outputs, 0), slotCategory: categories.map(Int.init),
                    slotScore: scalars(outputs, 2))
            }
        }

        /// ExecuTorch keeps the order of the outputs, not their names.
        private func scalars<T: Scalar>(_ outputs: [Value], _ index: Int) throws -> [T] {
            guard index < outputs.count, let tensor: Tensor<T> = outputs[index].tensor() else {
                throw SegmenterError("\(artifact.file) has no output \(index) of \(T.self); export the bundle again")
            }
            return tensor.scalars()
        }
    }
#endif
