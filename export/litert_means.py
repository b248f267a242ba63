"""Means of large maps as LiteRT's delegate takes them."""

from __future__ import annotations

import torch
from torch import fx

_ATEN = torch.ops.aten


def mean_by_rows(module: fx.GraphModule) -> None:
    """Means of tiles' means (`pool_by_mean`) as means of rows' means, in place; the values differ by the order of sums.

    Between grids the converter makes the tiles' pooling an int8 one: its means are rounded to the map's grid, which no
    other runtime does, and XNNPACK does not take it, so that it cuts the graph in two. Along one axis at a time both
    means stay float32 and inside.
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
