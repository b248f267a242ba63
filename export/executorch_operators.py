"""Operators that ExecuTorch's delegate leaves outside, or runs slowly, spelt as it takes them."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

_ATEN = torch.ops.aten


def respell(program: ExportedProgram) -> None:
    """Lookups, splits, maxima and sums as the delegate takes them, in place; sums alone round otherwise."""
    _look_up_once(program)
    _slice_instead_of_splitting(program.graph)
    _reduce_by_halves(program.graph)
    program.graph_module.recompile()


def _reduce_by_halves(graph: fx.Graph) -> None:
    """Poolings of one channel's columns, maxima and sums along one kept axis, as trees of `maximum` or `add`.

    XNNPACK pools over channels, of which a map of slots has one: the pooling by which pixels are assigned to slots took
    a twentieth of a call of the default network in int8 (docs/coverage.md). Maxima and sums it does not take at all,
    and each cuts the network in two. Where networks take a maximum that LiteRT has to take as well, they say it so
    themselves: `edgeseg.models.layers.largest`.
    """
    for target, pair in (
        (_ATEN.max_pool2d.default, _ATEN.maximum.default),
        (_ATEN.amax.default, _ATEN.maximum.default),
        (_ATEN.sum.dim_IntList, _ATEN.add.Tensor),
    ):
        for node in _calls(graph, target):
            axis = _axis(node)
            if axis is None:
                continue
            with graph.inserting_before(node):
                reduced = _reduced(graph, node.args[0], axis, pair)
            reduced.meta = dict(node.meta)
            node.replace_all_uses_with(reduced)
            graph.erase_node(node)


def _reduced(graph: fx.Graph, whole: Any, axis: int, pair: Any) -> Any:
    def part(first: int, last: int) -> fx.Node:
        return graph.call_function(_ATEN.slice.Tensor, (whole, axis, first, last))

    left, odd = whole.meta["val"].shape[axis], []
    while left > 1:
        half, is_odd = divmod(left, 2)
        if is_odd:
            odd.append(part(left - 1, left))
        whole, left = graph.call_function(pair, (part(0, half), part(half, 2 * half))), half
    for entry in odd:
        whole = graph.call_function(pair, (whole, entry))
    return whole


def _axis(node: Any) -> int | None:
    """The axis of more than one entry that a node reduces to one; None where it does something else."""
    image, window, *rest = node.args
    shape = image.meta["val"].shape
    if node.target is _ATEN.max_pool2d.default:
        is_whole = shape[1] == 1 and window == [shape[2], 1] and rest == [window]
        return 2 if is_whole and shape[2] > 1 else None
    axis, *others = window
    is_kept = rest == [True] and not others and not node.kwargs and image.meta["val"].is_floating_point()
    return int(axis) % len(shape) if is_kept and shape[axis] > 1 else None


def _slice_instead_of_splitting(graph: fx.Graph) -> None:
    for target in (_ATEN.split_with_sizes.default, _ATEN.split.Tensor, _ATEN.chunk.default):
        for node in _calls(graph, target):
            whole, _, axis = (*node.args, 0)[:3]
            ends = [0, *itertools.accumulate(part.shape[axis] for part in node.meta["val"])]
            for user in list(node.users):
                index = user.args[1]
                with graph.inserting_before(user):
                    part = graph.call_function(_ATEN.slice.Tensor, (whole, axis, ends[index], ends[index + 1]))
                part.meta = dict(user.meta)
                user.replace_all_uses_with(part)
                graph.erase_node(user)
            graph.erase_node(node)


def _look_up_once(program: ExportedProgram) -> None:
    """A learned table that is indexed by a constant becomes what is found there: axial attention's positions."""
    signature = program.graph_signature
    buffers = signature.inputs_to_buffers | signature.inputs_to_lifted_tensor_constants
    held = program.state_dict | program.constants
    for node in _calls(program.graph, _ATEN.index.Tensor):
        table, places = node.args
        parameter = signature.inputs_to_parameters.get(table.name)
        constants = [buffers.get(getattr(place, "name", "")) for place in places]
        if parameter is None or None in constants or len(table.users) > 1:
            continue
        found = held[parameter][tuple(held[name] for name in constants)]
        program.state_dict[parameter] = torch.nn.Parameter(found, requires_grad=False)
        table.meta["val"] = table.meta["val"].new_empty(found.shape)
        node.replace_all_uses_with(table)
        program.graph.erase_node(node)


def _calls(graph: fx.Graph, target: Any) -> list[Any]:
    return list(graph.find_nodes(op="call_function", target=target))
