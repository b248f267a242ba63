"""Holds an artifact against the torch model, in shares of equal pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.config import MergeConfig
from edgeseg.export.bundle import Verdict
from edgeseg.export.golden import Golden
from edgeseg.export.runtimes import Predict
from edgeseg.merge import upsample_bilinear
from edgeseg.structures import VOID_SLOT, CheckError, Merged, TaskName
from edgeseg.tasks import TASKS

FLOOR = {"float32": 0.999}
"""Share of equal or tied pixels below which an artifact is refused. Float runtimes differ in the order of sums, which
moves a pixel only where two slots tie to about 1e-5."""

QUANTIZED_FLOOR = 0.99
"""For every other precision, of the lower quartile over images: a last bit of an activation that differs moves borders,
and in a rare image, amplified by the hard k-means assignment, a whole segment whose category was nearly tied (one of 40
street scenes, to 0.76, in every runtime alike). A fault of a file shows in all of them. Trained networks were measured
at 0.994 and above."""

TIE_TOLERANCE = 4e-4
"""Two mask logits of torch's that are no further apart are a tie: twice what a float runtime may be off (below)."""

MASK_LOGITS_CEILING = 2e-4
"""Largest difference of a float32 mask logit. Measured: 4e-5 where they go up to 25, 1e-4 in random networks."""

MASK_LOGITS_RATIO = 0.1
"""How far from 1 the ratio of the mask logits' root mean squares may be in any precision: a lost or doubled scale does
not show in an argmax over slots."""

SCORES_CEILING = {"float32": 1e-3}
"""Largest median difference of a segment's score. Measured: 3e-8."""

QUANTIZED_SCORES_CEILING = 0.05
"""The same for every other precision. Measured: 3e-4."""


def to_merged(
    outputs: dict[str, NDArray[Any]], *, config: MergeConfig, is_thing: Sequence[bool], task: TaskName = "panoptic"
) -> Merged:
    """An artifact's outputs, batch of 1, as one merged answer, wherever the merge runs.

    Raises:
        ValueError: Another task than the panoptic one, where the merge is in the graph.
    """
    if "slot_map" in outputs:
        if task != "panoptic":
            raise ValueError(f"a merged answer has no slots left to ask for the {task} task")
        return Merged(outputs["slot_map"][0], outputs["slot_category"][0], outputs["slot_score"][0])
    return TASKS[task](outputs["class_logits"][0], outputs["mask_logits"][0], config=config, is_thing=is_thing)


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

    Raises:
        CheckError: The outputs are not those that a bundle's artifact has; names the shapes.
    """
    rows = [_compare_one(predict(golden.image[None]), golden, config, is_thing) for golden in goldens]
    num_segments = sum(row.num_segments for row in rows)
    scores = np.concatenate([row.scores for row in rows])
    differences = [row.logits_difference for row in rows if row.logits_difference is not None]
    ratios = [row.logits_ratio for row in rows if row.logits_ratio is not None]
    return Verdict(
        pixels_equal=float(np.mean([row.equal for row in rows])),
        lower_quartile=float(np.quantile([row.equal + row.tied for row in rows], 0.25)),
        pixels_tied=float(np.mean([row.tied for row in rows])),
        segments_found=sum(row.num_found for row in rows) / num_segments if num_segments else 1.0,
        num_images=len(goldens),
        num_segments=num_segments,
        scores_median_abs=float(np.median(scores)) if len(scores) else None,
        mask_logits_max_abs=max(differences, default=None),
        mask_logits_ratio=float(np.mean(ratios)) if ratios else None,
        engine=engine,
    )


@dataclass(frozen=True)
class _Row:
    """One image."""

    equal: float
    tied: float
    num_found: int
    num_segments: int
    scores: NDArray[np.float32]
    logits_difference: float | None
    logits_ratio: float | None


def _compare_one(
    outputs: dict[str, NDArray[Any]], golden: Golden, config: MergeConfig, is_thing: Sequence[bool]
) -> _Row:
    _require_shapes(outputs, golden, len(is_thing))
    merged, wanted = to_merged(outputs, config=config, is_thing=is_thing), golden.merged
    matched = matched_slots(merged, wanted)
    found = np.flatnonzero((wanted.slot_category >= 0) & (matched[: len(wanted.slot_category)] >= 0))
    difference = ratio = None
    if "mask_logits" in outputs and golden.mask_logits is not None:
        ours, torchs = outputs["mask_logits"][0], golden.mask_logits
        difference = float(np.abs(ours - torchs).max())
        ratio = float(np.sqrt(np.square(ours).mean() / np.square(torchs).mean()))
    return _Row(
        equal=float((merged.slot_map == matched[wanted.slot_map]).mean()),
        tied=float(tied_pixels(merged, golden, config=config).mean()),
        num_found=len(found),
        num_segments=int((wanted.slot_category >= 0).sum()),
        scores=np.abs(merged.slot_score[matched[found]] - wanted.slot_score[found]),
        logits_difference=difference,
        logits_ratio=ratio,
    )


def _require_shapes(outputs: dict[str, NDArray[Any]], golden: Golden, num_categories: int) -> None:
    num_slots = len(golden.merged.slot_category)
    wanted = {
        "slot_map": golden.merged.slot_map.shape,
        "slot_category": (num_slots,),
        "slot_score": (num_slots,),
        "class_logits": (num_slots, num_categories + 1),
    }
    if golden.mask_logits is not None:
        wanted["mask_logits"] = golden.mask_logits.shape
    for name, shape in wanted.items():
        if name in outputs and outputs[name].shape != (1, *shape):
            raise CheckError(f"{name} is {outputs[name].shape}, torch's is {(1, *shape)}")


def equal_pixels(merged: Merged, wanted: Merged) -> NDArray[np.bool_]:
    """(h, w) claim per pixel: it lies in the segment that matches the wanted one, or is void on both sides."""
    equal: NDArray[np.bool_] = merged.slot_map == matched_slots(merged, wanted)[wanted.slot_map]
    return equal


def tied_pixels(
    merged: Merged, golden: Golden, *, config: MergeConfig, tolerance: float = TIE_TOLERANCE
) -> NDArray[np.bool_]:
    """(h, w) claim per pixel: it differs, but torch's enlarged logits of both slots are no further apart than this.

    Only the slot that the artifact shows is excused, with the category that torch gives it, not any slot where torch is
    undecided. Nothing is a tie where torch's logits are not kept, nor where one side is void.
    """
    wanted = golden.merged
    is_same_slot = slot_categories(merged) == slot_categories(wanted)
    tied = ~equal_pixels(merged, wanted) & (merged.slot_map != wanted.slot_map) & is_same_slot[merged.slot_map]
    tied &= (merged.slot_map != VOID_SLOT) & (wanted.slot_map != VOID_SLOT)
    if golden.mask_logits is None or not tied.any():
        return np.zeros_like(tied)
    ours, torchs = np.zeros(tied.shape, np.float32), np.zeros(tied.shape, np.float32)
    for slot in np.union1d(merged.slot_map[tied], wanted.slot_map[tied]):
        enlarged = upsample_bilinear(golden.mask_logits[slot], config.upsample)
        np.copyto(ours, enlarged, where=merged.slot_map == slot)
        np.copyto(torchs, enlarged, where=wanted.slot_map == slot)
    result: NDArray[np.bool_] = tied & (np.abs(ours - torchs) <= tolerance)
    return result


def matched_slots(merged: Merged, wanted: Merged) -> NDArray[np.int64]:
    """(256,): for each wanted slot the slot of `merged` that shows the same segment, -1 where there is none.

    Two slots match if each covers more of the other than any other slot does and their categories are equal; void
    matches void. A slot's number does not count: it is no part of the picture, and two queries or centres that tie to
    the last bit may swap theirs in another runtime.
    """
    partner, is_mutual = partners(merged, wanted)
    same_category = slot_categories(merged)[partner] == slot_categories(wanted)
    matched: NDArray[np.int64] = np.where(is_mutual & same_category, partner, -1)
    return matched


def partners(merged: Merged, wanted: Merged) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(256,) each: for each wanted slot the slot that covers most of it, and whether it does so the other way round.

    Raises:
        CheckError: The maps' sizes differ.
    """
    if merged.slot_map.shape != wanted.slot_map.shape:
        raise CheckError(f"slot map is {merged.slot_map.shape}, torch's is {wanted.slot_map.shape}")
    count = VOID_SLOT + 1
    joint = np.bincount(merged.slot_map.ravel() * np.int64(count) + wanted.slot_map.ravel(), minlength=count**2)
    shared = joint.reshape(count, count)  # (slots of merged, wanted slots)
    partner: NDArray[np.int64] = shared.argmax(0)
    return partner, (shared.argmax(1)[partner] == np.arange(count)) & (shared.max(0) > 0)


def slot_categories(merged: Merged) -> NDArray[np.int64]:
    """(256,) category by slot, -1 = empty, -2 = void."""
    categories = np.full(VOID_SLOT + 1, -1, dtype=np.int64)
    categories[: len(merged.slot_category)] = merged.slot_category
    categories[VOID_SLOT] = -2
    return categories


def floor_of(precision: str) -> float:
    """Share of equal pixels that an artifact of this precision must reach."""
    return FLOOR.get(precision, QUANTIZED_FLOOR)


def judged_share(verdict: Verdict, precision: str) -> float:
    """The share of equal or tied pixels that the floor is for: of all images in float32, of their lower quartile else.

    A share that is no number stays none: it is below every floor.
    """
    if precision in FLOOR or verdict.lower_quartile is None:
        return verdict.pixels_equal + verdict.pixels_tied
    return verdict.lower_quartile


def faults(verdict: Verdict, precision: str) -> list[str]:
    """What is below its floor or above its ceiling, one clause each; empty where an artifact is right."""
    found = []
    floor, share = floor_of(precision), judged_share(verdict, precision)
    if not share >= floor:
        which = "" if precision in FLOOR else "the lower quartile of "
        found.append(
            f"{share:.4f} of the pixels are equal or tied on {which}{verdict.num_images} golden images, "
            f"at least {floor} wanted"
        )
    difference = verdict.mask_logits_max_abs
    if precision in FLOOR and difference is not None and not difference <= MASK_LOGITS_CEILING:
        found.append(f"mask logits differ by {difference:.2g}, at most {MASK_LOGITS_CEILING:.0e} wanted")
    ratio = verdict.mask_logits_ratio
    if ratio is not None and not abs(ratio - 1) <= MASK_LOGITS_RATIO:
        found.append(f"mask logits are {ratio:.2f} times torch's, 1 +- {MASK_LOGITS_RATIO} wanted")
    ceiling = SCORES_CEILING.get(precision, QUANTIZED_SCORES_CEILING)
    if verdict.scores_median_abs is not None and not verdict.scores_median_abs <= ceiling:
        found.append(f"scores differ by {verdict.scores_median_abs:.2g} in the median, at most {ceiling:g} wanted")
    return found
