"""Quantization recipes: what becomes integer, and how long it is trained."""

from __future__ import annotations

from dataclasses import dataclass

from edgeseg.config import nearest
from edgeseg.structures import InputError


@dataclass(frozen=True)
class Recipe:
    """How a float model becomes an integer one.

    Every `Conv2d` becomes integer with its inputs and outputs; everything else (linears, batched products, softmax,
    the k-means step over the queries) stays float32, because a one-step change of an integer tensor there moves whole
    masks: with a float decoder 0.998 of a random network's mask argmax survives, with an integer one 0.85.
    """

    name: str
    """Key in `RECIPES`; part of every artifact's file name."""
    weight_bits: int = 8
    """Width of a weight, symmetric and per output channel."""
    activation_bits: int = 8
    """Width of an activation, affine and per tensor."""
    float_modules: tuple[str, ...] = ()
    """Shell patterns of module names whose convolutions stay float32."""
    qat_steps: int = 0
    """Optimiser steps of quantization-aware training; 0 is post-training quantization."""
    qat_lr: float = 2e-5
    """Peak learning rate of AdamW; rises over the first tenth, then falls to zero along a cosine."""
    qat_weight_decay: float = 0.0
    """Decay of the weights during fine-tuning."""

    def __post_init__(self) -> None:
        """Refuses what no code here can do."""
        for name in ("weight_bits", "activation_bits"):
            bits = getattr(self, name)
            if not 2 <= bits <= 8:
                raise InputError(f"recipe {self.name!r}: {name} = {bits}; 2 to 8 are possible")
        if self.qat_steps < 0 or self.qat_lr <= 0:
            raise InputError(
                f"recipe {self.name!r}: qat_steps = {self.qat_steps} must be >= 0 and qat_lr = {self.qat_lr} > 0"
            )


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(name="int8-ptq"),
        Recipe(name="int8", qat_steps=300),
    )
}
"""The named recipes; a new scheme is one more entry."""


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        InputError: No such recipe; the nearest name is given.
    """
    if name in RECIPES:
        return RECIPES[name]
    known = nearest(name, list(RECIPES))
    raise InputError(f"no quantization recipe named {name!r}{known}; known are {', '.join(sorted(RECIPES))}")
