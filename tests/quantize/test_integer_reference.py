"""The torch reference computes what integer engines do, and they do the same: bit by bit on a trained network."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import fx, nn
from torch.nn import functional as F

from edgeseg.data.sets import open_dataset
from edgeseg.data.street import make_street
from edgeseg.data.transforms import letterbox
from edgeseg.engine.checkpoint import load_checkpoint
from edgeseg.export.graph import DeployedGraph
from edgeseg.export.plan import Job
from edgeseg.export.program import Conversions, export_program
from edgeseg.export.reference import torch_answers
from edgeseg.export.runtimes import get_runtime
from edgeseg.quantize import (
    RECIPES,
    ActivationQuantizer,
    QuantConv2d,
    QuantLinear,
    Recipe,
    deploy,
    integer_reference,
    quantize,
)
from edgeseg.quantize.images import calibration_batches
from edgeseg.quantize.integer_reference import IntegerStep, SumStep
from edgeseg.quantize.modules import HalfUp
from tests.quantize.tiny import Chain, images, warmed

STREET = Path("remax-t-street")
steps = st.floats(0.0009765625, 0.5, width=32)


def grid(step: float, zero_point: int) -> ActivationQuantizer:
    made = ActivationQuantizer()
    made.scale.fill_(step)
    made.zero_point.fill_(zero_point)
    made.set_phase("deploy")
    return made


@settings(max_examples=60, deadline=None)
@given(steps, steps, st.integers(-128, 127), st.integers(-128, 127), st.integers(0, 2**16), st.booleans())
def test_a_layer_has_an_exact_sum_and_one_float32_factor(
    step_in: float, step_out: float, zero_in: int, zero_out: int, seed: int, has_relu: bool
) -> None:
    """Against numpy: int64 sum, float32(step_in * weight step / step_out), one product, one rounding."""
    rng = np.random.default_rng(seed)
    source, target = grid(step_in, zero_in), grid(step_out, zero_out)
    torch.manual_seed(seed)
    layer = QuantLinear(nn.Linear(24, 5), source)
    layer.set_phase("deploy")
    codes = rng.integers(-128, 128, (40, 24))
    x = torch.tensor((codes - zero_in).astype(np.float32)) * source.scale
    got = IntegerStep(layer, target, (0.0 if has_relu else -np.inf, np.inf))(x)

    weight, bias = layer.weight_int8.numpy().astype(np.int64), layer.bias_int32.numpy().astype(np.int64)
    total = (codes - zero_in) @ weight.T + bias
    factor = np.float32(step_in) * layer.weight_step.numpy() / np.float32(step_out)
    expected = np.round(total.astype(np.float32) * factor) + zero_out
    expected = expected.clip(max(-128, zero_out) if has_relu else -128, 127)
    assert np.array_equal((got / target.scale).round().numpy() + zero_out, expected)


def test_a_sum_too_large_for_float32_is_taken_in_float64() -> None:
    """1000 products of 255 and 127 pass 2**24; the least one counts."""
    linear = nn.Linear(1001, 1, bias=False)
    nn.init.ones_(linear.weight)
    with torch.no_grad():
        linear.weight[0, -1] = 1 / 127
    layer = QuantLinear(linear, grid(1.0, -128))
    layer.set_phase("deploy")
    step = IntegerStep(layer, grid(1.0, -128), (-np.inf, np.inf))
    assert step.dtype is torch.float64
    assert nn.functional.linear(torch.full((1, 1001), 255.0).double(), step.weight).item() == 255 * (127 * 1000 + 1)


@settings(max_examples=40, deadline=None)
@given(steps, steps, steps, st.integers(-128, 127))
def test_sums_are_the_exact_ones_but_next_to_half_way(first: float, second: float, out: float, zero: int) -> None:
    """Rounded from rational numbers; factors of 21 bits may choose otherwise within 2**-12 of a tie."""
    target = grid(out, zero)
    ratios = [Fraction(float(np.float32(step))) / Fraction(float(target.scale)) for step in (first, second)]
    if not 2**-10 <= max(ratios) < 2**8:
        return  # XNNPACK takes no others
    a, b = np.meshgrid(np.arange(-255, 256, 17), np.arange(-255, 256, 13))
    maps = [torch.tensor(n.astype(np.float32)) * np.float32(step) for n, step in ((a, first), (b, second))]
    got = SumStep((first, second), target, (-np.inf, np.inf))(*maps)
    codes = (got / target.scale).round().long().numpy()
    for code, left, right in zip(codes.ravel(), a.ravel(), b.ravel(), strict=True):
        exact = int(left) * ratios[0] + int(right) * ratios[1]
        if -128 < code + zero < 127:
            assert abs(exact - int(code)) <= Fraction(1, 2) + Fraction(max(1, abs(int(exact))), 2**12)


def test_resized_integers_round_ties_up() -> None:
    """Against sixteenths in whole numbers: floor(sum / 16 + 1/2), on an image of all pairs of neighbours."""
    quantizer = grid(0.037, -5)
    codes = torch.arange(-128, 128).repeat(4)[torch.randperm(1024, generator=torch.Generator().manual_seed(0))]
    x = ((codes + 5) * quantizer.scale).reshape(1, 1, 32, 32)
    nudge = HalfUp(quantizer)
    nudge.set_phase("deploy")
    enlarged = quantizer(F.interpolate(nudge(x), scale_factor=2.0, mode="bilinear", align_corners=False))
    padded = np.pad((codes + 5).reshape(32, 32).numpy(), 1, mode="edge")
    along = np.stack([3 * padded[1:-1] + padded[:-2], 3 * padded[1:-1] + padded[2:]], 1).reshape(64, 34)
    both = np.stack([3 * along[:, 1:-1] + along[:, :-2], 3 * along[:, 1:-1] + along[:, 2:]], 2).reshape(64, 64)
    assert np.array_equal((enlarged / quantizer.scale).round().numpy()[0, 0], (both + 8) // 16)
    assert ((both + 8) % 16 == 0).sum() > 100  # ties there were


class LearnedRows(nn.Module):
    """Learned rows into a layer, as queries are."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.randn(4, 3))
        self.conv = nn.Conv2d(3, 3, 1)
        self.linear = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.linear(self.rows.unsqueeze(0).expand(x.shape[0], -1, -1).flatten(0, 1))
        return self.conv(x).mean() + rows


def test_learned_rows_are_deployed_on_their_grid() -> None:
    """LiteRT's converter drops the rounding of a constant: it has to be rounded already."""
    model = LearnedRows().eval()
    recipe = Recipe(name="test", linears=True)
    deployed = deploy(quantize(model, recipe, calibration=[images(8, seed=0)]))
    rows = deployed.get_parameter("rows")
    assert not torch.equal(rows, model.rows)
    (quantizer,) = {m for n, m in deployed.named_modules() if n.startswith("grid_flatten")}
    assert torch.equal(quantizer(rows), rows)


def test_float_networks_come_back_as_they_are() -> None:
    model = warmed(Chain())
    assert integer_reference(model) is model


def test_what_an_export_switched_is_switched_back() -> None:
    """LiteRT's export leaves the nudge of resizes off; the reference has it."""
    deployed = trained_network([255 * torch.rand(2, 3, 128, 128)])
    x = 255 * torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(3))
    before = integer_reference(deployed)(x)
    for module in deployed.modules():
        if isinstance(module, (HalfUp, QuantConv2d, QuantLinear)):
            module.set_weight_storage("float_qdq")
    assert torch.equal(integer_reference(deployed)(x).mask_logits, before.mask_logits)


def trained_network(calibration: list[torch.Tensor]) -> fx.GraphModule:
    """The shipped street network with linears integer too, calibrated."""
    model = load_checkpoint(STREET).model().deployable()
    return deploy(quantize(model, replace(RECIPES["int8-full"], qat_steps=0), calibration=calibration))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    make_street(folder / "street", train=32, val=12, size=(128, 128), seed=7)
    return folder / "street"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["executorch", "litert", "onnx"])
def test_a_trained_network_gives_the_same_bits_everywhere(name: str, scenes: Path, tmp_path: Path) -> None:
    """Twelve scenes. XNNPACK's mask logits are torch's bit by bit; ONNX Runtime adds up float products in another order
    and sums of maps by other factors, which in rare images moves a step."""
    checkpoint = load_checkpoint(STREET)
    config, is_thing = checkpoint.config, [category.is_thing for category in checkpoint.categories]
    size, runtime = config.data.image_size, get_runtime(name)
    network = trained_network(calibration_batches(open_dataset(scenes, "train"), size, scenes))
    photos: list[NDArray[np.uint8]] = [letterbox(sample.image, size)[0] for sample in open_dataset(scenes, "val")]
    expected = torch_answers(network, photos, config=config.merge, is_thing=is_thing)
    path = tmp_path / f"network{runtime.suffix}"
    with Conversions(tmp_path, tmp_path, num_workers=1) as conversions:
        graph = DeployedGraph(network, merge="app", config=config.merge, is_thing=is_thing)
        job = Job(runtime, "int8-full", "int8-full", "app", path.name)
        conversions.submit(export_program(graph, runtime, size), job, path).result()
    predict = runtime.load(path)
    shares = []
    for golden in expected:
        assert golden.mask_logits is not None
        got = predict(golden.image[None])["mask_logits"][0]
        shares.append((got.argmax(0) == golden.mask_logits.argmax(0)).mean())
        if name != "onnx":
            assert np.array_equal(got, golden.mask_logits)
    assert np.mean(shares) >= 0.999
    assert np.median(shares) == 1.0
