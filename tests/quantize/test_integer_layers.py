from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import fx, nn

from edgeseg.quantize import ActivationQuantizer, QuantConv2d, Recipe, calibrate, deploy, prepare
from tests.quantize.tiny import Chain, images, warmed

PTQ = Recipe(name="test")


def quantizer(scale: float, zero_point: int) -> ActivationQuantizer:
    made = ActivationQuantizer()
    made.scale.fill_(scale)
    made.zero_point.fill_(zero_point)
    return made


def test_rounding_goes_to_the_even_step_and_saturates() -> None:
    made = quantizer(0.5, 0)
    made.set_phase("train")
    values = torch.tensor([0.25, 0.75, -0.25, 100.0, -100.0])
    assert made(values).tolist() == [0.0, 1.0, 0.0, 63.5, -64.0]


def test_gradient_passes_inside_the_range_and_stops_outside() -> None:
    made = quantizer(0.5, 0)
    made.set_phase("train")
    values = torch.tensor([0.3, 100.0], requires_grad=True)
    made(values).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("storage", ["int8", "uint8"])
def test_deployed_quantizer_rounds_like_the_trained_one(storage: str) -> None:
    made = quantizer(0.037, -17)
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 4
    made.set_phase("train")
    trained = made(values)
    made.set_phase("deploy")
    made.set_storage(storage)
    assert torch.equal(made(values), trained)


def test_calibration_of_positive_values_starts_the_grid_at_zero() -> None:
    made = ActivationQuantizer()
    made(torch.linspace(0, 2.55, 4096))
    made.freeze()
    assert int(made.zero_point) == -128
    assert float(made.scale) == pytest.approx(0.01, rel=0.02)


def test_calibration_gives_up_a_lone_extreme_for_finer_steps() -> None:
    generator = torch.Generator().manual_seed(0)
    made = ActivationQuantizer()
    made(torch.tensor([12.0, -4.0]))
    for _ in range(50):
        made(torch.randn(4000, generator=generator).clamp(-4, 4))
    made.freeze()
    assert float(made.scale) < 16.0 / 255 * 0.9


def test_calibration_without_data_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="saw no data"):
        ActivationQuantizer().freeze()


def test_bias_is_a_whole_number_of_input_steps_times_weight_steps() -> None:
    conv = nn.Conv2d(1, 1, 1)
    nn.init.constant_(conv.weight, 1.27)  # step 0.01
    nn.init.constant_(conv.bias, 0.0123)
    layer = QuantConv2d(conv, quantizer(0.5, 0))  # bias step 0.005
    layer.set_phase("train")
    assert layer(torch.zeros(1, 1, 1, 1)).item() == pytest.approx(0.010, abs=1e-7)


def test_bias_of_a_channel_without_weight_fits_the_accumulator() -> None:
    conv = nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([1.0, 1e-12]).reshape(2, 1, 1, 1))
        conv.bias.fill_(3.0)
    layer = QuantConv2d(conv, quantizer(0.01, 0))
    steps = 3.0 / (0.01 * layer.weight_scale().double())
    assert float(steps.max()) < 2**31
    layer.set_phase("deploy")
    assert layer(torch.zeros(1, 1, 1, 1))[0, 1].item() == pytest.approx(3.0, rel=1e-6)


@pytest.mark.parametrize("storage", ["int8", "float_qdq"])
def test_deployed_graph_equals_the_trained_one_bit_by_bit(storage: str) -> None:
    prepared = chain()
    deployed = deploy(prepared)
    for module in deployed.modules():
        if isinstance(module, QuantConv2d):
            module.set_weight_storage(storage)
    batch = images(2, seed=9)
    assert torch.equal(deployed(batch), prepared(batch))


def test_chain_equals_integer_arithmetic_bit_by_bit() -> None:
    """Against int32 accumulators and one rounding per layer, written in numpy below."""
    prepared = chain()
    batch = images(4, seed=5)
    got = prepared(batch)
    scale, zero_point = grid(prepared, "grid_last")
    assert np.array_equal(np.round(got.detach().numpy() / scale) + zero_point, integer_chain(prepared, batch.numpy()))


def chain() -> fx.GraphModule:
    model = warmed(Chain())
    prepared = prepare(model, PTQ, images(1, seed=0))
    with torch.no_grad():
        calibrate(prepared, [images(16, seed=1)])
    return prepared


def integer_chain(model: fx.GraphModule, batch: NDArray[np.float32]) -> NDArray[np.int64]:
    scale, zero_point = grid(model, "grid_image")
    image = np.clip(np.round(batch.astype(np.float64) / scale) + zero_point, -128, 127).astype(np.int64)
    stem = integer_conv(model, "stem.0", image, "grid_image", "grid_stem_2")
    depthwise = integer_conv(model, "depthwise.0", stem, "grid_stem_2", "grid_depthwise_0")
    pointwise = integer_conv(model, "pointwise", depthwise, "grid_depthwise_0", "grid_pointwise")
    (a, zero_a), (b, zero_b), (out, zero_out) = (grid(model, f"grid_{n}") for n in ("pointwise", "stem_2", "relu"))
    total = ((pointwise - zero_a) * a + (stem - zero_b) * b) / out
    summed = np.clip(np.round(np.maximum(total, 0)) + zero_out, -128, 127).astype(np.int64)
    return integer_conv(model, "last", summed, "grid_relu", "grid_last")


def integer_conv(
    model: fx.GraphModule, name: str, x: NDArray[np.int64], grid_in: str, grid_out: str
) -> NDArray[np.int64]:
    layer = model.get_submodule(name)
    assert isinstance(layer, QuantConv2d)
    weight, bias = (tensor.detach().double().numpy() for tensor in (layer.weight, layer.bias))
    step = np.abs(weight).max((1, 2, 3)).astype(np.float32).astype(np.float64) / 127
    (scale_in, zero_in), (scale_out, zero_out) = grid(model, grid_in), grid(model, grid_out)
    integer_weight = np.clip(np.round(weight / step[:, None, None, None]), -127, 127).astype(np.int64)
    integer_bias = np.round(bias / (scale_in * step)).astype(np.int64)
    outputs, _, kernel, _ = weight.shape
    (pad, _), (stride, _) = layer.padding, layer.stride
    x = np.pad(x - zero_in, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (2, 3))[:, :, ::stride, ::stride]
    if layer.groups == 1:
        accumulator = np.einsum("bchwij,ocij->bohw", windows, integer_weight)
    else:  # depthwise
        accumulator = np.einsum("bchwij,cij->bchw", windows, integer_weight[:, 0])
    accumulator += integer_bias.reshape(1, outputs, 1, 1)
    real = accumulator * (scale_in * step / scale_out).reshape(1, outputs, 1, 1)
    return np.clip(np.round(real) + zero_out, -128, 127).astype(np.int64)


def grid(model: fx.GraphModule, name: str) -> tuple[float, int]:
    found = model.get_submodule(name)
    assert isinstance(found, ActivationQuantizer)
    return float(found.scale), int(found.zero_point)
