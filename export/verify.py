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
"""For every other precision, of the lower quartile over images: a last bit of an activation that differs moves borders,
and in a rare image, amplified by the hard k-means assignment, a whole segment whose category was nearly tied (one of 40
street scenes, to 0.76, in every runtime alike). A fault of a file shows in all of them. Trained networks were measured
at 0.994 and above."""


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
    equal: list[float] = []
    num_found, num_segments = 0, 0
    differences: list[float] = []
    for golden in goldens:
        outputs = predict(golden.image[None])
        merged = to_merged(outputs, config=config, is_thing=is_thing)
        wanted = golden.merged
        matched = matched_slots(merged, wanted)
        equal.append(float((merged.slot_map == matched[wanted.slot_map]).mean()))
        is_segment = wanted.slot_category >= 0
        num_found += int((matched[: len(is_segment)] >= 0)[is_segment].sum())
        num_segments += int(is_segment.sum())
        if "mask_logits" in outputs and golden.mask_logits is not None:
            differences.append(float(np.abs(outputs["mask_logits"][0] - golden.mask_logits).max()))
    return Verdict(
        pixels_equal=float(np.mean(equal)),
        lower_quartile=float(np.quantile(equal, 0.25)),
        segments_found=num_found / num_segments if num_segments else 1.0,
        num_images=len(goldens),
        num_segments=num_segments,
        mask_logits_max_abs=max(differences) if differences else None,
        engine=engine,
    )


def equal_pixels(merged: Merged, wanted: Merged) -> NDArray[np.bool_]:
    """(h, w) claim per pixel: it lies in the segment that matches the wanted one, or is void on both sides."""
    equal: NDArray[np.bool_] = merged.slot_map == matched_slots(merged, wanted)[wanted.slot_map]
    return equal


def matched_slots(merged: Merged, wanted: Merged) -> NDArray[np.int64]:
    """(256,): for each wanted slot the slot of `merged` that shows the same segment, -1 where there is none.

    Two slots match if each covers more of the other than any other slot does and their categories are equal; void
    matches void. A slot's number does not count: it is no part of the picture, and two queries or centres that tie to
    the last bit may swap theirs in another runtime.
    """
    if merged.slot_map.shape != wanted.slot_map.shape:
        raise CheckError(f"slot map is {merged.slot_map.shape}, torch's is {wanted.slot_map.shape}")
    count = VOID_SLOT + 1
    joint = np.bincount(merged.slot_map.ravel() * np.int64(count) + wanted.slot_map.ravel(), minlength=count**2)
    shared = joint.reshape(count, count)  # (slots of merged, wanted slots)
    partner = shared.argmax(0)
    is_mutual = (shared.argmax(1)[partner] == np.arange(count)) & (shared.max(0) > 0)
    same_category = _categories(merged)[partner] == _categories(wanted)
    matched: NDArray[np.int64] = np.where(is_mutual & same_category, partner, -1)
    return matched


def _categories(merged: Merged) -> NDArray[np.int64]:
    """(256,) category by slot, -1 = empty, -2 = void."""
    categories = np.full(VOID_SLOT + 1, -1, dtype=np.int64)
    categories[: len(merged.slot_category)] = merged.slot_category
    categories[VOID_SLOT] = -2
    return categories


def floor_of(precision: str) -> float:
    """Share of equal pixels that an artifact of this precision must reach."""
    return FLOOR.get(precision, QUANTIZED_FLOOR)


def judged_share(verdict: Verdict, precision: str) -> float:
    """The share of equal pixels that the floor is for: of all images in float32, of their lower quartile else."""
    if precision in FLOOR or verdict.lower_quartile is None:
        return verdict.pixels_equal
    return verdict.lower_quartile


def check(verdict: Verdict, *, file: str, precision: str) -> None:
    """Refuses an artifact below its floor.

    Raises:
        CheckError: With both numbers.
    """
    floor, share = floor_of(precision), judged_share(verdict, precision)
    if not share >= floor:
        which = "" if precision in FLOOR else "the lower quartile of "
        raise CheckError(
            f"{file} differs from the torch model: {share:.4f} of the pixels are equal on {which}"
            f"{verdict.num_images} golden images, at least {floor} wanted ({verdict.engine}); it was not kept"
        )
