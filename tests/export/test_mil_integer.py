"""Integer layers of a Core ML program against integer arithmetic in numpy, bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeseg.export.mil_interpreter import MilProgram

ct = pytest.importorskip("coremltools", reason="pip install 'edgeseg[coreml]'")

CHANNELS, OUT, SIDE = 96, 128, 48
STEP_IN, STEP_OUT, ZERO_IN, ZERO_OUT = np.float32(0.0731), np.float32(0.0511), 3, -7
RNG = np.random.default_rng(0)
CODES = RNG.integers(-128, 128, (1, CHANNELS, SIDE, SIDE)).astype(np.int8)
WEIGHT = RNG.integers(-127, 128, (OUT, CHANNELS, 1, 1)).astype(np.int8)
WEIGHT_STEP = RNG.uniform(0.0005, 0.002, OUT).astype(np.float32)
BIAS = RNG.integers(-20000, 20000, OUT)


def saved(path: Path, clamp: Callable[[Any, Any], Any], *, bias_shift: float = 0.0) -> Path:
    """A convolution of constants between two grids, with `clamp(builder, its output)` before the second one."""
    from coremltools.converters.mil import Builder

    bias = ((BIAS + bias_shift) * (STEP_IN * WEIGHT_STEP).astype(np.float64)).astype(np.float32)
    source = {"scale": STEP_IN, "zero_point": np.int8(ZERO_IN)}
    target = {"scale": STEP_OUT, "zero_point": np.int8(ZERO_OUT)}

    @Builder.program(input_specs=[Builder.TensorSpec(shape=CODES.shape)], opset_version=ct.target.iOS18)
    def program(x: Any) -> Any:
        integers = Builder.quantize(input=x, output_dtype="int8", **source)
        weights = Builder.constexpr_blockwise_shift_scale(data=WEIGHT, scale=WEIGHT_STEP.reshape(-1, 1, 1, 1))
        y = Builder.conv(x=Builder.dequantize(input=integers, **source), weight=weights, bias=bias)
        made = Builder.quantize(input=clamp(Builder, y), output_dtype="int8", **target)
        return Builder.dequantize(input=made, **target)

    model = ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
    )
    model.save(str(path))
    return path


def answer(path: Path, **options: Any) -> NDArray[np.int64]:
    """The program's integers for the image of `CODES`."""
    image = (CODES.astype(np.float32) - ZERO_IN) * STEP_IN
    (result,) = MilProgram(path, **options).run(image).values()
    return np.asarray((result / STEP_OUT).round().astype(np.int64) + ZERO_OUT)


def expected(low: int = -128, high: int = 127) -> NDArray[np.int64]:
    """int64 sums, one float32 factor, one product, one rounding."""
    total = np.einsum("oc,chw->ohw", WEIGHT[:, :, 0, 0].astype(np.int64), CODES[0].astype(np.int64) - ZERO_IN)
    total += BIAS.reshape(-1, 1, 1)
    factor = (STEP_IN * WEIGHT_STEP / STEP_OUT).reshape(-1, 1, 1)
    return (np.round(total.astype(np.float32) * factor).astype(np.int64) + ZERO_OUT).clip(low, high)[None]


CLAMPS: dict[str, tuple[Callable[[Any, Any], Any], tuple[int, int]]] = {
    "none": (lambda mb, y: y, (-128, 127)),
    "relu": (lambda mb, y: mb.relu(x=y), (ZERO_OUT, 127)),
    "relu6": (lambda mb, y: mb.relu6(x=y), (ZERO_OUT, round(6 / STEP_OUT) + ZERO_OUT)),
    "clip": (lambda mb, y: mb.clip(x=y, alpha=-2.0, beta=3.0), (-39 + ZERO_OUT, 59 + ZERO_OUT)),
}


@pytest.mark.parametrize("name", CLAMPS)
def test_a_layer_between_grids_is_computed_in_integers(name: str, tmp_path: Path) -> None:
    clamp, limits = CLAMPS[name]
    assert np.array_equal(answer(saved(tmp_path / "a.mlpackage", clamp)), expected(*limits))


def test_in_floating_point_some_integers_tip(tmp_path: Path) -> None:
    """Why it is done: run operator by operator, a few of 295,000 integers are others."""
    path = saved(tmp_path / "a.mlpackage", lambda mb, y: y)
    differ = answer(path, as_if_half=lambda step: False) != expected()
    assert 0 < differ.sum() < 100


def test_a_layer_whose_bias_is_on_no_grid_stays_in_floating_point(tmp_path: Path) -> None:
    """Half a step of the sum is another integer in about one of a thousand sums."""
    path = saved(tmp_path / "a.mlpackage", lambda mb, y: y, bias_shift=0.5)
    assert np.array_equal(answer(path), answer(path, as_if_half=lambda step: False))
