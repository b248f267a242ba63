"""What LiteRT's GPU delegate would leave of a .tflite, by its public rules; nothing runs here.

The rules are those of `CheckGpuDelegateCompatibility` (google-ai-edge/LiteRT, tflite/tools/versioning/
gpu_compatibility.cc at 007226f) with its enhanced broadcast. The analyzer in the `ai_edge_litert` package is built
without them: of every file, one with ARG_MAX included, it says that it "looks compatible with GPU delegate".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = "google-ai-edge/LiteRT tflite/tools/versioning/gpu_compatibility.cc at 007226f"


@dataclass(frozen=True)
class Tensor:
    """An input or output.

    Attributes:
        shape: Of the tensor.
        dtype: TensorType's name, as FLOAT32.
        is_const: Whether its value stands in the file.
    """

    shape: tuple[int, ...]
    dtype: str
    is_const: bool


@dataclass(frozen=True)
class Operation:
    """An operator of the file.

    Attributes:
        name: BuiltinOperator's name, as CONV_2D.
        inputs: Those that are there; optional ones that are not are left out.
        outputs: All.
        options: The file's own record of them, or None.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    options: Any = None

    @property
    def num_runtime(self) -> int:
        """Inputs that are computed."""
        return sum(not tensor.is_const for tensor in self.inputs)


Rule = Callable[[Operation], str]
"""Why the delegate leaves an operator, empty where it takes it."""


def left_by_gpu(path: Path) -> dict[str, int]:
    """How many operators of a .tflite the GPU delegate leaves, by `NAME: reason`; needs the package ai_edge_litert."""
    return dict(Counter(f"{op.name}: {reason}" for op in read_operations(path) if (reason := why_left(op))))


def why_left(operation: Operation) -> str:
    """Why the delegate leaves this operator, in a few words; empty where it takes it."""
    rule = RULES.get(operation.name)
    return rule(operation) if rule else "the delegate has no such operator"


def read_operations(path: Path) -> list[Operation]:
    """The operators of the first graph, in order."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    graph = model.subgraphs[0]
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    types = {number: name for name, number in vars(schema.TensorType).items() if isinstance(number, int)}

    def tensors(indices: Sequence[int]) -> tuple[Tensor, ...]:
        found = [graph.tensors[index] for index in indices if index >= 0]
        return tuple(Tensor(_shape(t), types[t.type], _has_value(model.buffers[t.buffer])) for t in found)

    operations = []
    for op in graph.operators:
        code = model.operatorCodes[op.opcodeIndex]
        name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        operations.append(Operation(name, tensors(op.inputs), tensors(op.outputs), op.builtinOptions))
    return operations


def _shape(tensor: Any) -> tuple[int, ...]:
    return () if tensor.shape is None else tuple(int(side) for side in tensor.shape)


def _has_value(buffer: Any) -> bool:
    return (buffer.data is not None and len(buffer.data) > 0) or bool(getattr(buffer, "size", 0))


def _always(operation: Operation) -> str:
    del operation
    return ""


def _one_computed(operation: Operation) -> str:
    count = operation.num_runtime
    return "" if count == 1 else f"{count} computed inputs instead of 1"


def _one_or_two(operation: Operation) -> str:
    computed = operation.num_runtime
    is_taken = (computed, len(operation.inputs) - computed) in ((2, 0), (1, 1))
    return "" if is_taken else "neither two computed inputs nor one and a constant"


def _cast(operation: Operation) -> str:
    before, after = operation.inputs[0].dtype, operation.outputs[0].dtype
    floats, numbers = {"FLOAT16", "FLOAT32"}, {"FLOAT32", "INT32"}
    is_taken = (
        (before == "BOOL" and after in floats)
        or (before in floats and after == "BOOL")
        or (before in numbers and after in numbers)
    )
    return "" if is_taken else f"{before} to {after}"


def _sum_or_product(operation: Operation) -> str:
    if len(operation.inputs) != 2:
        return f"{len(operation.inputs)} inputs instead of 2"
    first, second = (tensor.shape for tensor in operation.inputs)
    if min(len(first), len(second)) < 2 or len(first) == len(second):
        return ""
    pairs = zip(reversed(first), reversed(second), strict=False)
    return "" if all(a == b or 1 in (a, b) for a, b in pairs) else f"broadcast of {first} and {second}"


def _reduction(operation: Operation) -> str:
    axes = operation.inputs[1]
    return _one_computed(operation) or ("" if axes.is_const and axes.dtype == "INT32" else "axes are no int32 constant")


def _slice(operation: Operation) -> str:
    rank = len(operation.inputs[0].shape)
    return "" if rank in (3, 4) else f"{rank} axes instead of 3 or 4"


def _strided_slice(operation: Operation) -> str:
    options = operation.options
    masks = [name for name in ("ellipsisMask", "newAxisMask", "shrinkAxisMask") if getattr(options, name)]
    return f"has a {masks[0]}" if masks else _slice(operation)


def _pad(operation: Operation) -> str:
    shape = operation.inputs[1].shape
    return _one_computed(operation) or ("" if shape in ((3, 2), (4, 2)) else f"paddings of shape {shape}")


def _convolution(operation: Operation) -> str:
    return "" if operation.num_runtime <= 2 else f"{operation.num_runtime} computed inputs"


def _depthwise(operation: Operation) -> str:
    shapes = [tensor.shape for tensor in (*operation.inputs[:2], *operation.outputs)]
    return _convolution(operation) or ("" if all(len(shape) == 4 for shape in shapes) else "not 4 axes")


def _fully_connected(operation: Operation) -> str:
    ranks = [len(tensor.shape) for tensor in (operation.inputs[0], operation.outputs[0])]
    if operation.num_runtime > 2:
        return f"{operation.num_runtime} computed inputs"
    return "keeps the axes of another rank" if operation.options.keepNumDims and ranks[0] != ranks[1] else ""


def _batch_matmul(operation: Operation) -> str:
    return "" if len(operation.inputs) == 2 else f"{len(operation.inputs)} inputs instead of 2"


def _softmax(operation: Operation) -> str:
    return "" if operation.options.beta == 1 else f"beta = {operation.options.beta}"


def _dequantize(operation: Operation) -> str:
    return "of int16" if operation.inputs[0].dtype == "INT16" else ""


def _rules(names: str, rule: Rule) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


RULES: dict[str, Rule] = {
    **_rules("RELU RELU6 RELU_N1_TO_1 LEAKY_RELU PRELU PACK SPLIT SPLIT_V CONCATENATION", _always),
    **_rules(
        "ABS CEIL COS ELU EXP FLOOR GELU LOG LOGICAL_NOT LOGISTIC NEG ROUND RSQRT SIGN SIN SQRT SQUARE TANH",
        _one_computed,
    ),
    **_rules(
        "HARD_SWISH QUANTIZE RESHAPE TILE TRANSPOSE TOPK_V2 RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR", _one_computed
    ),
    **_rules("AVERAGE_POOL_2D MAX_POOL_2D DEPTH_TO_SPACE SPACE_TO_DEPTH", _one_computed),
    **_rules("DIV EQUAL FLOOR_DIV FLOOR_MOD GREATER GREATER_EQUAL LOGICAL_AND LOGICAL_OR LESS LESS_EQUAL", _one_or_two),
    **_rules("MAXIMUM MINIMUM NOT_EQUAL POW SQUARED_DIFFERENCE SUB", _one_or_two),
    **_rules("MEAN SUM REDUCE_ALL REDUCE_ANY REDUCE_MAX REDUCE_MIN REDUCE_PROD REVERSE_V2", _reduction),
    **_rules("ADD MUL", _sum_or_product),
    **_rules("CONV_2D TRANSPOSE_CONV", _convolution),
    **_rules("PAD PADV2", _pad),
    "BATCH_MATMUL": _batch_matmul,
    "CAST": _cast,
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEQUANTIZE": _dequantize,
    "FULLY_CONNECTED": _fully_connected,
    "SLICE": _slice,
    "SOFTMAX": _softmax,
    "STRIDED_SLICE": _strided_slice,
}
"""By operator. Left out are operators that edgeseg's graphs never hold, as LSTM, GATHER, ONE_HOT and SELECT_V2, some of
which the delegate takes."""
