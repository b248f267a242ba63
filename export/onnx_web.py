"""What ONNX Runtime Web would leave of an .onnx, by its public kernel lists; nothing runs here.

- `wasm` is the CPU provider compiled for the browser: what this machine's CPU provider runs, it runs.
- `webgpu` is the WebGPU provider (onnxruntime/core/providers/webgpu/webgpu_execution_provider.cc at 003f772); what it
  has no kernel for goes back to wasm, and each way across is a copy. Its shaders know float32, float16, int32, uint32
  and bool: a cast from or to bytes is left, too.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

SOURCE = "microsoft/onnxruntime onnxruntime/core/providers/webgpu/webgpu_execution_provider.cc at 003f772"

_NAMES = (
    "Abs Acos Acosh Add ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Clip Concat Conv "
    "ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Einsum Elu Equal Erf Exp Expand Flatten Floor "
    "Gather GatherElements Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual HardSigmoid If "
    "InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual Log MatMul MaxPool Mul Neg Not Pad Pow Range "
    "Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
    "ReduceSumSquare Relu Reshape Resize Shape Sigmoid Sin Sinh Slice Softmax Split Sqrt Squeeze Sub Tan Tanh "
    "ThresholdedRelu Tile Transpose Unsqueeze Where"
)
_KERNELS = frozenset(_NAMES.split())
_BY_FUNCTION = frozenset({"HardSwish"})
"""Without a kernel, but ONNX defines them by operators that have one, which the runtime then puts in their place."""
_BYTES = (2, 3)  # TensorProto.UINT8, INT8


def left_by_webgpu(path: Path) -> dict[str, int]:
    """How many operators of an .onnx the WebGPU provider leaves, by `Name: reason`; needs the package onnx."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(onnx.load(str(path))).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)}
    left: Counter[str] = Counter()
    for node in graph.node:
        if node.op_type not in _KERNELS | _BY_FUNCTION:
            left[f"{node.op_type}: no kernel"] += 1
        elif node.op_type == "Cast" and any(types.get(name) in _BYTES for name in (*node.input, *node.output)):
            left["Cast: of bytes"] += 1
    return dict(left)
