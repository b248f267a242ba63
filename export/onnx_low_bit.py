"""Weights of 4 bits and fewer in an ONNX file as INT4 or INT2, cast back to INT8 at load.

ONNX Runtime folds the cast of a constant when it opens a file, and sees the very graph that it sees of INT8 weights:
the integers, the kernels and the speed are the same. Without the cast it refuses INT2 weights of a convolution, and
computes with INT4 ones in float, at half the speed and with other roundings.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from edgeseg.quantize.packed import pack_bits
from edgeseg.structures import CheckError

if TYPE_CHECKING:
    import onnx

_LEAST_ENTRIES = 64  # a cast takes some bytes, too
_FIRST_OPSETS = {2: (25, 13), 4: (21, 10)}
"""By bits: the opset that has such integers, and the version of the file format that goes with it."""


def store_low_bit(model: onnx.ModelProto) -> None:
    """Changes a model in place; its opset becomes the first that has the types.

    From opset 20 to 25 the operators of the exported graphs took on types, and nothing else.

    Raises:
        CheckError: None of its weights is that small.
    """
    import onnx

    types = {2: onnx.TensorProto.INT2, 4: onnx.TensorProto.INT4}
    weights = {node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    casts = []
    used = set()
    for constant in model.graph.initializer:
        if constant.name not in weights or constant.data_type != onnx.TensorProto.INT8:
            continue
        values = onnx.numpy_helper.to_array(constant)
        bits = _bits(values)
        if bits == 8 or math.prod(constant.dims) < _LEAST_ENTRIES:
            continue
        name, packed = constant.name, pack_bits(values, bits).tobytes()
        constant.CopyFrom(onnx.helper.make_tensor(f"{name}.int{bits}", types[bits], constant.dims, packed, raw=True))
        casts.append(onnx.helper.make_node("Cast", [constant.name], [name], to=onnx.TensorProto.INT8))
        used.add(bits)
    if not casts:
        raise CheckError("the network has no weights of 4 bits or fewer; export it for onnx")
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    opset, model.ir_version = max(_FIRST_OPSETS[bits] for bits in used)
    next(entry for entry in model.opset_import if entry.domain == "").version = opset


def _bits(values: np.ndarray) -> int:
    """2 or 4 where all values fit, symmetrically; else 8."""
    largest = int(np.abs(values.astype(np.int16)).max(initial=0))
    return 2 if largest <= 1 else 4 if largest <= 7 else 8
