"""Mask logits with a pixel's slots side by side, for an argmax that reads along the innermost dimension."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

_ATEN = torch.ops.aten
_RESHAPES = frozenset({_ATEN.flatten.using_ints, _ATEN.reshape.default, _ATEN.view.default})


def transpose_products(program: ExportedProgram) -> None:
    """An argmax of a transposed tensor reads what was made transposed from its factors and parts on, in place.

    (A B)^T = B^T A^T; sums, concatenations and reshapes pass it on. ONNX Runtime turns an argmax of a transposed tensor
    into one across rows, more than three times as slow as along them; factors it multiplies as fast either way, and
    between integers it has an image's channels innermost already.
    """
    graph = program.graph
    graph.eliminate_dead_code()  # what nobody reads is no user
    for argmax in graph.find_nodes(op="call_function", target=_ATEN.argmax.default):
        turned = argmax.args[0]
        if turned.target is _ATEN.transpose.int and turned.args[1:] == (1, 2):
            with graph.inserting_before(turned):
                argmax.replace_input_with(turned, _innermost(graph, turned.args[0]))
    graph.eliminate_dead_code()
    program.graph_module.recompile()


def _innermost(graph: fx.Graph, x: Any) -> fx.Node:
    """(B, C, ...) -> (B, ..., C); what others use, too, is made once and turned."""
    shape = x.meta["val"].shape
    if len(x.users) == 1:
        if x.target is _ATEN.bmm.default:
            first, second = x.args
            return _call(graph, _ATEN.bmm.default, _innermost(graph, second), _innermost(graph, first))
        if x.target is _ATEN.add.Tensor and not x.kwargs and all(_is_term(term, len(shape)) for term in x.args):
            terms = (term if term.meta["val"].numel() == 1 else _innermost(graph, term) for term in x.args)
            return _call(graph, _ATEN.add.Tensor, *terms)
        if x.target is _ATEN.cat.default and x.args[1:] == (1,):
            return _call(graph, _ATEN.cat.default, [_innermost(graph, part) for part in x.args[0]], len(shape) - 1)
        if x.target in _RESHAPES and x.args[0].meta["val"].shape[:2] == shape[:2]:
            pixels = _innermost(graph, x.args[0])
            return _call(graph, _ATEN.reshape.default, pixels, [shape[0], *shape[2:], shape[1]])
    return _call(graph, _ATEN.permute.default, x, [0, *range(2, len(shape)), 1])


def _is_term(x: Any, num_dimensions: int) -> bool:
    return isinstance(x, fx.Node) and (x.meta["val"].ndim == num_dimensions or x.meta["val"].numel() == 1)


def _call(graph: fx.Graph, operator: Any, *args: Any) -> fx.Node:
    node = graph.call_function(operator, args)
    node.meta["val"] = operator(*fx.node.map_arg(args, lambda arg: arg.meta["val"]))
    return node
