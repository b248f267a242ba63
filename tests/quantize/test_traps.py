"""What runtimes get silently wrong, and how the graph keeps them from it; docs/quantization.md lists them."""

from __future__ import annotations

import torch
from torch import fx, nn
from torch.nn import functional as F

from edgeseg.export.program import _give_each_user_its_dequantize
from edgeseg.models import build_model
from edgeseg.quantize import ActivationQuantizer, QuantLinear, Recipe, calibrate, deploy, prepare
from tests.models.two_pictures import IS_THING, config
from tests.quantize.tiny import SIZE, Chain, TinySlots, images, warmed

PTQ = Recipe(name="test")
FULL = Recipe(name="test", linears=True)


class Joined(nn.Module):
    """Two convolutions, concatenated for a third; hard-swish between."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.last = nn.Conv2d(8, 4, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        both = torch.cat([self.left(image), self.right(image)], 1)
        return F.hardswish(self.last(both))


def prepared(model: nn.Module, recipe: Recipe = PTQ) -> fx.GraphModule:
    graph = prepare(model, recipe, images(1, seed=1))
    with torch.no_grad():
        calibrate(graph, [images(8, seed=2)])
    return graph


def grid_of(graph: fx.GraphModule, node: fx.Node) -> nn.Module:
    assert node.op == "call_module"
    return graph.get_submodule(str(node.target))


def test_means_of_pixels_need_no_wider_range_than_the_pixels() -> None:
    """Of sums the largest segment's decides the range, and 8 bits leave nothing of small ones."""
    steps = {}
    for update in ("sum", "mean"):
        torch.manual_seed(0)
        model = warmed(build_model(config("kmax", kmeans_update=update), IS_THING, SIZE).deployable())
        graph = prepared(model, FULL)
        (told,) = graph.get_submodule("head.layers.1.update_out.0").input_grid
        steps[update] = float(told.scale) / float(graph.get_submodule("grid_head_layers_1_value_0").scale)
    assert steps["mean"] < 1.05
    assert steps["sum"] > 10


def test_all_that_is_concatenated_shares_one_grid() -> None:
    graph = prepared(Joined())
    (join,) = (node for node in graph.graph.nodes if node.target is torch.cat)
    grids = {grid_of(graph, source) for source in join.all_input_nodes} | {grid_of(graph, next(iter(join.users)))}
    assert len(grids) == 1
    assert isinstance(grids.pop(), ActivationQuantizer)


def test_hard_swish_is_spelt_in_the_order_that_stays_float() -> None:
    """x / 6 first, then times relu6(x + 3); LiteRT fuses the other orders between two grids."""
    graph = prepared(Joined())
    assert not [node for node in graph.graph.nodes if node.target is F.hardswish]
    (clamp,) = (node for node in graph.graph.nodes if node.target is F.relu6)
    (product,) = clamp.users
    other = next(source for source in product.all_input_nodes if source is not clamp)
    assert other.args[1] == 1 / 6
    values = torch.linspace(-5, 5, 101)
    torch.testing.assert_close(values / 6 * F.relu6(values + 3), F.hardswish(values))


def test_no_reshape_stands_between_an_integer_linear_and_its_grid() -> None:
    graph = prepared(warmed(TinySlots()), FULL)
    linears = [
        node
        for node in graph.graph.nodes
        if node.op == "call_module" and isinstance(graph.get_submodule(str(node.target)), QuantLinear)
    ]
    assert len(linears) == 2
    for node in linears:
        assert isinstance(grid_of(graph, node.all_input_nodes[0]), ActivationQuantizer)


def test_no_observer_runs_while_training() -> None:
    """Ranges are measured once: images of another range change no grid, and nothing is kept of them."""
    graph = prepared(warmed(TinySlots()))
    before = {name: tensor.clone() for name, tensor in graph.state_dict().items()}
    graph.train()(10 * images(4, seed=9))
    assert all(torch.equal(tensor, before[name]) for name, tensor in graph.state_dict().items())
    quantizers = [module for module in graph.modules() if isinstance(module, ActivationQuantizer)]
    assert quantizers
    assert not [kept for quantizer in quantizers for kept in quantizer._samples]


def test_folded_norms_hold_running_statistics_whatever_the_batch() -> None:
    """Closed form: gamma (x - mean) / sqrt(variance + eps) + beta of the running ones; in train mode, in any batch."""
    conv, norm = nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4)
    with torch.no_grad():
        norm.running_mean.copy_(torch.tensor([1.0, -2.0, 0.0, 30.0]))  # type: ignore[union-attr]
        norm.running_var.copy_(torch.tensor([4.0, 0.25, 1.0, 9.0]))  # type: ignore[union-attr]
        norm.weight.copy_(torch.tensor([1.0, 2.0, -1.0, 0.5]))
        norm.bias.copy_(torch.tensor([0.0, 1.0, 2.0, 3.0]))
    graph = prepare(nn.Sequential(conv, norm, nn.ReLU()), PTQ, images(1, seed=1)).train()
    image = images(3, seed=4)
    with torch.no_grad():
        raw = conv(image)
        shape = (1, 4, 1, 1)
        mean, variance = (torch.as_tensor(value).view(shape) for value in (norm.running_mean, norm.running_var))
        wanted = norm.weight.view(shape) * (raw - mean) / torch.sqrt(variance + 1e-5) + norm.bias.view(shape)
        torch.testing.assert_close(graph(image), wanted.relu(), rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(graph(image[:1]), graph(image)[:1], rtol=1e-5, atol=1e-4)  # sums in another order


def test_every_user_of_an_integer_gets_a_dequantize_of_its_own() -> None:
    """The stem's output goes to a depthwise convolution and to a sum."""
    deployed = deploy(prepared(warmed(Chain())))
    image = images(1, seed=5)
    module = torch.export.export(deployed, (image,)).module()
    assert isinstance(module, fx.GraphModule)
    dequantize = torch.ops.quantized_decomposed.dequantize_per_tensor.default

    def most_users() -> int:
        return max(len(node.users) for node in module.graph.find_nodes(op="call_function", target=dequantize))

    assert most_users() == 2
    _give_each_user_its_dequantize(module)
    assert most_users() == 1
    with torch.no_grad():
        assert torch.equal(module(image), deployed(image))


def test_deployed_layers_carry_no_latent_weights() -> None:
    deployed = deploy(prepared(warmed(TinySlots()), FULL))
    floats = {name for name, tensor in deployed.state_dict().items() if tensor.is_floating_point() and tensor.dim() > 1}
    assert not floats
    assert tuple(deployed(torch.zeros(1, 3, *SIZE)).mask_logits.shape) == (1, 4, 8, 8)
