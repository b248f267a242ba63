"""Means of integer maps as LiteRT's delegate takes them, and as torch computes them.

Between grids the converter makes a pooling an int8 one: its means are rounded to the map's grid, which no other runtime
does, and XNNPACK does not take it, so that it cuts the graph in two.
"""

from __future__ import annotations

import math

import torch
import torch.ao.quantization.fx._decomposed  # registers torch.ops.quantized_decomposed
from torch import fx

_ATEN = torch.ops.aten
_DEQUANTIZE = torch.ops.quantized_decomposed.dequantize_per_tensor.default


def mean_by_rows(module: fx.GraphModule) -> None:
    """Means of tiles' means (`pool_by_mean`) as means of rows' means, in place; the values differ by the order of sums.

    Along one axis at a time both means stay float32 and inside.
    """
    for node in module.graph.find_nodes(op="call_function", target=_ATEN.mean.dim):
        tiled, *rest = node.args
        if not isinstance(tiled, fx.Node) or tiled.target is not _ATEN.avg_pool2d.default or rest != [[2, 3], True]:
            continue
        with module.graph.inserting_before(node):
            rows = module.graph.call_function(_ATEN.mean.dim, (tiled.args[0], [3], True))
            mean = module.graph.call_function(_ATEN.mean.dim, (rows, [2], True))
        mean.meta = dict(node.meta)
        node.replace_all_uses_with(mean)
        module.graph.erase_node(node)
        module.graph.erase_node(tiled)
    module.recompile()


def pool_by_convolution(module: fx.GraphModule) -> None:
    """Poolings over tiles of integer maps as depthwise convolutions with one weight, in place: float32, and inside."""
    for node in module.graph.find_nodes(op="call_function", target=_ATEN.avg_pool2d.default):
        image, tile, *rest = node.args
        if rest != [tile] or image.target is not _DEQUANTIZE:
            continue
        channels = image.meta["val"].shape[1]
        with module.graph.inserting_before(node):
            weight = module.graph.call_function(_ATEN.full.default, ([channels, 1, *tile], 1.0 / math.prod(tile)))
            mean = module.graph.call_function(
                _ATEN.conv2d.default, (image, weight, None, tile, [0, 0], [1, 1], channels)
            )
        mean.meta = dict(node.meta)
        node.replace_all_uses_with(mean)
        module.graph.erase_node(node)
    module.recompile()
