"""What slots say when another question than the panoptic one is asked (docs/heads.md, "Three tasks")."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgeseg.config import MergeConfig
from edgeseg.merge import LOGITS_STRIDE, merge_slots, softmax, upsample_bilinear
from edgeseg.structures import VOID_SLOT, InputError, Merged, TaskName

LEAST_SCORE = 0.05
"""A candidate thing below it is left out (detectron2's test threshold)."""

OWN_PROBABILITY = 0.5
"""A candidate's pixels are those that belong to its slot with more than this probability: no two can claim one."""


def candidate_things(
    class_logits: NDArray[np.float32],
    mask_logits: NDArray[np.float32],
    *,
    config: MergeConfig,
    is_thing: Sequence[bool] | NDArray[np.bool_],
) -> Merged:
    """Things alone, weak ones too, ranked by score: what COCO's mask AP asks for.

    A slot's category is its most probable thing; its score that probability times the mean probability of its pixels.

    Args:
        class_logits: (N, K + 1), the last column is void; N <= 254.
        mask_logits: (N, h, w), stride 4.
        config: Gives `upsample` and `min_area`; the class thresholds are not looked at.
        is_thing: (K,) by contiguous category index.

    Returns:
        See `edgeseg.merge.merge_slots`.
    """
    probability = softmax(class_logits.astype(np.float32, copy=False), axis=1)[:, :-1] * np.asarray(is_thing)
    category = probability.argmax(axis=1)
    masks = softmax(upsample_bilinear(mask_logits.astype(np.float32, copy=False), config.upsample), axis=0)  # (N, H, W)
    owner, share = masks.argmax(axis=0), masks.max(axis=0)
    is_owned = share > OWN_PROBABILITY
    area = np.bincount(owner[is_owned], minlength=len(masks))
    certainty = np.bincount(owner[is_owned], weights=share[is_owned], minlength=len(masks)) / np.maximum(area, 1)
    score = probability.max(axis=1) * certainty
    is_there = (area > 0) & (area * (LOGITS_STRIDE // config.upsample) ** 2 >= config.min_area) & (score >= LEAST_SCORE)
    slot_map = np.where(is_owned & is_there[owner], owner, VOID_SLOT).astype(np.uint8)
    return Merged(
        slot_map,
        np.where(is_there, category, -1).astype(np.int32),
        np.where(is_there, score, 0).astype(np.float32),
    )


def category_regions(
    class_logits: NDArray[np.float32],
    mask_logits: NDArray[np.float32],
    *,
    config: MergeConfig,
    is_thing: Sequence[bool] | NDArray[np.bool_],
) -> Merged:
    """A category for every pixel, things not told apart: what mIoU asks for.

    The most probable one (`category_probability`). No threshold, no void.

    Args:
        class_logits: (N, K + 1), the last column is void.
        mask_logits: (N, h, w), stride 4.
        config: Gives `upsample`.
        is_thing: (K,) by contiguous category index; at most 254.

    Returns:
        Like `edgeseg.merge.merge_slots`, with a slot for each of K categories; the score is the category's mean
        probability in its region.

    Raises:
        InputError: More categories than the 8-bit map has values.
    """
    num_categories = len(is_thing)
    if num_categories >= VOID_SLOT:
        raise InputError(f"{num_categories} categories do not fit the 8-bit map; ask for the panoptic task")
    mixed = category_probability(class_logits, mask_logits, config.upsample)
    region = mixed.argmax(axis=0)
    area = np.bincount(region.ravel(), minlength=num_categories)
    certainty = np.bincount(region.ravel(), weights=mixed.max(axis=0).ravel(), minlength=num_categories)
    return Merged(
        region.astype(np.uint8),
        np.where(area > 0, np.arange(num_categories), -1).astype(np.int32),
        (certainty / np.maximum(area, 1)).astype(np.float32),
    )


def category_probability(
    class_logits: NDArray[np.float32], mask_logits: NDArray[np.float32], upsample: int
) -> NDArray[np.float32]:
    """Sum over slots of a pixel's share in them times the category's probability in them.

    Source: MaskFormer's semantic inference, arXiv 2107.06278, section 3.4.

    Args:
        class_logits: (N, K + 1), the last column is void.
        mask_logits: (N, h, w).
        upsample: Enlargement u.

    Returns:
        (K, h u, w u) float32; void has what is missing to 1.
    """
    probability = softmax(class_logits.astype(np.float32, copy=False), axis=1)[:, :-1]  # (N, K)
    masks = softmax(upsample_bilinear(mask_logits.astype(np.float32, copy=False), upsample), axis=0)
    mixed: NDArray[np.float32] = np.tensordot(probability, masks, axes=(0, 0))
    return mixed


TASKS: dict[TaskName, Callable[..., Merged]] = {
    "panoptic": merge_slots,
    "instance": candidate_things,
    "semantic": category_regions,
}
"""By the name that `--task` uses: (class_logits, mask_logits, config=, is_thing=) -> Merged."""

MEASURE: dict[TaskName, str] = {"panoptic": "pq", "instance": "ap", "semantic": "miou"}
"""The metric of each, in `edgeseg.metrics.evaluation.METRICS`."""
