"""The quantized network that runtimes get to see, and the same from a bundle's integers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from operator import attrgetter

import torch
from torch import fx, nn

from edgeseg.quantize.activations import ActivationQuantizer
from edgeseg.quantize.modules import set_phase
from edgeseg.quantize.operators import kind_of
from edgeseg.quantize.packed import unpack_state
from edgeseg.quantize.prepare import prepare
from edgeseg.quantize.recipes import Recipe

_COPIES = ("unsqueeze", "expand")
"""Tensor methods that leave values as they are."""


def deploy(prepared: fx.GraphModule) -> fx.GraphModule:
    """A copy on the CPU that emits `quantized_decomposed` operators: what `torch.export` gets to see.

    Its layers hold integers in place of the latent weights, and take `set_weight_storage("float_qdq")` for runtimes
    that want weights unfolded.
    """
    deployed = copy.deepcopy(prepared).cpu().eval().requires_grad_(False)
    return _finished(deployed)


def deploy_again(
    model: nn.Module, recipe: Recipe, example: torch.Tensor, state: Mapping[str, torch.Tensor]
) -> fx.GraphModule:
    """What `deploy` made, from its state dict.

    Args:
        model: A float network of the class, with any weights.
        recipe: It was made with.
        example: (B, 3, H, W) float32 image, 0..255.
        state: `deploy(...).state_dict()`, as it is or packed.

    Raises:
        RuntimeError: Names or shapes differ.
        ValueError: Packed weights do not fit.
    """
    deployed = prepare(model, recipe, example).requires_grad_(False)
    for module in deployed.modules():
        if isinstance(module, ActivationQuantizer):
            module.scale.fill_(1.0)  # any grid; the next line but one brings its own
    set_phase(deployed, "deploy")
    deployed.load_state_dict(unpack_state(state, deployed.state_dict()))
    return _finished(deployed)


def _finished(deployed: fx.GraphModule) -> fx.GraphModule:
    """Integers in place, and what runtimes would treat otherwise spelt so that they agree; in place."""
    set_phase(deployed, "deploy")
    _round_learned_constants(deployed)
    _drop_redundant_relus(deployed)
    return deployed


def _round_learned_constants(deployed: fx.GraphModule) -> None:
    """Puts parameters that go straight onto a grid, such as learned queries, on it themselves.

    LiteRT's converter takes a quantize/dequantize pair behind a constant away: there it would stay unrounded.
    """
    for node in deployed.graph.nodes:
        if node.op != "get_attr" or not isinstance(value := attrgetter(str(node.target))(deployed), nn.Parameter):
            continue
        users = list(node.users)
        while len(users) == 1 and (users[0].target in _COPIES or kind_of(users[0], deployed) == "layout"):
            users = list(users[0].users)
        if len(users) == 1 and users[0].op == "call_module":
            quantizer = deployed.get_submodule(str(users[0].target))
            if isinstance(quantizer, ActivationQuantizer):
                value.data.copy_(quantizer(value))


def _drop_redundant_relus(deployed: fx.GraphModule) -> None:
    """Removes ReLUs whose output goes onto a grid that starts at 0.0: rounding saturates there by itself.

    The values stay equal bit by bit, and runtimes see quantize(conv(dequantize)), which is one integer operator.
    """
    for node in list(deployed.graph.nodes):
        users = list(node.users)
        if kind_of(node, deployed) != "relu" or len(users) != 1 or users[0].op != "call_module":
            continue
        quantizer = deployed.get_submodule(str(users[0].target))
        if isinstance(quantizer, ActivationQuantizer) and int(quantizer.zero_point) == quantizer.low:
            node.replace_all_uses_with(node.all_input_nodes[0])
            deployed.graph.erase_node(node)
    deployed.recompile()
