"""Operators of the ML program interpreter, held to values worked out by hand from the MIL specification."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from edgeseg.export.mil_narrow import NARROW
from edgeseg.export.mil_operators import OPERATORS


def run(name: str, **inputs: Any) -> Any:
    return OPERATORS[name](inputs)


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


def test_tables_of_ios_16_are_looked_up_by_bits_from_the_lowest() -> None:
    """Four entries, so two bits an index: 0b11_10_01_00 holds 0, 1, 2, 3, then one byte with the index 2."""
    lut, indices = torch.tensor([-1.0, 0.0, 0.5, 2.0]), torch.tensor([0b11100100, 0b10], dtype=torch.uint8)
    got = run("constexpr_lut_to_dense", lut=lut, indices=indices, shape=torch.tensor([5, 1]))
    assert got.tolist() == [[-1.0], [0.0], [0.5], [2.0], [0.5]]


def test_affine_weights_are_scaled_per_channel_without_wrapping_around() -> None:
    data = torch.tensor([[127, -128], [1, 2]], dtype=torch.int8)
    zero_point, scale = torch.tensor([-128, 0], dtype=torch.int8), torch.tensor([0.5, 2.0])
    got = run(
        "constexpr_affine_dequantize", quantized_data=data, scale=scale, zero_point=zero_point, axis=torch.tensor(0)
    )
    assert got.tolist() == [[127.5, 0.0], [2.0, 4.0]]


def narrow_sum(products: list[float]) -> float:
    """Numpy's own half precision: one rounding per term of a running sum, as the definition says."""
    total = np.float16(0)
    for product in products:
        total = np.float16(np.float32(total) + np.float32(product))
    return float(total)


def test_narrow_products_are_summed_term_by_term_in_half() -> None:
    """Against numpy's float16 type, row by row; the order of terms is channel, then kernel row, then kernel column."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(shape, generator=generator) * 30 for shape in ((1, 3, 40), (1, 40, 2)))
    no = torch.tensor(False)
    got = NARROW["matmul"]({"x": x, "y": y, "transpose_x": no, "transpose_y": no})
    wanted = [[narrow_sum((x[0, m] * y[0, :, n]).tolist()) for n in range(2)] for m in range(3)]
    assert got[0].tolist() == wanted
    assert not torch.equal(got, torch.bmm(x, y).half().float())  # float32 sums are other numbers
    linear = NARROW["linear"]({"x": x[0], "weight": y[0].T, "bias": torch.tensor([1.0, 2.0])})
    assert linear.tolist() == [[narrow_sum([a, b]) for a, b in zip(row, (1.0, 2.0), strict=True)] for row in wanted]


def test_narrow_convolution_pads_strides_and_groups_as_the_wide_one() -> None:
    """With small integers every sum is exact in half, so the two must be equal; torch's is the reference."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(-4, 5, (1, 4, 7, 6), generator=generator).float()
    weight = torch.randint(-3, 4, (6, 2, 3, 3), generator=generator).float()
    bias = torch.arange(6).float()
    inputs = {
        "x": x, "weight": weight, "bias": bias, "strides": torch.tensor([2, 1]), "dilations": torch.tensor([1, 2]),
        "groups": torch.tensor(2), "pad_type": "custom", "pad": torch.tensor([1, 1, 2, 2]),
    }  # fmt: skip
    wanted = F.conv2d(x, weight, bias, (2, 1), (1, 2), (1, 2), 2)
    assert torch.equal(NARROW["conv"](inputs), wanted)
    assert torch.equal(run("conv", **inputs), wanted)


def test_narrow_reductions_keep_the_axes_they_are_told_to() -> None:
    x = torch.arange(24.0).reshape(2, 3, 4)
    for axes in ([1], [0, 2], [-1]):
        inputs = {"x": x, "axes": torch.tensor(axes), "keep_dims": torch.tensor(True)}
        assert torch.equal(NARROW["reduce_sum"](inputs), x.sum(axes, keepdim=True))
        assert torch.equal(NARROW["reduce_sum"](inputs | {"keep_dims": torch.tensor(False)}), x.sum(axes))
    assert NARROW["reduce_mean"]({"x": x, "keep_dims": torch.tensor(False)}).item() == 11.5
