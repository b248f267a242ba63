"""Maxima along an axis as ExecuTorch's delegate takes them fast, or at all."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

_ATEN = torch.ops.aten


def maxima_of_halves(module: fx.GraphModule) -> None:
    """Poolings of one channel's columns, and maxima along one kept axis, as a tree of `maximum`, in place.

    The values are the same. XNNPACK pools over channels, of which a map of slots has one: the pooling by which pixels
    are assigned to slots took a twentieth of a call of the default network in int8 (docs/coverage.md). A maximum it
    does not take at all.
    """
    graph = module.graph
    for node in (
        *graph.find_nodes(op="call_function", target=_ATEN.max_pool2d.default),
        *graph.find_nodes(op="call_function", target=_ATEN.amax.default),
    ):
        axis = _axis(node)
        if axis is None:
            continue
        largest = node.args[0]
        left = largest.meta["val"].shape[axis]
        with graph.inserting_before(node):
            while left > 1:
                half = (left + 1) // 2  # halves of an odd number overlap
                sides = (
                    graph.call_function(_ATEN.slice.Tensor, (largest, axis, first, first + half))
                    for first in (0, left - half)
                )
                largest, left = graph.call_function(_ATEN.maximum.default, tuple(sides)), half
        largest.meta = dict(node.meta)
        node.replace_all_uses_with(largest)
        graph.erase_node(node)
    module.recompile()


def _axis(node: Any) -> int | None:
    """The axis of more than one entry that a node leaves the maximum of; None where it does something else."""
    image, window, *rest = node.args
    shape = image.meta["val"].shape
    if node.target is _ATEN.amax.default:
        (axis, *others), keeps = window, rest == [True]
        return int(axis) % len(shape) if keeps and not others and shape[axis] > 1 else None
    is_whole = shape[1] == 1 and window == [shape[2], 1] and rest == [window]
    return 2 if is_whole and shape[2] > 1 else None
