"""The layers that kernels are timed on, and that all kernels compute the same."""

from __future__ import annotations

import numpy as np
import pytest

import edgeseg.bench.ternary_speed as speed
from edgeseg.bench.ternary_speed import Layer, largest_layers, time_layer
from edgeseg.config import Config, DataConfig, ModelConfig
from edgeseg.structures import CheckError


def test_layers_are_the_largest_of_the_network_each_shape_once() -> None:
    config = Config(data=DataConfig(image_size=(64, 64)), model=ModelConfig(num_queries=8))
    layers = largest_layers(config, 5)
    assert layers == sorted(set(layers), reverse=True)
    assert [layer.macs for layer in layers] == [
        layer.num_inputs * layer.num_outputs * layer.side**2 for layer in layers
    ]


def test_all_forms_compute_the_same_and_take_time() -> None:
    pytest.importorskip("onnxruntime", reason="pip install 'edgeseg[onnx]'")
    times = time_layer(Layer(40 * 24 * 16, 40, 24, 4), calls=2)
    assert list(times) == ["int8", "4 bits", "2 bits"]
    assert min(times.values()) > 0


def test_a_form_that_computes_something_else_is_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="pip install 'edgeseg[onnx]'")
    pack = speed.pack_bits
    monkeypatch.setattr(speed, "pack_bits", lambda values, bits: np.roll(pack(values, bits), 1))
    with pytest.raises(CheckError, match=r"MatMulNBits with 4 bits .* computes something else"):
        time_layer(Layer(64 * 24 * 16, 64, 24, 4), calls=1)
