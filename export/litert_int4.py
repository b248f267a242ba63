"""Weights of 4 bits and fewer in a .tflite as INT4 tensors, two to a byte.

The converter writes integer weights as INT8 whatever their range, and steps do not change with the width: the file
keeps every integer. XNNPACK takes INT4 in fully connected layers only, so 1x1 convolutions become such layers over the
channels, and larger ones keep INT8 (in LiteRT's own kernels they would be slower and round ties otherwise). Not INT2:
LiteRT 2.3 crashes on a convolution with such weights, or returns NaN.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.quantize.packed import pack_bits
from edgeseg.structures import CheckError

_LARGEST = 7  # INT4 is symmetric here as INT8 is: -7..7
_VERSION_OF_INT4 = 12  # of a fully connected layer with a step per channel
_ALIGNMENT = 16  # of buffers, by the schema (force_align)


def store_int4(path: Path) -> None:
    """Rewrites a .tflite in place; needs the package ai_edge_litert.

    Args:
        path: Of a network with integer activations.

    Raises:
        CheckError: None of its weights is that small.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    graph = model.subgraphs[0]
    found = [
        graph.tensors[index] for index in _weights(model, schema) if _is_small(graph.tensors[index], model, schema)
    ]
    if not found:
        raise CheckError(f"{path.name} has no weights of 4 bits or fewer; export it for litert")
    for tensor in found:
        buffer = model.buffers[tensor.buffer]
        buffer.data = pack_bits(np.asarray(buffer.data, np.uint8).view(np.int8), 4)
        tensor.type = schema.TensorType.INT4
    _connect_fully(model, schema)
    graph = model.subgraphs[0]
    for index, tensor in enumerate(graph.tensors):
        if index not in (*graph.inputs, *graph.outputs):
            tensor.name = None  # for people, and longer than many a bias
    path.write_bytes(_serialized(model))


def _connect_fully(model: Any, schema: Any) -> None:
    """Makes 1x1 convolutions with INT4 weights fully connected layers over the channels, in place."""
    graph, full = model.subgraphs[0], schema.BuiltinOperator.FULLY_CONNECTED
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = full, full, _VERSION_OF_INT4
    for operation in graph.operators:
        if not _is_pointwise(model, operation, schema):
            continue
        weight, options = graph.tensors[operation.inputs[1]], operation.builtinOptions
        if weight.type != schema.TensorType.INT4:
            continue
        if code not in model.operatorCodes:
            model.operatorCodes.append(code)
        operation.opcodeIndex = model.operatorCodes.index(code)
        operation.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
        operation.builtinOptions = schema.FullyConnectedOptionsT()
        operation.builtinOptions.keepNumDims = True
        operation.builtinOptions.fusedActivationFunction = options.fusedActivationFunction
        weight.shape = np.array([weight.shape[0], weight.shape[3]], np.int32)
        weight.shapeSignature = None


def stored_types(path: Path) -> dict[str, int]:
    """Entries of the constants in a .tflite by type, such as `int4`; needs the package ai_edge_litert."""
    from ai_edge_litert import schema_py_generated as schema

    names = {number: name.lower() for name, number in vars(schema.TensorType).items() if isinstance(number, int)}
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    counts: Counter[str] = Counter()
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        if data is not None and len(data):
            counts[names[tensor.type]] += math.prod(map(int, () if tensor.shape is None else tensor.shape))
    return dict(counts)


def _weights(model: Any, schema: Any) -> list[int]:
    """Constants that are the weight of fully connected layers and 1x1 convolutions, and nothing else."""
    full = schema.BuiltinOperator.FULLY_CONNECTED
    weights: set[int] = set()
    others: set[int] = set()
    for operation in model.subgraphs[0].operators:
        is_layer = _code(model, operation) == full or _is_pointwise(model, operation, schema)
        for place, index in enumerate(operation.inputs):
            (weights if is_layer and place == 1 else others).add(int(index))
    return sorted(weights - others)


def _code(model: Any, operation: Any) -> int:
    code = model.operatorCodes[operation.opcodeIndex]
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def _is_pointwise(model: Any, operation: Any, schema: Any) -> bool:
    if _code(model, operation) != schema.BuiltinOperator.CONV_2D:
        return False
    kernel, options = model.subgraphs[0].tensors[operation.inputs[1]].shape[1:3], operation.builtinOptions
    return tuple(kernel) == (1, 1) and (options.strideH, options.strideW) == (1, 1)


def _is_small(tensor: Any, model: Any, schema: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    if tensor.type != schema.TensorType.INT8 or data is None or not len(data):
        return False
    values = np.asarray(data, np.uint8).view(np.int8)
    return bool(values.min() >= -_LARGEST and values.max() <= _LARGEST)


def _serialized(model: Any) -> bytes:
    import flatbuffers

    class Builder(flatbuffers.Builder):  # type: ignore[misc]
        """Writes equal vectors once, and aligns bytes as the schema wants buffers; the generated code does neither."""

        def __init__(self) -> None:
            super().__init__(1 << 20)
            self.written: dict[tuple[str, bytes], Any] = {}

        def CreateNumpyVector(self, x: Any) -> Any:  # noqa: N802
            key = (x.dtype.str, x.tobytes())
            if key not in self.written:
                self.written[key] = super().CreateNumpyVector(x)
            return self.written[key]

        def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802
            return super().StartVector(elemSize, numElems, _ALIGNMENT if elemSize == 1 else alignment)

    builder = Builder()
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
