"""What an operator of a traced graph means for quantization."""

from __future__ import annotations

import operator
from operator import attrgetter
from typing import Literal

import torch
from torch import fx, nn
from torch.nn import functional as F

Kind = Literal["conv", "linear", "relu", "relu6", "sum", "same_grid", "layout", "constant", "other"]

_KINDS: dict[object, Kind] = {
    nn.Conv2d: "conv",
    nn.Linear: "linear",
    nn.ReLU: "relu",
    F.relu: "relu",
    torch.relu: "relu",
    "relu": "relu",
    nn.ReLU6: "relu6",
    F.relu6: "relu6",
    operator.add: "sum",
    operator.iadd: "sum",
    torch.add: "sum",
    "add": "sum",
    nn.MaxPool2d: "same_grid",
    nn.Upsample: "same_grid",
    F.max_pool2d: "same_grid",
    F.interpolate: "same_grid",
    torch.cat: "same_grid",
    torch.concat: "same_grid",
    torch.flatten: "layout",
    torch.reshape: "layout",
    torch.permute: "layout",
    "flatten": "layout",
    "reshape": "layout",
    "view": "layout",
    "permute": "layout",
}
"""Module classes, functions and names of tensor methods."""

CLAMPS: tuple[Kind, ...] = ("relu", "relu6")
SUMS = tuple(target for target, kind in _KINDS.items() if kind == "sum")


def kind_of(node: fx.Node, graph_module: fx.GraphModule) -> Kind:
    """The node's kind; `other` is everything that stays float.

    `constant` is a stored map of more than one value per channel (scalars and per-channel vectors stay float);
    `same_grid` operators pick or mix values without leaving their range; `layout` operators only move them.
    """
    if node.op in ("call_function", "call_method"):
        return _KINDS.get(node.target, "other")
    if node.op == "call_module":
        return _KINDS.get(type(graph_module.get_submodule(str(node.target))), "other")
    if node.op == "get_attr":
        value = attrgetter(str(node.target))(graph_module)
        is_map = isinstance(value, torch.Tensor) and value.dim() == 4 and value.shape[2] * value.shape[3] > 1
        return "constant" if is_map and not isinstance(value, nn.Parameter) else "other"
    return "other"


def is_resize(node: fx.Node, graph_module: fx.GraphModule) -> bool:
    """Whether the node mixes neighbouring values bilinearly."""
    if node.op == "call_module":
        module = graph_module.get_submodule(str(node.target))
        return isinstance(module, nn.Upsample) and str(module.mode) == "bilinear"
    return node.target is F.interpolate and str(node.kwargs.get("mode")) == "bilinear"


def after_clamps(node: fx.Node, graph_module: fx.GraphModule) -> tuple[fx.Node, tuple[float, float]]:
    """The first node behind an integer layer that is no clamp, or the last with several users; what is let through."""
    low, high = -float("inf"), float("inf")
    users = list(node.users)
    while len(users) == 1 and (kind := kind_of(users[0], graph_module)) in CLAMPS:
        low, high = 0.0, 6.0 if kind == "relu6" else high
        users = list(users[0].users)
    return users[0] if len(users) == 1 else node, (low, high)
