"""Grids of weights: which integers a layer's weights become, and how long a step is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from edgeseg.quantize.learned import learned_rounding, pass_gradient

TernaryRule = Literal["absmean", "twn"]


class WeightGrid(Protocol):
    """Integers -high..high times a step per output channel."""

    @property
    def high(self) -> int:
        """Largest integer."""

    def step(self, weight: torch.Tensor) -> torch.Tensor:
        """(O, ...) float32 -> (O,) step, above 0 except for a channel of zeros."""

    def rounded(self, weight: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """The weights on the grid, with a gradient."""

    def stored(self, step: torch.Tensor) -> torch.Tensor:
        """The steps as a container keeps them."""


@dataclass(frozen=True)
class Uniform:
    """All weights fit: the largest of a channel is its largest integer.

    Attributes:
        bits: 2 to 8.
    """

    bits: int = 8

    @property
    def high(self) -> int:
        """See WeightGrid."""
        return int(2 ** (self.bits - 1)) - 1

    def step(self, weight: torch.Tensor) -> torch.Tensor:
        """See WeightGrid."""
        return weight.detach().abs().flatten(1).amax(1) / self.high

    def rounded(self, weight: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """See WeightGrid."""
        zeros = torch.zeros_like(step, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, step, zeros, 0, -self.high, self.high)

    def stored(self, step: torch.Tensor) -> torch.Tensor:
        """See WeightGrid."""
        return step


@dataclass(frozen=True)
class Ternary:
    """-1, 0 and 1: 1.58 bits a weight.

    The gradient passes to every latent weight, however far from the grid: one that stands beyond it must be able to
    come back.

    Attributes:
        rule: `absmean`: a weight counts from half the channel's mean magnitude, which is the step (BitNet b1.58, Ma et
            al. 2024, per output channel instead of per layer). `twn`: from 0.7 of it, and the step is the mean of
            those that count (Ternary Weight Networks, Li et al. 2016).
    """

    rule: TernaryRule = "twn"

    @property
    def high(self) -> int:
        """See WeightGrid."""
        return 1

    def step(self, weight: torch.Tensor) -> torch.Tensor:
        """See WeightGrid."""
        magnitude = weight.detach().abs().flatten(1)
        if self.rule == "absmean":
            return magnitude.mean(1)
        counts = magnitude > self._threshold(magnitude)
        return (magnitude * counts).sum(1) / counts.sum(1).clamp_min(1)

    def rounded(self, weight: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """See WeightGrid."""
        flat = weight.detach().flatten(1)
        codes = flat.sign() * (flat.abs() > self._threshold(flat.abs()))
        return pass_gradient(weight, (codes * step[:, None]).view_as(weight))

    def stored(self, step: torch.Tensor) -> torch.Tensor:
        """In bfloat16: beside weights of 1.6 bits a step of 32 is a tenth of the file."""
        return step.bfloat16().float()

    def _threshold(self, magnitude: torch.Tensor) -> torch.Tensor:
        return (0.5 if self.rule == "absmean" else 0.7) * magnitude.mean(1, keepdim=True)


@dataclass(frozen=True)
class Learned:
    """A grid whose steps training moves; they begin where the grid's own rule puts them.

    Two magnitudes, one above and one below 0 (Trained Ternary Quantization, Zhu et al. 2017), are not offered: a weight
    would no longer be an integer times its channel's step, which is all that runtimes and containers hold.

    Attributes:
        start: Gives the integers and the first steps.
    """

    start: Uniform | Ternary

    @property
    def high(self) -> int:
        """See WeightGrid."""
        return self.start.high

    def step(self, weight: torch.Tensor) -> torch.Tensor:
        """See WeightGrid; the first one."""
        return self.start.step(weight)

    def rounded(self, weight: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """To the nearest; the step gets a gradient too."""
        zeros = torch.zeros_like(step, dtype=torch.int32)
        return learned_rounding(weight, step, zeros, low=-self.high, high=self.high)

    def stored(self, step: torch.Tensor) -> torch.Tensor:
        """See WeightGrid."""
        return pass_gradient(step, self.start.stored(step.detach()))
