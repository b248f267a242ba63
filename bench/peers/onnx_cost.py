"""Parameters and multiply-accumulates of an ONNX file that others wrote."""

from __future__ import annotations

import math
from pathlib import Path


def onnx_cost(path: Path) -> tuple[int, int]:
    """Numbers in the constants of convolutions and matrix products, and their multiply-accumulates for one image.

    Shapes must be fixed. Other constants, such as YOLO's anchors, are not learnt; biases of zero, such as those of
    random weights, are not in a file whose exporter drops them.
    """
    import onnx

    graph = onnx.shape_inference.infer_shapes(onnx.load(str(path)), data_prop=True).graph
    constants = {constant.name: tuple(constant.dims) for constant in graph.initializer}
    shapes = dict(constants)
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
    products = [node for node in graph.node if node.op_type in ("Conv", "ConvTranspose", "MatMul", "Gemm")]
    weights = {name for node in products for name in node.input} & constants.keys()
    params = sum(math.prod(constants[name]) for name in weights)
    macs = 0
    for node in products:
        if node.op_type == "Conv":  # weight (out, in / groups, kernel...)
            macs += math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
        elif node.op_type == "ConvTranspose":  # weight (in, out / groups, kernel...)
            macs += math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])
        else:
            transposed = any(a.name == "transA" and a.i for a in node.attribute)
            macs += math.prod(shapes[node.output[0]]) * shapes[node.input[0]][0 if transposed else -1]
    return params, macs
