"""A float model as the inference graph that lowers best: no norms, no dropout, few operators."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from operator import attrgetter
from typing import Any, cast

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from edgeseg.structures import InputError

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_NOTHING_AT_INFERENCE = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity)


class ScaleShift(nn.Module):
    """What a batch norm of one channel is at inference.

    Args:
        scale: (1,) float32; None where something before it has taken it over.
        shift: (1,) float32.
    """

    def __init__(self, scale: torch.Tensor | None, shift: torch.Tensor) -> None:
        super().__init__()
        self.scale = None if scale is None else nn.Parameter(scale)
        self.shift = nn.Parameter(shift)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape to the same shape."""
        return (x if self.scale is None else x * self.scale) + self.shift


def fold(model: nn.Module, example: torch.Tensor) -> fx.GraphModule:
    """Traces an eval copy of a model and rewrites it for inference.

    Batch norms go into the convolution or linear before them, else into the linear or 1x1 convolution behind them; of
    one of a single channel (the mask logits') the scale goes into the linear that makes the product's left side and the
    shift stays. A constant factor per channel goes into the convolution behind it. Dropout goes. Hard-sigmoid becomes
    relu6(x + 3) / 6, which ExecuTorch's XNNPACK delegate takes without leaving it.

    Args:
        model: Any module that `torch.fx.symbolic_trace` can follow; it is left as it was.
        example: (B, 3, H, W) float32 image, 0..255; gives the shapes.

    Returns:
        A graph on the CPU in eval mode that computes what `model.eval()` does, up to float rounding.

    Raises:
        InputError: The model's forward branches on values or shapes and can't be traced.
    """
    model = copy.deepcopy(model).cpu().eval()
    try:
        graph_module = fx.symbolic_trace(model)
    except (fx.proxy.TraceError, TypeError) as error:
        raise InputError(
            f"{type(model).__name__} can't be traced for quantization: {error}; use static control flow"
        ) from error
    with torch.no_grad():
        ShapeProp(graph_module).propagate(example)
    for node in list(graph_module.graph.nodes):
        module = _module(node, graph_module)
        if isinstance(module, _NOTHING_AT_INFERENCE) or (node.op, node.target) == ("call_method", "detach"):
            _bypass(node)
        elif isinstance(module, nn.Hardsigmoid) or node.target is F.hardsigmoid:
            replace_node(node, lambda x: F.relu6(x + 3.0) * (1.0 / 6.0))
        elif isinstance(module, _BATCH_NORMS):
            _fold_batch_norm(node, module, graph_module)
        elif node.target is operator.mul:
            _fold_factor(node, graph_module)
    graph_module.graph.eliminate_dead_code()
    for node in list(graph_module.graph.nodes):
        if node.op == "call_method" and node.target in ("squeeze", "unsqueeze"):
            _reshape_instead(node)
    for node in graph_module.graph.nodes:
        node.meta.clear()  # shapes of the example: not everyone's
    graph_module.delete_all_unused_submodules()
    graph_module.graph.lint()
    graph_module.recompile()
    return graph_module


def _fold_batch_norm(node: fx.Node, norm: nn.BatchNorm1d | nn.BatchNorm2d, graph_module: fx.GraphModule) -> None:
    source = node.all_input_nodes[0]
    before = _module(source, graph_module) if len(source.users) == 1 and _is_called_once(source) else None
    user = next(iter(node.users))
    behind = _module(user, graph_module) if len(node.users) == 1 and _is_called_once(user) else None
    are_rows = len(node.meta["tensor_meta"].shape) == 2  # (rows, features): the norm's axis is the linear's
    if isinstance(before, (nn.Conv1d, nn.Conv2d)):
        graph_module.set_submodule(str(source.target), fuse_conv_bn_eval(before, norm))
        _bypass(node)
    elif isinstance(before, nn.Linear) and are_rows:
        graph_module.set_submodule(str(source.target), fuse_linear_bn_eval(before, norm))
        _bypass(node)
    elif (isinstance(behind, nn.Linear) and are_rows) or _is_pointwise(behind):
        assert isinstance(behind, (nn.Linear, nn.Conv2d))
        graph_module.set_submodule(str(user.target), _fold_into_next(norm, behind))
        _bypass(node)
    elif norm.num_features == 1:
        _fold_single_channel(node, norm, graph_module)


def _is_pointwise(module: nn.Module | None) -> bool:
    """Whether it is a linear map of each pixel; with padding, a shift would not reach the border."""
    if not isinstance(module, nn.Conv2d):
        return False
    return module.kernel_size == (1, 1) and module.padding == (0, 0) and module.groups == 1


def _fold_into_next(norm: nn.Module, layer: nn.Linear | nn.Conv2d) -> nn.Linear | nn.Conv2d:
    scale, shift = _affine(norm)
    folded = copy.deepcopy(layer)
    rows = layer.weight.flatten(1)  # (O, I)
    with torch.no_grad():
        folded.weight.copy_((rows * scale).view_as(layer.weight))
        folded.bias = nn.Parameter(rows @ shift + (0.0 if layer.bias is None else layer.bias))
    return folded.eval()


def _fold_single_channel(node: fx.Node, norm: nn.Module, graph_module: fx.GraphModule) -> None:
    """`norm(x.unsqueeze(1)).squeeze(1)` and plain `norm(x)` alike become `x * scale + shift`."""
    source, user = node.all_input_nodes[0], next(iter(node.users))
    scale, shift = _affine(norm)
    linear = _linear_of_product(source, graph_module)
    if linear is not None:
        with torch.no_grad():
            for parameter in linear.parameters():
                parameter.mul_(scale)
    graph_module.set_submodule(str(node.target), ScaleShift(scale if linear is None else None, shift))
    if source.target == "unsqueeze" and user.target == "squeeze" and len(node.users) == 1:
        _bypass(user)
        node.replace_input_with(source, source.all_input_nodes[0])


def _linear_of_product(node: fx.Node, graph_module: fx.GraphModule) -> nn.Linear | None:
    """The linear whose rows, and nothing else, are the left side of the matrix product that a node is."""
    if node.target == "unsqueeze":
        node = node.all_input_nodes[0]
    if node.target is not torch.bmm:
        return None
    while len(node.all_input_nodes[0].users) == 1:
        node = node.all_input_nodes[0]
        module = _module(node, graph_module)
        if isinstance(module, nn.Linear) and _is_called_once(node):
            return module
        if node.target != "reshape":
            return None
    return None


def _fold_factor(node: fx.Node, graph_module: fx.GraphModule) -> None:
    """`conv(x * factor)` with a constant (1, C, 1, 1) factor becomes `conv(x)`."""
    factor = next((source for source in node.all_input_nodes if source.op == "get_attr"), None)
    user = next(iter(node.users))
    conv = _module(user, graph_module) if len(node.users) == 1 and _is_called_once(user) else None
    if factor is None or not isinstance(conv, nn.Conv2d) or conv.groups != 1:
        return
    value = attrgetter(str(factor.target))(graph_module)
    if tuple(value.shape) == (1, conv.in_channels, 1, 1):
        with torch.no_grad():
            conv.weight.mul_(value)
        node.replace_all_uses_with(next(source for source in node.all_input_nodes if source is not factor))
        node.graph.erase_node(node)


def _reshape_instead(node: fx.Node) -> None:
    """ExecuTorch delegates a reshape, but neither squeeze nor unsqueeze. The batch stays free."""
    before, after = (tuple(n.meta["tensor_meta"].shape) for n in (node.all_input_nodes[0], node))
    if before[0] == after[0]:
        replace_node(node, lambda x: x.reshape(-1, *after[1:]))


def _affine(norm: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and shift, (C,) each, of a batch norm in eval mode."""
    assert isinstance(norm, _BATCH_NORMS)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias.detach() - norm.running_mean * scale


def replace_node(node: fx.Node, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Puts the operators of a function of one tensor in the place of a node with one tensor input."""
    with node.graph.inserting_before(node):
        proxy: Any = fx.Proxy(node.all_input_nodes[0])
        output: fx.Node = cast(Any, function(proxy)).node
    output.meta = dict(node.meta)
    node.replace_all_uses_with(output)
    node.graph.erase_node(node)


def _bypass(node: fx.Node) -> None:
    node.replace_all_uses_with(node.all_input_nodes[0])
    node.graph.erase_node(node)


def _module(node: fx.Node, graph_module: fx.GraphModule) -> nn.Module | None:
    return graph_module.get_submodule(str(node.target)) if node.op == "call_module" else None


def _is_called_once(node: fx.Node) -> bool:
    calls = [other for other in node.graph.nodes if (other.op, other.target) == (node.op, node.target)]
    return len(calls) == 1
