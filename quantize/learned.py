"""Steps of integer grids that training moves."""

from __future__ import annotations

import math
from typing import Any

import torch


def learned_rounding(
    x: torch.Tensor, step: torch.Tensor, zero_point: torch.Tensor, *, low: int, high: int
) -> torch.Tensor:
    """Rounds onto a grid whose step learns too (Learned Step Size Quantization, Esser et al. 2020, eq. 1 to 5).

    The values are those of torch's fake quantization. `x` learns where it is on the grid. A value on the grid pulls its
    step by round(x / step) - x / step, one beyond an end by that end; the sum is scaled by 1 / sqrt(values x levels).

    Args:
        x: (O, ...) weights with a step per channel, or (B, ...) activations with one.
        step: (O,) or () float32, above 0.
        zero_point: Integer that stands for 0.0, int32 like `step`.
        low: Least integer.
        high: Largest integer.
    """
    rounded: torch.Tensor = _LearnedRounding.apply(x, step, zero_point, low, high)  # type: ignore[no-untyped-call]
    return rounded


def pass_gradient(latent: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """`value`, bit by bit, with the gradient of `latent` (straight-through; Bengio et al. 2013)."""
    passed: torch.Tensor = _PassGradient.apply(latent, value)  # type: ignore[no-untyped-call]
    return passed


class _LearnedRounding(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, step: torch.Tensor, zero_point: torch.Tensor, low: int, high: int
    ) -> torch.Tensor:
        if step.dim():
            rounded = torch.fake_quantize_per_channel_affine(x, step, zero_point, 0, low, high)
        else:
            rounded = torch.fake_quantize_per_tensor_affine(x, step, zero_point, low, high)
        ctx.save_for_backward(x, step, zero_point, rounded)
        ctx.low, ctx.high = low, high
        return rounded

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, step, zero_point, rounded = ctx.saved_tensors
        wide = (-1,) + (1,) * (x.dim() - 1) if step.dim() else ()
        first, last = ((end - zero_point) * step for end in (ctx.low, ctx.high))
        inside = (x > first.view(wide)) & (x < last.view(wide))
        pull = gradient * torch.where(inside, rounded - x, rounded)  # in units of the step
        sums = pull.flatten(1).sum(1) if step.dim() else pull.sum()
        levels = ctx.high - ctx.low if ctx.low + ctx.high < 0 else ctx.high  # activations' grids lie to one side
        share = 1 / math.sqrt(x[0].numel() * levels)
        return gradient * inside, sums / step * share, None, None, None


class _PassGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, latent: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        del ctx, latent
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        del ctx
        return gradient, None
