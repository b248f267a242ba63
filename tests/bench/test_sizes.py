"""The sizes' table of a tiny network, its ternary form beside its float one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeseg.bench.sizes import measure, table
from edgeseg.config import Config, DataConfig
from tests.quantize.tiny import SIZE, TinySlots, warmed


@pytest.mark.slow
def test_every_form_is_weighed_beside_its_float_one() -> None:
    pytest.importorskip("onnxscript", reason="pip install 'edgeseg[onnx]'")
    config = replace(Config(), data=DataConfig(image_size=SIZE))
    found = list(measure(warmed(TinySlots()), config, 2, (("onnx", "float32"), ("onnx-small", "ternary"))))
    assert [(row.form, row.precision) for row in found] == [
        ("onnx", "float32"),
        ("onnx-small", "ternary"),
        ("weights.safetensors", "float32"),
        ("weights.safetensors", "ternary"),
        ("weights.safetensors, edgeseg pack", "ternary"),
    ]
    plain, small, state, base3, packed = found
    assert (plain.share, state.share) == (1.0, 1.0)
    assert small.share == small.bytes / plain.bytes < 1
    assert packed.bytes < base3.bytes < state.bytes
    assert table(found).splitlines()[2] == f"| onnx | float32 | {plain.bytes:,} | 1.000 |"
