"""Operators of the ML program interpreter, held to values worked out by hand from the MIL specification."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from edgeseg.export.mil_interpreter import _OPERATORS


def run(name: str, **inputs: Any) -> Any:
    return _OPERATORS[name](inputs)


X = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
POOL = {
    "kernel_sizes": torch.tensor([3, 3]),
    "strides": torch.tensor([1, 1]),
    "pad_type": "custom",
    "pad": torch.tensor([1, 1, 1, 1]),
    "ceil_mode": torch.tensor(False),
}


def test_average_pool_counts_padding_or_not() -> None:
    """Every 3 x 3 window of a padded 2 x 2 map holds all four values: 12 / 4 without the padding, 12 / 9 with it."""
    without = run("avg_pool", x=X, exclude_padding_from_average=torch.tensor(True), **POOL)
    counted = run("avg_pool", x=X, exclude_padding_from_average=torch.tensor(False), **POOL)
    assert torch.equal(without, torch.full((1, 1, 2, 2), 3.0))
    assert counted.flatten().tolist() == pytest.approx([12 / 9] * 4)


def test_max_pool_pads_with_what_never_wins() -> None:
    assert torch.equal(run("max_pool", x=-X, **POOL), torch.full((1, 1, 2, 2), -1.0))


def test_top_k_gives_the_largest_first_and_the_first_of_equals() -> None:
    x = torch.tensor([[3.0, 9.0, 3.0, 7.0]])
    values, indices = run("topk", x=x, k=torch.tensor(3), axis=torch.tensor(1), ascending=torch.tensor(False))
    assert values.tolist() == [[9.0, 7.0, 3.0]]
    assert indices.tolist() == [[1, 3, 0]]
    values, indices = run("topk", x=x, k=torch.tensor(2), axis=torch.tensor(-1), ascending=torch.tensor(True))
    assert (values.tolist(), indices.tolist()) == ([[3.0, 3.0]], [[0, 2]])
    assert indices.dtype == torch.int32


def test_gather_along_an_axis_takes_one_entry_for_each_index() -> None:
    x = torch.tensor([[10, 11, 12], [20, 21, 22]])
    indices = torch.tensor([[2, 0], [1, 1]], dtype=torch.int32)
    assert run("gather_along_axis", x=x, indices=indices, axis=torch.tensor(1)).tolist() == [[12, 10], [21, 21]]


def test_quantize_rounds_halves_to_even_and_saturates() -> None:
    x = torch.tensor([0.5, 1.5, 2.5, -0.5, 1000.0, -1000.0])
    got = run("quantize", input=x, scale=torch.tensor(1.0), zero_point=torch.tensor(3), output_dtype="int8")
    assert got.tolist() == [3, 5, 5, 3, 127, -128]
    assert run("dequantize", input=got, scale=torch.tensor(0.5), zero_point=torch.tensor(3)).tolist() == [
        0.0, 1.0, 1.0, 0.0, 62.0, -65.5,
    ]  # fmt: skip


def test_palette_weights_are_looked_up() -> None:
    """One table of two entries for two rows: indices 0, 1 -> -0.5, 0.25."""
    lut = torch.tensor([-0.5, 0.25]).reshape(1, 1, 2, 1)
    indices = torch.tensor([[0, 1], [1, 1]], dtype=torch.uint8)
    assert run("constexpr_lut_to_dense", lut=lut, indices=indices).tolist() == [[-0.5, 0.25], [0.25, 0.25]]


def test_convolution_pads_as_the_program_says() -> None:
    """A 1 x 3 kernel of ones over (1, 2, 3) with one column of padding left alone: 0+1+2, 1+2+3."""
    got = run(
        "conv",
        x=torch.tensor([[[[1.0, 2.0, 3.0]]]]),
        weight=torch.ones(1, 1, 1, 3),
        strides=torch.tensor([1, 1]),
        dilations=torch.tensor([1, 1]),
        groups=torch.tensor(1),
        pad_type="custom",
        pad=torch.tensor([0, 0, 1, 0]),
    )
    assert got.tolist() == [[[[3.0, 6.0]]]]
