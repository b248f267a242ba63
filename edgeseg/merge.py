"""The panoptic merge, numpy reference of docs/merge.md."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeseg.config import MergeConfig
from edgeseg.enlarged_argmax import enlarged_argmax, neighbours
from edgeseg.structures import VOID_SLOT, Category, Merged, Segment

LOGITS_STRIDE = 4
"""Pixels of the network's input per mask logit, along each axis."""


def merge_slots(
    class_logits: NDArray[np.float32],
    mask_logits: NDArray[np.float32],
    *,
    config: MergeConfig,
    is_thing: Sequence[bool] | NDArray[np.bool_],
) -> Merged:
    """Turns one image's slots into a map of disjoint segments.

    Args:
        class_logits: (N, K + 1), the last column is void; N <= 254.
        mask_logits: (N, h, w), stride 4.
        config: Thresholds, and the enlargement u.
        is_thing: (K,) by contiguous category index.

    Returns:
        slot_map (h u, w u) uint8, slot_category (N,) int32, slot_score (N,) float32.

    Raises:
        ValueError: Shapes do not belong together, or N > 254.
    """
    num_slots, num_categories = len(class_logits), len(is_thing)
    if num_slots >= VOID_SLOT or class_logits.shape != (num_slots, num_categories + 1) or len(mask_logits) != num_slots:
        raise ValueError(
            f"class_logits {class_logits.shape} and mask_logits {mask_logits.shape} do not fit each other, "
            f"{num_categories} categories and at most {VOID_SLOT - 1} slots"
        )
    probability = softmax(class_logits.astype(np.float32, copy=False), axis=1)[:, :num_categories]
    category = probability.argmax(axis=1)
    score = probability[np.arange(num_slots), category]
    threshold = np.where(is_thing, np.float32(config.thing_threshold), np.float32(config.stuff_threshold))[category]
    kept = np.flatnonzero(score >= threshold)

    logits = mask_logits[kept].astype(np.float32, copy=False)
    slot_map = enlarged_argmax(logits, kept, config.upsample)
    area = np.bincount(slot_map.ravel(), minlength=VOID_SLOT + 1)[:num_slots]
    input_area = area * (LOGITS_STRIDE // config.upsample) ** 2
    is_full = (area > 0) & (input_area >= config.min_area)
    slot_or_void = np.full(VOID_SLOT + 1, VOID_SLOT, dtype=np.uint8)
    slot_or_void[:num_slots][is_full] = np.flatnonzero(is_full)
    return Merged(
        slot_or_void[slot_map],
        np.where(is_full, category, -1).astype(np.int32),
        np.where(is_full, score, 0).astype(np.float32),
    )


def upsample_bilinear(logits: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Bilinear enlargement of (..., h, w) by an integer, align_corners=False, edges repeated (as torch does it)."""
    if factor == 1:
        return logits
    top, bottom, down = neighbours(logits.shape[-2], factor)
    one = np.float32(1)
    tall = logits.take(top, axis=-2) * (one - down)[:, None] + logits.take(bottom, axis=-2) * down[:, None]
    left, right, across = neighbours(logits.shape[-1], factor)
    enlarged: NDArray[np.float32] = tall.take(left, axis=-1) * (one - across) + tall.take(right, axis=-1) * across
    return enlarged


def softmax(logits: NDArray[np.float32], *, axis: int) -> NDArray[np.float32]:
    """Probabilities along an axis, any shape."""
    exponential = np.exp(logits - logits.max(axis=axis, keepdims=True))
    probability: NDArray[np.float32] = exponential / exponential.sum(axis=axis, keepdims=True)
    return probability


def merged_to_segments(
    merged: Merged, slot_map: NDArray[np.uint8], categories: Sequence[Category]
) -> tuple[NDArray[np.int32], tuple[Segment, ...]]:
    """Segments as COCO counts them: one for each thing slot, one for all slots of a stuff category together.

    Args:
        merged: Categories and scores of the slots.
        slot_map: (H, W) uint8, the merge's map brought to the photo's size.
        categories: Ascending by id, as the contiguous indices count.

    Returns:
        (H, W) int32 ids from 1 in the order of the lowest slot, 0 = void; and their table. A slot without a pixel in
        `slot_map` has no segment. The score of several stuff slots is the best of them.
    """
    from scipy import ndimage  # not at the top: on a device there is numpy and a runtime, and the merge needs no more

    visible = np.flatnonzero(np.bincount(slot_map.ravel(), minlength=VOID_SLOT + 1)[:VOID_SLOT])
    id_of_slot = np.zeros(VOID_SLOT + 1, dtype=np.int32)
    slots_of: list[list[int]] = []
    stuff_id: dict[int, int] = {}
    for slot in visible.tolist():
        index = int(merged.slot_category[slot])
        segment_id = stuff_id.get(index, len(slots_of) + 1)
        if segment_id > len(slots_of):
            slots_of.append([])
        if not categories[index].is_thing:
            stuff_id[index] = segment_id
        slots_of[segment_id - 1].append(slot)
        id_of_slot[slot] = segment_id
    panoptic_map = id_of_slot[slot_map]
    areas = np.bincount(panoptic_map.ravel(), minlength=len(slots_of) + 1)
    segments = []
    for segment_id, (slots, box) in enumerate(zip(slots_of, ndimage.find_objects(panoptic_map), strict=True), start=1):
        rows, columns = box
        segments.append(
            Segment(
                id=segment_id,
                category_id=categories[merged.slot_category[slots[0]]].id,
                area=int(areas[segment_id]),
                bbox=(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start),
                score=float(merged.slot_score[slots].max()),
            )
        )
    return panoptic_map, tuple(segments)
