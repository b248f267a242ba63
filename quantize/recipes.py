"""Quantization recipes: what becomes integer, and how long it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgeseg.config import config_from_dict, nearest, read_toml
from edgeseg.structures import InputError


@dataclass(frozen=True)
class Recipe:
    """How a float model becomes an integer one.

    Convolutions, and linears if asked, become integer with their inputs and outputs; batched products, softmax and the
    k-means assignment stay float32.
    """

    name: str
    """Key in `RECIPES`; part of every artifact's file name."""
    weight_bits: int = 8
    """Width of a weight, symmetric and per output channel."""
    ternary: Literal["", "absmean", "twn"] = ""
    """How weights become -1, 0 and 1 (quantize/weights.py) in integer layers but depthwise ones, the first, and what
    `int8_modules` and `int8_share` spare."""
    activation_bits: int = 8
    """Width of an activation, affine and per tensor; 0 leaves activations float (only weights are integers)."""
    linears: bool = False
    """Whether the linears over the queries are integer too, besides the convolutions."""
    float_modules: tuple[str, ...] = ()
    """Shell patterns of module names that stay float32."""
    int8_modules: tuple[str, ...] = ()
    """Shell patterns of module names with 8-bit weights in a recipe of fewer bits."""
    int8_share: float = 0.0
    """The smallest layers that together hold no more than this share of the weights have 8 bits in a recipe of fewer:
    they weigh little in the file and much in the picture, for the fine maps have few channels."""
    learned_weight_steps: bool = False
    """Whether training moves the weights' steps too (LSQ, quantize/learned.py), from where their rule puts them."""
    learned_activation_steps: bool = False
    """Whether training moves the activations' steps too, from where calibration puts them."""
    qat_steps: int = 0
    """Optimiser steps of quantization-aware training; 0 is post-training quantization."""
    qat_lr: float = 2.5e-4
    """Peak learning rate of AdamW, as a share of a layer's root mean square weight; rises over the first tenth of the
    steps, then falls to zero along a cosine."""
    qat_weight_decay: float = 0.0
    """Decay of the weights during fine-tuning."""
    qat_free_fraction: float = 0.0
    """Part of the steps in which activations are not rounded yet: ternary weights change them so much that their
    ranges are only worth measuring afterwards."""
    qat_gradual_fraction: float = 0.0
    """Part of the steps in which weights go over from 8 bits to fewer, as a mean of both that shifts with the steps."""
    qat_ema_decay: float = 0.0
    """Of the running average of the weights, which is then what is kept; 0 keeps the weights themselves."""
    qat_precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Of products while activations are not rounded; grids take float32. bf16-mixed is faster where the processor has
    bfloat16 instructions (docs/training.md)."""
    qat_label_weight: float = 0.0
    """Weight of the labels' loss beside the divergence from the float network. Heads without a loss on slots alone are
    trained by the divergence only."""
    qat_teacher_weight: float = 1.0
    """Weight of the divergence from the float network; 0 learns from labels alone."""

    def __post_init__(self) -> None:
        """Refuses what no code here can do."""
        learned = self.learned_weight_steps or self.learned_activation_steps
        rules = [
            (2 <= self.weight_bits <= 8, f"weight_bits = {self.weight_bits}; 2 to 8 are possible"),
            (
                self.activation_bits == 0 or 2 <= self.activation_bits <= 8,
                f"activation_bits = {self.activation_bits}; 2 to 8 are possible, or 0 for float",
            ),
            (
                self.qat_steps >= 0 and self.qat_lr > 0,
                f"qat_steps = {self.qat_steps} must be >= 0 and qat_lr = {self.qat_lr} > 0",
            ),
            (self.qat_label_weight >= 0, f"qat_label_weight = {self.qat_label_weight} must be >= 0"),
            (self.qat_teacher_weight >= 0, f"qat_teacher_weight = {self.qat_teacher_weight} must be >= 0"),
            (
                not self.qat_steps or self.qat_label_weight + self.qat_teacher_weight > 0,
                "qat_label_weight and qat_teacher_weight are both 0, so that training has no goal; raise one",
            ),
            (
                self.activation_bits or not self.learned_activation_steps,
                "learned_activation_steps, but activations stay float; give activation_bits = 8",
            ),
            (
                self.qat_steps or not (learned or self.qat_gradual_fraction or self.qat_ema_decay),
                "learned steps, qat_gradual_fraction and qat_ema_decay do nothing without training; give qat_steps",
            ),
            (
                self.ternary or self.weight_bits < 8 or not self.qat_gradual_fraction,
                f"qat_gradual_fraction = {self.qat_gradual_fraction}, but weights have 8 bits from the start",
            ),
            (
                not self.activation_bits or self.qat_free_fraction or self.qat_precision == "32-true",
                f"qat_precision = {self.qat_precision!r}, but activations have grids from the start, which take "
                "float32; raise qat_free_fraction",
            ),
            (
                not self.activation_bits or self.qat_gradual_fraction <= self.qat_free_fraction,
                f"qat_gradual_fraction = {self.qat_gradual_fraction} is above qat_free_fraction = "
                f"{self.qat_free_fraction}: ranges would be measured on weights still on their way; raise the latter",
            ),
        ]
        for field in ("int8_share", "qat_free_fraction", "qat_gradual_fraction", "qat_ema_decay"):
            value = getattr(self, field)
            rules.append((0 <= value < 1, f"{field} = {value}; 0 to below 1 is possible"))
        for holds, complaint in rules:
            if not holds:
                raise InputError(f"recipe {self.name!r}: {complaint}")


_INT8: dict[str, Any] = {"qat_steps": 300, "qat_lr": 2e-3, "qat_label_weight": 1.0}
_TERNARY: dict[str, Any] = {"ternary": "twn", "linears": True, "int8_share": 0.035} | {
    "qat_steps": 5000,
    "qat_lr": 1e-2,
    "qat_label_weight": 1.0,
}
"""With -1, 0 and 1 the float network's answers are no goal any more: without labels 3 to 5 PQ points are lost
(docs/ternary.md)."""

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(name="int8-ptq"),
        Recipe(name="int8", **_INT8),
        Recipe(name="int8-full", linears=True, **_INT8),
        Recipe(name="w8", activation_bits=0, linears=True),
        Recipe(name="int4", weight_bits=4, linears=True, qat_steps=1000, qat_lr=2.5e-3),
        Recipe(name="ternary", qat_free_fraction=0.8, **_TERNARY),
        Recipe(name="ternary-w", activation_bits=0, **_TERNARY),
    )
}
"""The named recipes; a new scheme is one more entry."""


def find_recipe(name_or_path: str) -> Recipe:
    """The recipe of that name, or of a TOML file (its keys are the fields of `Recipe`; the file's stem is its name).

    Raises:
        InputError: No such recipe (the nearest name is given), or a file with a wrong key or value.
    """
    if name_or_path in RECIPES:
        return RECIPES[name_or_path]
    path = Path(name_or_path)
    if path.suffix == ".toml":
        return _read_recipe(path)
    raise InputError(
        f"no quantization recipe named {name_or_path!r}{nearest(name_or_path, list(RECIPES))}; "
        f"known are {', '.join(RECIPES)}, or give the path of a .toml file"
    )


def _read_recipe(path: Path) -> Recipe:
    table = read_toml(path)
    if path.stem in (*RECIPES, "float32", "best", "last"):
        raise InputError(f"{path}: {path.stem!r} is taken; name the recipe's file otherwise")
    return config_from_dict(Recipe, {"name": path.stem} | table, where=str(path))
