"""Mask logits with a pixel's slots side by side, for an argmax that reads along the innermost dimension."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

_ATEN = torch.ops.aten
_RESHAPES = frozenset({_ATEN.flatten.using_ints, _ATEN.reshape.default, _ATEN.view.default})


def transpose_products(program: ExportedProgram) -> None:
    """An argmax of a transposed batched product reads the product of the transposed factors, in place.

    (A B)^T = B^T A^T, sums of constants included. ONNX Runtime turns an argmax of a transposed tensor into one across
    rows, more than three times as slow as along them; factors it multiplies as fast either way, and between integers
    it has the pixels' embedding with channels innermost already.
    """
    graph = program.graph
    graph.eliminate_dead_code()  # what nobody reads is no user
    for argmax in graph.find_nodes(op="call_function", target=_ATEN.argmax.default):
        turned = argmax.args[0]
        if turned.target is _ATEN.transpose.int and turned.args[1:] == (1, 2):
            with graph.inserting_before(turned):
                argmax.replace_input_with(turned, _transposed(graph, turned.args[0]))
    graph.eliminate_dead_code()
    program.graph_module.recompile()


def _transposed(graph: fx.Graph, x: Any) -> fx.Node:
    """(B, M, N) -> (B, N, M); what others use, too, is made once and turned."""
    if len(x.users) == 1:
        if x.target is _ATEN.bmm.default:
            first, second = x.args
            return _call(graph, _ATEN.bmm.default, _transposed(graph, second), _transposed(graph, first))
        if x.target is _ATEN.add.Tensor and not x.kwargs and all(map(_is_term, x.args)):
            terms = (term if term.meta["val"].numel() == 1 else _transposed(graph, term) for term in x.args)
            return _call(graph, _ATEN.add.Tensor, *terms)
        if x.target in _RESHAPES:
            return _transposed_reshape(graph, x)
    return _call(graph, _ATEN.permute.default, x, [0, 2, 1])


def _is_term(x: Any) -> bool:
    return isinstance(x, fx.Node) and (x.meta["val"].ndim == 3 or x.meta["val"].numel() == 1)


def _transposed_reshape(graph: fx.Graph, x: Any) -> fx.Node:
    """There and back again is skipped; an image's channels go innermost before its pixels become a row."""
    shape, image = x.meta["val"].shape, x.args[0]
    source = image
    while source.target in _RESHAPES and source.meta["val"].shape != shape and len(source.users) == 1:
        source = source.args[0]
    if source.meta["val"].shape == shape:
        return _transposed(graph, source)
    if image.meta["val"].ndim == 4 and image.meta["val"].shape[:2] == shape[:2]:  # (B, C, h, w) -> (B, C, h w)
        innermost = _call(graph, _ATEN.permute.default, image, [0, 2, 3, 1])
        return _call(graph, _ATEN.reshape.default, innermost, [shape[0], shape[2], shape[1]])
    return _call(graph, _ATEN.permute.default, x, [0, 2, 1])


def _call(graph: fx.Graph, operator: Any, *args: Any) -> fx.Node:
    node = graph.call_function(operator, args)
    node.meta["val"] = operator(*(arg.meta["val"] if isinstance(arg, fx.Node) else arg for arg in args))
    return node
