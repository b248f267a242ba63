"""Matrix products as LiteRT's delegate takes them."""

from __future__ import annotations

import torch
from torch import fx

_ATEN = torch.ops.aten


def in_two_batches(module: fx.GraphModule) -> None:
    """Products of two computed matrices as a batch of two halves, in place; the values differ by the order of sums.

    LiteRT's converter turns a batch of one whose right side is transposed into a FULLY_CONNECTED with computed weights.
    XNNPACK takes that behind a flag only, which few callers set: outside the delegate it is several times slower, and
    cuts the graph in two.
    """
    for node in module.graph.find_nodes(op="call_function", target=_ATEN.bmm.default):
        left, right = node.args
        batch, rows, inner = left.meta["val"].shape
        columns = right.meta["val"].shape[2]
        if batch != 1 or max(rows, inner, columns) % 2:
            continue
        with module.graph.inserting_before(node):
            call = _Caller(module.graph)
            if inner == max(rows, inner, columns):
                product = _sum_of_halves(call, left, right, (rows, inner, columns))
            elif rows >= columns:
                product = _stacked_halves(call, left, right, (rows, inner, columns))
            else:
                sides = call(_ATEN.transpose.int, right, 1, 2), call(_ATEN.transpose.int, left, 1, 2)
                product = call(_ATEN.transpose.int, _stacked_halves(call, *sides, (columns, inner, rows)), 1, 2)
        product.meta = dict(node.meta)
        node.replace_all_uses_with(product)
        module.graph.erase_node(node)
    module.recompile()


class _Caller:
    def __init__(self, graph: fx.Graph) -> None:
        self._graph = graph

    def __call__(self, target: torch._ops.OpOverload, *arguments: fx.node.Argument) -> fx.Node:
        return self._graph.call_function(target, arguments)


def _stacked_halves(call: _Caller, left: fx.Node, right: fx.Node, sizes: tuple[int, int, int]) -> fx.Node:
    """(1, M, K) x (1, K, N): half the rows each, with the same right side."""
    rows, inner, columns = sizes
    halves = call(_ATEN.reshape.default, left, [2, rows // 2, inner])
    both = call(_ATEN.cat.default, [right, right])
    return call(_ATEN.reshape.default, call(_ATEN.bmm.default, halves, both), [1, rows, columns])


def _sum_of_halves(call: _Caller, left: fx.Node, right: fx.Node, sizes: tuple[int, int, int]) -> fx.Node:
    """(1, M, K) x (1, K, N): half the inner size each, then summed."""
    rows, inner, columns = sizes
    lefts = call(_ATEN.transpose.int, call(_ATEN.reshape.default, left, [rows, 2, inner // 2]), 0, 1)
    rights = call(_ATEN.reshape.default, right, [2, inner // 2, columns])
    return call(_ATEN.sum.dim_IntList, call(_ATEN.bmm.default, lefts, rights), [0], True)
