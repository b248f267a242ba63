"""Holds an artifact against the torch model, in shares of equal pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.config import MergeConfig
from edgeseg.export.bundle import Verdict
from edgeseg.export.golden import Golden
from edgeseg.export.runtimes import Predict
from edgeseg.merge import merge_slots
from edgeseg.structures import VOID_SLOT, CheckError, Merged

FLOOR = {"float32": 0.999}
"""Share of equal pixels below which an artifact is refused. Float runtimes differ in the order of sums, which moves a
pixel only where two slots tie to about 1e-5."""

QUANTIZED_FLOOR = 0.99
"""For every other precision: one last bit of an activation, amplified by the hard k-means assignment, moves borders.
Trained networks were measured at 0.994 and above."""


def to_merged(outputs: dict[str, NDArray[Any]], *, config: MergeConfig, is_thing: Sequence[bool]) -> Merged:
    """An artifact's outputs, batch of 1, as one merged answer, wherever the merge runs."""
    if "slot_map" in outputs:
        return Merged(outputs["slot_map"][0], outputs["slot_category"][0], outputs["slot_score"][0])
    return merge_slots(outputs["class_logits"][0], outputs["mask_logits"][0], config=config, is_thing=is_thing)


def compare(
    predict: Predict, goldens: Sequence[Golden], *, config: MergeConfig, is_thing: Sequence[bool], engine: str
) -> Verdict:
    """Runs an artifact on golden images.

    Args:
        predict: The loaded artifact.
        goldens: At least one.
        config: Merge thresholds, for artifacts that leave the merge to the app.
        is_thing: By category.
        engine: Name of what runs `predict`.
    """
    equal, num_pixels, same_category, num_slots, num_segments = 0, 0, 0, 0, 0
    differences: list[float] = []
    for golden in goldens:
        outputs = predict(golden.image[None])
        merged = to_merged(outputs, config=config, is_thing=is_thing)
        wanted = golden.merged
        equal += int(equal_pixels(merged, wanted).sum())
        num_pixels += wanted.slot_map.size
        used = (merged.slot_category >= 0) | (wanted.slot_category >= 0)
        same_category += int((merged.slot_category == wanted.slot_category)[used].sum())
        num_slots += int(used.sum())
        num_segments += int((wanted.slot_category >= 0).sum())
        if "mask_logits" in outputs and golden.mask_logits is not None:
            differences.append(float(np.abs(outputs["mask_logits"][0] - golden.mask_logits).max()))
    return Verdict(
        pixels_equal=equal / num_pixels,
        categories_equal=same_category / num_slots if num_slots else 1.0,
        num_images=len(goldens),
        num_segments=num_segments,
        mask_logits_max_abs=max(differences) if differences else None,
        engine=engine,
    )


def equal_pixels(merged: Merged, wanted: Merged) -> NDArray[np.bool_]:
    """(h, w) claim per pixel: the same slot, and the same category of that slot."""
    if merged.slot_map.shape != wanted.slot_map.shape:
        raise CheckError(f"slot map is {merged.slot_map.shape}, torch's is {wanted.slot_map.shape}")
    same: NDArray[np.bool_] = np.zeros(VOID_SLOT + 1, dtype=np.bool_)
    same[: len(wanted.slot_category)] = merged.slot_category == wanted.slot_category
    same[VOID_SLOT] = True
    equal: NDArray[np.bool_] = (merged.slot_map == wanted.slot_map) & same[wanted.slot_map]
    return equal


def floor_of(precision: str) -> float:
    """Share of equal pixels that an artifact of this precision must reach."""
    return FLOOR.get(precision, QUANTIZED_FLOOR)


def check(verdict: Verdict, *, file: str, precision: str) -> None:
    """Refuses an artifact below its floor.

    Raises:
        CheckError: With both numbers.
    """
    floor = floor_of(precision)
    if not verdict.pixels_equal >= floor:
        raise CheckError(
            f"{file} differs from the torch model: {verdict.pixels_equal:.4f} of the pixels are equal on "
            f"{verdict.num_images} golden images, at least {floor} wanted ({verdict.engine}); it was not kept"
        )
