"""Pixels that the segments of a predicted and a true map share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.panoptic_json import MAX_SEGMENT_ID
from edgeseg.structures import Category, InputError


class SegmentRow(Protocol):
    """What the metrics read of a segment."""

    @property
    def id(self) -> int: ...  # noqa: D102
    @property
    def category_id(self) -> int: ...  # noqa: D102
    @property
    def is_crowd(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True)
class Side:
    """One of the two maps.

    Attributes:
        panoptic_map: (H, W) int32 ids, 0 = void; may be overwritten when the next image comes.
        ids: (n + 1,) int64 segment ids; row 0 is void.
        category: (n + 1,) int64 contiguous category index; of void -1.
        area: (n + 1,) int64 pixels.
    """

    panoptic_map: NDArray[np.int32]
    ids: NDArray[np.int64]
    category: NDArray[np.int64]
    area: NDArray[np.int64]


@dataclass(frozen=True)
class PanopticPair:
    """A predicted and a true map of one image, compared once for all metrics.

    Attributes:
        image_id: For lists of images.
        gt: The truth.
        pred: The prediction.
        overlap: (gt rows, pred rows) int64 shared pixels.
        is_crowd: (gt rows,) bool.
        score: (pred rows,) float64 confidence; None where the prediction has none.
    """

    image_id: int | str
    gt: Side
    pred: Side
    overlap: NDArray[np.int64]
    is_crowd: NDArray[np.bool_]
    score: NDArray[np.float64] | None = None

    @cached_property
    def iou(self) -> NDArray[np.float64]:
        """(gt rows, pred rows) intersection over union, the union without what the prediction has on void."""
        union = self.gt.area[:, None] + (self.pred.area - self.overlap[0]) - self.overlap
        iou: NDArray[np.float64] = self.overlap / np.maximum(union, 1)
        return iou


class Comparison:
    """Compares maps one pair after the other, keeping its working memory.

    Counts runs of equal pairs instead of pixels: a photo's maps have some thirty times fewer.

    Args:
        categories: Of the data set, in any order.
    """

    def __init__(self, categories: Sequence[Category]) -> None:
        self._index_of = {id_: index for index, id_ in enumerate(sorted(c.id for c in categories))}
        self._is_end = np.empty((2, 0), dtype=bool)

    def compare(
        self,
        pred_map: NDArray[np.int32],
        pred_segments: Sequence[SegmentRow],
        gt_map: NDArray[np.int32],
        gt_segments: Sequence[SegmentRow],
        *,
        image_id: int | str = "",
        score: Sequence[float] | None = None,
    ) -> PanopticPair:
        """Compares two maps.

        Args:
            pred_map: (H, W) int32 predicted ids, 0 = void.
            pred_segments: Their table.
            gt_map: (H, W) int32 true ids, 0 = void.
            gt_segments: Their table.
            image_id: For lists of images.
            score: Confidence of each predicted segment, 0..1.

        Raises:
            InputError: Sizes differ, a map has an id that its table lacks or the reverse, or a category is unknown.
        """
        if pred_map.shape != gt_map.shape:
            raise InputError(
                f"prediction is {pred_map.shape}, ground truth {gt_map.shape} (height, width); they must agree"
            )
        gt_ids, gt_category = self._table(gt_segments, "ground truth")
        pred_ids, pred_category = self._table(pred_segments, "prediction")
        overlap = self._overlap(gt_map.ravel(), gt_ids, pred_map.ravel(), pred_ids)
        gt = Side(gt_map, gt_ids, gt_category, overlap.sum(axis=1))
        pred = Side(pred_map, pred_ids, pred_category, overlap.sum(axis=0))
        for side, name in ((gt, "ground truth"), (pred, "prediction")):
            if not side.area[1:].all():
                absent = side.ids[1:][side.area[1:] == 0][0]
                raise InputError(f"{name} table lists segment {absent}, which has no pixel in its map; drop it")
        is_crowd = np.array([False, *(segment.is_crowd for segment in gt_segments)])
        return PanopticPair(image_id, gt, pred, overlap, is_crowd, None if score is None else np.array([0.0, *score]))

    def _table(self, segments: Sequence[SegmentRow], side: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        ids, categories = [0], [-1]
        for segment in segments:
            index = self._index_of.get(segment.category_id)
            if index is None:
                raise InputError(
                    f"{side} segment {segment.id} has category_id {segment.category_id}, which is not among the "
                    f"{len(self._index_of)} categories; predict with the ground truth's categories"
                )
            ids.append(segment.id)
            categories.append(index)
        if len(set(ids)) < len(ids):
            raise InputError(f"{side} has two segments of one id, or a segment of id 0; ids are unique and 0 is void")
        if min(ids) < 0 or max(ids) > MAX_SEGMENT_ID:
            raise InputError(f"{side} has segment ids {min(ids[1:])} .. {max(ids)}; 1 .. {MAX_SEGMENT_ID} are possible")
        return np.array(ids), np.array(categories)

    def _overlap(
        self, gt: NDArray[np.int32], gt_ids: NDArray[np.int64], pred: NDArray[np.int32], pred_ids: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        if self._is_end.shape[1] < gt.size:
            self._is_end = np.empty((2, gt.size), dtype=bool)
        is_end, other = self._is_end[:, : gt.size]
        is_end[-1:] = True
        np.not_equal(gt[1:], gt[:-1], out=is_end[:-1])
        np.not_equal(pred[1:], pred[:-1], out=other[:-1])
        ends = np.flatnonzero(np.logical_or(is_end, other, out=is_end))
        gt_order, pred_order = np.argsort(gt_ids), np.argsort(pred_ids)
        shape = len(gt_ids), len(pred_ids)
        cells = _ranks(gt[ends], gt_ids[gt_order], "ground truth") * shape[1]
        cells += _ranks(pred[ends], pred_ids[pred_order], "prediction")
        # Sums of integers below 2**53 are exact in bincount's float64.
        counts = np.bincount(cells, weights=np.diff(ends, prepend=-1), minlength=shape[0] * shape[1])
        overlap = np.empty(shape, dtype=np.int64)
        overlap[gt_order[:, None], pred_order] = counts.reshape(shape)
        return overlap


def _ranks(values: NDArray[np.int32], ids: NDArray[np.int64], side: str) -> NDArray[np.int64]:
    """Position of each value among the ascending ids."""
    bounded = np.append(ids, np.iinfo(np.int32).max).astype(np.int32)  # a last one for values above all ids
    ranks: NDArray[np.int64] = np.searchsorted(bounded, values)
    is_strange = bounded[ranks] != values
    if is_strange.any() or (ranks.size and ranks.max() == len(ids)):
        strange = values[is_strange | (ranks == len(ids))][0]
        raise InputError(f"{side} map holds segment {strange}, which its table does not list; list it")
    return ranks
