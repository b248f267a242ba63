"""Which layers mind being rounded, and a recipe that spares those."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import fx, nn

from edgeseg.quantize.activations import ActivationQuantizer
from edgeseg.quantize.calibrate import calibrate
from edgeseg.quantize.divergence import distillation_loss
from edgeseg.quantize.modules import IntegerLayer
from edgeseg.quantize.prepare import prepare
from edgeseg.quantize.recipes import Recipe
from edgeseg.structures import InputError, Slots

Score = Callable[[nn.Module], float]
"""A quantized network -> panoptic quality, 0..1."""


@dataclass(frozen=True)
class Sensitivity:
    """One layer whose weights alone are rounded as a recipe wants; everything else is float.

    Attributes:
        layer: Module name.
        weights: How many.
        bits: Of a weight; 1.6 = ternary.
        sqnr_db: Power of the mask logits over that of their error, in dB.
        divergence: From the float network, in nats (quantize/fine_tune.py).
        pq_drop: Panoptic quality lost, in points; None where it was not scored.
    """

    layer: str
    weights: int
    bits: float
    sqnr_db: float
    divergence: float
    pq_drop: float | None


@torch.no_grad()
def analyse(
    model: nn.Module,
    recipe: Recipe,
    calibration: Sequence[torch.Tensor],
    *,
    score: Score | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Sensitivity]:
    """Rounds one layer at a time.

    Args:
        model: Float network, deployable.
        recipe: Says which layers become integer, and how wide.
        calibration: Batches of (B, 3, H, W) float32 images, 0..255.
        score: Scores a network; None = divergence and SQNR alone.
        on_progress: Called with (layers done, layers).

    Returns:
        The most sensitive first, by divergence.
    """
    prepared = prepare(model, recipe, calibration[0][:1])
    for module in prepared.modules():
        if isinstance(module, ActivationQuantizer):
            module.set_phase("free")
    wanted = [prepared(batch) for batch in calibration]
    before = score(prepared) if score else None
    layers = _integer_layers(prepared)
    rows = []
    for done, (name, layer) in enumerate(layers.items(), start=1):
        layer.set_phase("train")
        answers = [prepared(batch) for batch in calibration]
        drop = None if score is None or before is None else 100 * (before - score(prepared))
        layer.set_phase("observe")
        rows.append(
            Sensitivity(
                layer=name,
                weights=layer.weight.numel(),
                bits=_bits(layer),
                sqnr_db=_sqnr_db(answers, wanted),
                divergence=sum(float(distillation_loss(a, w)) for a, w in zip(answers, wanted, strict=True))
                / len(wanted),
                pq_drop=drop,
            )
        )
        on_progress(done, len(layers))
    return sorted(rows, key=lambda row: row.divergence, reverse=True)


def fit_budget(recipe: Recipe, rows: Sequence[Sensitivity], max_bytes: int) -> Recipe:
    """The recipe with 8 bits for as many of its most sensitive layers as fit, by divergence saved per byte.

    Args:
        recipe: Of fewer bits than 8.
        rows: Its analysis.
        max_bytes: Of all weights together; steps and biases come on top.

    Raises:
        InputError: Not even the recipe itself fits.
    """
    size = sum(row.weights * row.bits / 8 for row in rows)
    if size > max_bytes:
        raise InputError(
            f"the weights of recipe {recipe.name!r} take {math.ceil(size):,} bytes, --budget allows {max_bytes:,}; "
            "allow more, or take a recipe of fewer bits"
        )
    spared = []
    for row in sorted(rows, key=lambda row: row.divergence / row.weights, reverse=True):
        more = row.weights * (8 - row.bits) / 8
        if more > 0 and size + more <= max_bytes:
            size += more
            spared.append(row.layer)
    return _sparing(recipe, spared)


def fit_quality(
    model: nn.Module,
    recipe: Recipe,
    rows: Sequence[Sensitivity],
    calibration: Sequence[torch.Tensor],
    *,
    score: Score,
    max_pq_drop: float,
) -> tuple[Recipe, float]:
    """The recipe with 8 bits for the fewest layers that keep the quality, found by bisection before any training.

    Args:
        model: Float network, deployable.
        recipe: Of fewer bits than 8.
        rows: Its analysis.
        calibration: As in `analyse`.
        score: Scores a network.
        max_pq_drop: Points of panoptic quality that may be lost.

    Returns:
        The recipe and what it loses, in points.

    Raises:
        InputError: Not even 8 bits everywhere keep it.
    """
    names = [row.layer for row in rows if row.bits < 8]
    before = score(model)

    def drop(count: int) -> float:
        prepared = prepare(model, _sparing(recipe, names[:count]), calibration[0][:1])
        calibrate(prepared, calibration)
        return 100 * (before - score(prepared))

    lost = {len(names): drop(len(names))}
    if lost[len(names)] > max_pq_drop:
        raise InputError(
            f"8 bits for all weights lose {lost[len(names)]:.2f} points without training, --max-pq-drop allows "
            f"{max_pq_drop:g}; allow more"
        )
    low, high = -1, len(names)  # high keeps the quality
    while high - low > 1:
        middle = (low + high) // 2
        lost[middle] = drop(middle)
        low, high = (low, middle) if lost[middle] <= max_pq_drop else (middle, high)
    return _sparing(recipe, names[:high]), lost[high]


def to_toml(recipe: Recipe) -> str:
    """A recipe as the file that `edgeseg quantize --recipe FILE.toml` reads; its name is the file's."""
    lines = []
    for key, value in vars(recipe).items():
        if key == "name" or value == Recipe.__dataclass_fields__[key].default:
            continue
        if isinstance(value, bool):
            text = str(value).lower()
        elif isinstance(value, tuple):
            text = "[\n" + "".join(f'    "{item}",\n' for item in value) + "]"
        else:
            text = f'"{value}"' if isinstance(value, str) else repr(value)
        lines.append(f"{key} = {text}\n")
    return "".join(lines)


def _sparing(recipe: Recipe, layers: Sequence[str]) -> Recipe:
    return replace(recipe, int8_modules=(*recipe.int8_modules, *layers))


def _integer_layers(prepared: fx.GraphModule) -> dict[str, IntegerLayer]:
    return {name: module for name, module in prepared.named_modules() if isinstance(module, IntegerLayer)}


def _bits(layer: IntegerLayer) -> float:
    return 1.6 if layer.grid.high == 1 else math.log2(layer.grid.high + 1) + 1


def _sqnr_db(answers: Sequence[Slots], wanted: Sequence[Slots]) -> float:
    error = sum(float((a.mask_logits - w.mask_logits).square().mean()) for a, w in zip(answers, wanted, strict=True))
    power = sum(float(w.mask_logits.square().mean()) for w in wanted)
    return 10 * math.log10(power / error) if error else math.inf
