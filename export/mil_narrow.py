"""The summing operators of MIL with half-precision accumulators.

Apple does not publish how wide its Neural Engine sums. Here each exact product is added to one running half-precision
sum, the order whose rounding grows fastest with the number of terms: a bound for judging, not a model of a device.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeseg.export.mil_operators import Inputs, ints, pads


def to_half(x: Tensor) -> Tensor:
    """The nearest half-precision values (ties to even, infinity past 65504), kept as float32."""
    return x.half().float()


def _sum_products(x: Tensor, y: Tensor) -> Tensor:
    """(..., M, K) and (..., K, N) -> (..., M, N), rounded after each of the K terms."""
    total = torch.zeros(1)
    for term in range(x.shape[-1]):
        total = to_half(total + x[..., :, term : term + 1] * y[..., term : term + 1, :])
    return total


def _add_bias(total: Tensor, bias: Tensor | None, shape: list[int]) -> Tensor:
    return total if bias is None else to_half(total + bias.view(shape))


def _conv(i: Inputs) -> Tensor:
    weight, groups = i["weight"], int(i["groups"])
    x = F.pad(i["x"], pads(i, 2))  # (B, C, H, W)
    kernel, strides, dilations = weight.shape[2:], ints(i["strides"]), ints(i["dilations"])
    size = [(x.shape[2 + a] - dilations[a] * (kernel[a] - 1) - 1) // strides[a] + 1 for a in (0, 1)]
    columns = F.unfold(x, kernel, tuple(dilations), 0, tuple(strides))  # (B, C k k, P)
    columns = columns.view(len(x), groups, -1, columns.shape[2])
    total = _sum_products(weight.reshape(groups, len(weight) // groups, -1), columns)  # (B, groups, O / groups, P)
    return _add_bias(total.reshape(len(x), len(weight), *size), i.get("bias"), [1, -1, 1, 1])


def _linear(i: Inputs) -> Tensor:
    return _add_bias(_sum_products(i["x"], i["weight"].T), i.get("bias"), [-1])


def _matmul(i: Inputs) -> Tensor:
    x = i["x"].transpose(-1, -2) if bool(i["transpose_x"]) else i["x"]
    y = i["y"].transpose(-1, -2) if bool(i["transpose_y"]) else i["y"]
    return _sum_products(x, y)


def _reduce_sum(i: Inputs) -> Tensor:
    x: Tensor = i["x"]
    axes = sorted(axis % x.ndim for axis in ints(i["axes"])) if "axes" in i else list(range(x.ndim))
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    rows = x.permute(*kept, *axes).reshape(*(x.shape[axis] for axis in kept), 1, -1)  # (..., 1, terms)
    total = _sum_products(rows, torch.ones(rows.shape[-1], 1))[..., 0, 0]
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    return total.view(shape) if bool(i.get("keep_dims", False)) else total


def _reduce_mean(i: Inputs) -> Tensor:
    """Sums, then divides: past 65504 the sum is infinite."""
    total = _reduce_sum(i)
    x: Tensor = i["x"]
    return total * (total.numel() / x.numel())


NARROW: dict[str, Callable[[Inputs], Tensor]] = {
    "conv": _conv,
    "linear": _linear,
    "matmul": _matmul,
    "reduce_mean": _reduce_mean,
    "reduce_sum": _reduce_sum,
}
"""Operators whose result depends on the accumulator's width, for float16 results."""
