"""A float model as a graph with quantizers in it."""

from __future__ import annotations

import operator
from fnmatch import fnmatch
from operator import attrgetter

import torch
from torch import fx, nn
from torch.nn import functional as F

from edgeseg.config import nearest
from edgeseg.quantize.activations import ActivationQuantizer
from edgeseg.quantize.fold import fold, replace_node
from edgeseg.quantize.modules import HalfUp, IntegerLayer, QuantConstant, QuantConv2d, QuantLinear
from edgeseg.quantize.operators import CLAMPS, Kind, is_resize, kind_of
from edgeseg.quantize.recipes import Recipe
from edgeseg.quantize.weights import Learned, Ternary, Uniform, WeightGrid
from edgeseg.structures import CheckError, InputError


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
        InputError: The model can't be traced, or a pattern of the recipe fits no layer.
        CheckError: No layer became integer.
    """
    graph_module = fold(model, example)
    _refuse_idle_patterns(graph_module, recipe)
    _spell_out_hard_swish(graph_module)
    kinds = {node: _kind(node, graph_module, recipe) for node in graph_module.graph.nodes}
    layers = [node for node, kind in kinds.items() if kind == "conv"]
    if not layers:
        raise CheckError(f"recipe {recipe.name!r} made no layer of {type(model).__name__} integer; check float_modules")
    on_grid = _find_grids(kinds) if recipe.activation_bits else []
    groups = _share_grids(on_grid, kinds)
    for root in dict.fromkeys(groups.values()):
        graph_module.add_submodule(_grid_name(root), _activation_quantizer(recipe))
    small = _small_layers(layers, graph_module, recipe.int8_share)
    for node in layers:
        _make_integer(node, graph_module, recipe, groups, small)
    for node in on_grid:
        _insert(node, _grid_name(groups[node]))
        if is_resize(node, graph_module):
            _round_half_up(node, graph_module, _grid_name(groups[node]))
    for node in _added_constants(kinds, on_grid):
        _quantize_constant(node, graph_module, recipe.activation_bits or 8)
    graph_module.delete_all_unused_submodules()
    graph_module.graph.lint()
    graph_module.recompile()
    return graph_module.eval()


def _spell_out_hard_swish(graph_module: fx.GraphModule) -> None:
    """Hard-swish as x / 6 * relu6(x + 3), in this order.

    Between two grids LiteRT turns a hard-swish, and x * (relu6(x + 3) / 6) alike, into an int8 operator that XNNPACK
    does not take: nine of them cut MobileNetV3-Small's graph into 18 pieces. This order stays float and delegated.
    """
    for node in list(graph_module.graph.nodes):
        is_module = node.op == "call_module" and isinstance(graph_module.get_submodule(str(node.target)), nn.Hardswish)
        if is_module or node.target is F.hardswish:
            replace_node(node, lambda x: (x * (1.0 / 6.0)) * F.relu6(x + 3.0))


def _make_integer(
    node: fx.Node, graph_module: fx.GraphModule, recipe: Recipe, groups: dict[fx.Node, fx.Node], small: set[str]
) -> None:
    name = str(node.target)
    layer = graph_module.get_submodule(name)
    if isinstance(layer, IntegerLayer):
        raise InputError(f"layer {name} is called twice; integer weights have one input grid: use two")
    assert isinstance(layer, (nn.Conv2d, nn.Linear))
    root = groups.get(node.all_input_nodes[0])
    quantizer = None if root is None else graph_module.get_submodule(_grid_name(root))
    assert quantizer is None or isinstance(quantizer, ActivationQuantizer)
    grid = _weight_grid(layer, recipe, is_spared=name in small or _matches(name, recipe.int8_modules))
    made = QuantConv2d(layer, quantizer, grid) if isinstance(layer, nn.Conv2d) else QuantLinear(layer, quantizer, grid)
    graph_module.set_submodule(name, made)


def _activation_quantizer(recipe: Recipe) -> ActivationQuantizer:
    return ActivationQuantizer(recipe.activation_bits, is_learned=recipe.learned_activation_steps)


def _small_layers(layers: list[fx.Node], graph_module: fx.GraphModule, share: float) -> set[str]:
    """Names of the smallest layers that together hold no more than this share of the weights, thin ones aside."""
    modules = {str(node.target): graph_module.get_submodule(str(node.target)) for node in layers}
    sizes = {name: m.get_parameter("weight").numel() for name, m in modules.items() if not _is_thin(m)}
    allowed, small = share * sum(sizes.values()), set()
    for name in sorted(sizes, key=lambda name: sizes[name]):
        allowed -= sizes[name]
        if allowed < 0:
            break
        small.add(name)
    return small


def _is_thin(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and (layer.groups > 1 or layer.in_channels <= 3)


def _weight_grid(layer: nn.Conv2d | nn.Linear, recipe: Recipe, *, is_spared: bool) -> WeightGrid:
    """Ternary costs accuracy where a channel has few weights, and saves nothing: depthwise and first layers stay."""
    grid: Uniform | Ternary
    if is_spared or (recipe.ternary and _is_thin(layer)):
        grid = Uniform(8)
    else:
        grid = Ternary(recipe.ternary) if recipe.ternary else Uniform(recipe.weight_bits)
    return Learned(grid) if recipe.learned_weight_steps else grid


def _refuse_idle_patterns(graph_module: fx.GraphModule, recipe: Recipe) -> None:
    """A pattern that fits nothing is a misspelt one: what it was to spare would be rounded in silence."""
    kinds = ("conv", "linear") if recipe.linears else ("conv",)
    names = [str(node.target) for node in graph_module.graph.nodes if kind_of(node, graph_module) in kinds]
    for field in ("float_modules", "int8_modules"):
        for pattern in getattr(recipe, field):
            if not any(fnmatch(name, pattern) for name in names):
                raise InputError(
                    f"recipe {recipe.name!r}: {field} {pattern!r} fits no layer{nearest(pattern, names)}; "
                    "edgeseg quantize --analyse lists them"
                )


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _kind(node: fx.Node, graph_module: fx.GraphModule, recipe: Recipe) -> Kind:
    kind = kind_of(node, graph_module)
    if kind == "linear":
        kind = "conv" if recipe.linears else "other"
    if kind == "conv" and _matches(str(node.target), recipe.float_modules):
        return "other"
    return kind


def _grid_name(root: fx.Node) -> str:
    return f"grid_{root.name}"


def _find_grids(kinds: dict[fx.Node, Kind]) -> list[fx.Node]:
    """Nodes whose output is rounded by a quantizer, in graph order."""
    integer: set[fx.Node] = set()
    for node, kind in kinds.items():
        inputs = node.all_input_nodes
        from_grids = [source in integer for source in inputs]
        if kind == "conv" or (kind in (*CLAMPS, "same_grid") and all(from_grids)):
            integer.add(node)
        elif kind == "sum" and len(inputs) == 2:
            constants = [kinds[source] == "constant" for source in inputs]
            if all(map(operator.or_, from_grids, constants)) and any(from_grids):
                integer.add(node)
    wanted = integer | {source for node, kind in kinds.items() if kind == "conv" for source in node.all_input_nodes}
    return [node for node in kinds if node in wanted and not _is_fused(node, kinds)]


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


def _round_half_up(resize: fx.Node, graph_module: fx.GraphModule, quantizer: str) -> None:
    grid = graph_module.get_submodule(quantizer)
    assert isinstance(grid, ActivationQuantizer)
    name, source = f"half_up_{resize.name}", resize.all_input_nodes[0]
    graph_module.add_submodule(name, HalfUp(grid))
    with graph_module.graph.inserting_before(resize):
        resize.replace_input_with(source, graph_module.graph.call_module(name, (source,)))


def _added_constants(kinds: dict[fx.Node, Kind], on_grid: list[fx.Node]) -> list[fx.Node]:
    """Constant maps of which every user is a sum on a grid, or fused into the ReLU that is."""
    rounded = set(on_grid)

    def is_integer_sum(node: fx.Node) -> bool:
        return kinds.get(node) == "sum" and (node in rounded or all(user in rounded for user in node.users))

    return [node for node, kind in kinds.items() if kind == "constant" and all(map(is_integer_sum, node.users))]


def _quantize_constant(node: fx.Node, graph_module: fx.GraphModule, bits: int) -> None:
    value = attrgetter(str(node.target))(graph_module)
    name = f"constant_{node.name}"
    graph_module.add_submodule(name, QuantConstant(value, bits))
    with node.graph.inserting_after(node):
        constant = node.graph.call_module(name)
    node.replace_all_uses_with(constant)
    node.graph.erase_node(node)
    if not [other for other in constant.graph.nodes if (other.op, other.target) == ("get_attr", node.target)]:
        owner, _, attribute = str(node.target).rpartition(".")
        delattr(graph_module.get_submodule(owner), attribute)  # else every exported file carries the float map along
