"""Programs of coremltools' builder, run by the interpreter; expectations from the definition of half precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeseg.export.mil_interpreter import MilProgram
from edgeseg.structures import InputError

ct = pytest.importorskip("coremltools", reason="pip install 'edgeseg[coreml]'")


def saved(path: Path, body: Callable[[Any, Any], Any], size: int, *, half: bool = True) -> Path:
    """An .mlpackage whose program is `body(builder, image)` of a (1, 3, size, size) image."""
    from coremltools.converters.mil import Builder

    @Builder.program(input_specs=[Builder.TensorSpec(shape=(1, 3, size, size))], opset_version=ct.target.iOS17)
    def program(image: Any) -> Any:
        return body(Builder, image)

    precision = ct.precision.FLOAT16 if half else ct.precision.FLOAT32
    model = ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS17,
        compute_precision=precision,
        outputs=[ct.TensorType(dtype=np.float32)],
        skip_model_load=True,
    )
    model.save(str(path))
    return path


def run(program: MilProgram, value: float, size: int, arithmetic: Any) -> Any:
    image = np.full((1, 3, size, size), value, np.float32)
    (result,) = program.run(image, arithmetic=arithmetic).values()
    return result


def test_a_value_typed_half_is_rounded_to_half(tmp_path: Path) -> None:
    """Between 2048 and 4096 halves are even numbers, ties go to the even significand; above 65504 there are none."""
    program = MilProgram(saved(tmp_path / "a.mlpackage", lambda mb, x: mb.mul(x=x, y=3.0), 2))
    assert run(program, 683.0, 2, "typed").max() == 2048.0  # 2049
    assert run(program, 683.0, 2, "exact").max() == 2049.0
    assert np.isinf(run(program, 30000.0, 2, "typed")).all()


def test_a_value_typed_float32_is_not_rounded(tmp_path: Path) -> None:
    program = MilProgram(saved(tmp_path / "a.mlpackage", lambda mb, x: mb.mul(x=x, y=3.0), 2, half=False))
    assert run(program, 683.0, 2, "typed").max() == 2049.0


def test_a_narrow_accumulator_stops_counting_where_half_does(tmp_path: Path) -> None:
    """The mean of 4096 ones: a half-precision sum stays at 2048, for 2049 rounds back to it."""

    def mean(mb: Any, x: Any) -> Any:
        return mb.reduce_mean(x=x, axes=[2, 3], keep_dims=True)

    program = MilProgram(saved(tmp_path / "a.mlpackage", mean, 64))
    assert run(program, 1.0, 64, "typed").ravel().tolist() == [1.0, 1.0, 1.0]
    assert run(program, 1.0, 64, "narrow").ravel().tolist() == [0.5, 0.5, 0.5]


def test_all_unknown_operators_are_named_with_their_counts(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.mlpackage", lambda mb, x: mb.atan(x=mb.erf(x=mb.erf(x=x))), 2)
    with pytest.raises(InputError, match=r"a\.mlpackage uses .* does not know: atan \(1\), erf \(2\); add them"):
        MilProgram(path)
