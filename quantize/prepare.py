"""A float model as a graph with quantizers in it."""

from __future__ import annotations

import os
from fnmatch import fnmatch

import torch
from torch import fx, nn

from edgeseg.quantize.fold import fold
from edgeseg.quantize.modules import ActivationQuantizer, QuantConv2d
from edgeseg.quantize.operators import CLAMPS, Kind, kind_of
from edgeseg.quantize.recipes import Recipe
from edgeseg.structures import CheckError

def prepare(model: nn.Module, recipe: Recipe, example: torch.Tensor) -> fx.GraphModule:
    """Folds a model and puts quantizers where the recipe wants integers.

    On a grid are: the input of every integer convolution, its output after the ReLU that follows, and sums of tensors
    that are on grids. Bilinear resize, max-pool and concatenation share the grid of what goes in with what comes out:
    LiteRT's integer resize ignores a change of scale. Scalars are never quantized. Names depend on the
    graph alone, so a prepared model of the same class and recipe takes the same state dict.

    Args:
        model: Float model, traceable, without training-only branches (`SlotsModel.deployable()`); not changed.
        recipe: What becomes integer.
        example: (B, 3, H, W) float32 image, 0..255.

    Returns:
        A graph in eval mode, in phase `observe`: `calibrate` it, or load a state dict and `set_phase`.

    Raises:
        InputError: The model can't be traced.
        CheckError: No convolution became integer.
    """
    graph_module = fold(model, example)
    kinds = {node: _kind(node, graph_module, recipe) for node in graph_module.graph.nodes}
    convs = [node for node, kind in kinds.items() if kind == "conv"]
    if not convs:
        raise CheckError(
            f"recipe {recipe.name!r} made no convolution of {type(model).__name__} integer; check float_modules"
        )
    on_grid = _find_grids(kinds)
    groups = _share_grids(on_grid, kinds)
    quantizers = {root: f"grid_{root.name}" for root in dict.fromkeys(groups.values())}
    for name in quantizers.values():
        graph_module.add_submodule(name, ActivationQuantizer(recipe.activation_bits))
    for node in convs:
        (source,) = node.all_input_nodes
        quantizer = graph_module.get_submodule(quantizers[groups[source]])
        conv = graph_module.get_submodule(str(node.target))
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(quantizer, ActivationQuantizer)
        graph_module.set_submodule(str(node.target), QuantConv2d(conv, quantizer, recipe.weight_bits))
    for node in on_grid:
        _insert(node, quantizers[groups[node]])
    graph_module.graph.lint()
    graph_module.recompile()
    return graph_module.eval()


def _kind(node: fx.Node, graph_module: fx.GraphModule, recipe: Recipe) -> Kind:
    kind = kind_of(node, graph_module)
    if kind == "conv" and any(fnmatch(str(node.target), pattern) for pattern in recipe.float_modules):
        return "other"
    return kind


def _find_grids(kinds: dict[fx.Node, Kind]) -> list[fx.Node]:
    """Nodes whose output is rounded, in graph order."""
    integer: set[fx.Node] = set()
    for node, kind in kinds.items():
        inputs = node.all_input_nodes
        on_grid = all(source in integer for source in inputs)
        V = os.environ.get("QV", "")
        t = str(node.target)
        if (
            kind == "conv"
            or (kind in (*CLAMPS, "same_grid") and on_grid)
            or (kind == "sum" and len(inputs) == 2 and on_grid)
        ):
            integer.add(node)
        elif "se8" in V and node.op == "call_module" and on_grid and (t.split(".")[-1] in ("avgpool", "scale_activation")):
            integer.add(node)
        elif "se8" in V and node.op == "call_module" and on_grid and any("avgpool" in str(u.target) for u in node.users):
            integer.add(node)
        elif "se8" in V and node.name.startswith("mul") and len(inputs) == 2 and on_grid:
            integer.add(node)
        elif "pos8" in V and ("position" in t or t.endswith("map")):
            integer.add(node)
    wanted = integer | {source for node, kind in kinds.items() if kind == "conv" for source in node.all_input_nodes}
    return [
        node
        for node in kinds
        if node in wanted
        and not _is_fused(node, kinds)
        and not (
            "nogap" in os.environ.get("QV", "") and kinds[node] == "conv" and all(not kinds[u] != "other" for u in node.users)
            and len(node.users) == 1 and str(next(iter(node.users)).target).startswith("backbone")
        )
    ]


def _is_fused(node: fx.Node, kinds: dict[fx.Node, Kind]) -> bool:
    """Whether an engine computes the node together with the ReLU behind it: only the ReLU's output exists."""
    users = list(node.users)
    return kinds[node] in ("conv", "sum") and len(users) == 1 and kinds[users[0]] in CLAMPS


def _share_grids(on_grid: list[fx.Node], kinds: dict[fx.Node, Kind]) -> dict[fx.Node, fx.Node]:
    """Node on a grid -> the first node of those that share it."""
    root = {node: node for node in on_grid}

    def find(node: fx.Node) -> fx.Node:
        return node if root[node] is node else find(root[node])

    order = {node: index for index, node in enumerate(on_grid)}
    for node in on_grid:
        moves_values = kinds[node] in ("same_grid", "layout")
        clamps_grid = kinds[node] in CLAMPS  # only where it is not fused, its input being on a grid itself
        if not (moves_values or clamps_grid):
            continue
        for source in node.all_input_nodes:
            if source in root:
                first, second = sorted((find(node), find(source)), key=order.__getitem__)
                root[second] = first
    return {node: find(node) for node in on_grid}


def _insert(node: fx.Node, quantizer: str) -> None:
    graph = node.graph
    with graph.inserting_after(node):
        quantized = graph.call_module(quantizer, (node,))
    node.replace_all_uses_with(quantized, delete_user_cb=lambda user: user is not quantized)
