from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import fx, nn
from torch.nn import functional as F

from edgeseg.quantize import RECIPES, ActivationQuantizer, QuantConv2d, QuantLinear, Recipe, prepare
from edgeseg.quantize.modules import HalfUp, QuantConstant
from edgeseg.structures import CheckError, InputError
from tests.quantize.tiny import Chain, TinySlots, images, warmed

PTQ = Recipe(name="test")


@pytest.fixture(scope="module")
def prepared() -> fx.GraphModule:
    return prepare(warmed(TinySlots()), PTQ, images(1, seed=1))


def test_every_convolution_becomes_integer_and_every_linear_stays_float(prepared: fx.GraphModule) -> None:
    assert not [m for m in prepared.modules() if isinstance(m, nn.Conv2d)]
    assert len([m for m in prepared.modules() if isinstance(m, QuantConv2d)]) == 5
    assert len([m for m in prepared.modules() if isinstance(m, nn.Linear)]) == 2


def test_observing_graph_still_answers_what_the_float_model_does() -> None:
    model = warmed(Chain())
    batch = images(2, seed=3)
    with torch.no_grad():
        torch.testing.assert_close(prepare(model, PTQ, batch)(batch), model(batch), atol=1e-4, rtol=1e-4)


def test_both_sides_of_a_resize_share_one_grid(prepared: fx.GraphModule) -> None:
    (resize,) = (node for node in prepared.graph.nodes if node.target is F.interpolate)
    (nudge,), (after,) = resize.all_input_nodes, resize.users
    (before,) = nudge.all_input_nodes
    assert isinstance(prepared.get_submodule(str(nudge.target)), HalfUp)
    assert before.target == after.target
    assert isinstance(prepared.get_submodule(str(after.target)), ActivationQuantizer)


def test_convolution_and_its_relu_have_one_grid_behind_the_relu() -> None:
    graph = prepare(warmed(Chain()), PTQ, images(1, seed=1))
    (relu,) = (node for node in graph.graph.nodes if node.target == "stem.2")
    assert relu.all_input_nodes[0].target == "stem.0"
    assert {str(user.target) for user in relu.users} == {"grid_stem_2"}


def test_scalars_are_not_put_on_grids(prepared: fx.GraphModule) -> None:
    """Coremltools 9 reads an int8 scalar constant back with wrap-around."""
    scalar_ops = [
        n for n in prepared.graph.nodes if n.op == "call_function" and any(isinstance(a, float) for a in n.args)
    ]
    grids = [n for n in prepared.graph.nodes if isinstance_of(prepared, n, ActivationQuantizer)]
    rounded = {source for node in grids for source in node.all_input_nodes}
    assert scalar_ops
    normalised = [node for node in scalar_ops if node in rounded]
    assert [node.name for node in normalised] == ["truediv"]  # the image on its way into the first convolution


def test_added_position_map_is_kept_as_integers_alone() -> None:
    """Half a step of 8 bits over the map's range is the largest error that rounding may make."""
    model = warmed(TinySlots())
    graph = prepare(model, PTQ, images(1, seed=1))
    constant = graph.get_submodule("constant_position")
    assert isinstance(constant, QuantConstant)
    assert not [
        name
        for name, tensor in graph.state_dict().items()
        if tensor.shape[1:] == (16, 8, 8) and tensor.is_floating_point()
    ]
    position = model.get_buffer("position")
    half_step = float(position.max() - position.min()) / 255 / 2
    assert (constant() - position).abs().max() < 1.02 * half_step


def test_float_modules_of_a_recipe_stay_float() -> None:
    graph = prepare(warmed(TinySlots()), Recipe(name="test", float_modules=("embed", "gate.*")), images(1, seed=1))
    assert [name for name, m in graph.named_modules() if isinstance(m, nn.Conv2d)] == ["gate.1", "embed"]


def test_recipe_that_makes_nothing_integer_is_refused() -> None:
    with pytest.raises(CheckError, match="made no layer of TinySlots integer"):
        prepare(warmed(TinySlots()), Recipe(name="test", float_modules=("*",)), images(1, seed=1))


def test_convolution_that_is_called_twice_is_refused() -> None:
    conv = nn.Conv2d(3, 3, 1)
    with pytest.raises(InputError, match="called twice"):
        prepare(nn.Sequential(conv, nn.ReLU(), conv), PTQ, images(1, seed=1))


def test_names_depend_on_the_class_and_recipe_alone(prepared: fx.GraphModule) -> None:
    other = prepare(warmed(TinySlots(), seed=7), PTQ, images(1, seed=4))
    assert list(other.state_dict()) == list(prepared.state_dict())


def test_recipes_are_found_by_their_names() -> None:
    assert all(name == recipe.name for name, recipe in RECIPES.items())


def isinstance_of(graph: fx.GraphModule, node: fx.Node, kind: type[nn.Module]) -> bool:
    return node.op == "call_module" and isinstance(graph.get_submodule(str(node.target)), kind)


def test_linears_become_integer_where_the_recipe_says_so() -> None:
    graph = prepare(warmed(TinySlots()), Recipe(name="test", linears=True), images(1, seed=1))
    assert not [m for m in graph.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert [name for name, m in graph.named_modules() if isinstance(m, QuantLinear)] == ["queries", "classify"]


def test_ternary_spares_depthwise_and_first_layers_and_those_named() -> None:
    recipe = Recipe(name="test", ternary="twn", int8_modules=("last",))
    graph = prepare(warmed(Chain()), recipe, images(1, seed=1))
    high = {name: m.grid.high for name, m in graph.named_modules() if isinstance(m, QuantConv2d)}
    assert high == {"stem.0": 127, "depthwise.0": 127, "pointwise": 1, "last": 127}


def test_the_smallest_layers_keep_8_bits_up_to_a_share_of_the_weights() -> None:
    """A share that the two smallest just fill spares both, and a hair less one of them."""
    recipe = Recipe(name="test", ternary="twn", linears=True)

    def ternary(share: float) -> dict[str, int]:
        graph = prepare(warmed(TinySlots()), replace(recipe, int8_share=share), images(1, seed=1))
        layers = {name: m for name, m in graph.named_modules() if isinstance(m, (QuantConv2d, QuantLinear))}
        return {name: layer.weight.numel() for name, layer in layers.items() if layer.grid.high == 1}

    sizes = ternary(0.0)
    first, second, *_ = sorted(sizes.values())
    share = (first + second) / sum(sizes.values())
    assert sorted(ternary(share + 1e-6).values()) == sorted(sizes.values())[2:]
    assert sorted(ternary(share - 1e-6).values()) == sorted(sizes.values())[1:]


def test_weights_alone_leave_activations_float() -> None:
    graph = prepare(warmed(Chain()), Recipe(name="test", activation_bits=0), images(1, seed=1))
    assert not [m for m in graph.modules() if isinstance(m, ActivationQuantizer)]
    assert len([m for m in graph.modules() if isinstance(m, QuantConv2d)]) == 4
