"""Pixels that the segments of a predicted and a true map share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.panoptic_json import MAX_SEGMENT_ID
from edgeseg.structures import Category, InputError

_LOW_BITS = 0xFFFF
"""Part of an id that tells nearly all segments of an image apart."""


class SegmentRow(Protocol):
    """What the metrics read of a segment."""

    @property
    def id(self) -> int: ...  # noqa: D102
    @property
    def category_id(self) -> int: ...  # noqa: D102
    @property
    def is_crowd(self) -> bool: ...  # noqa: D102


class Table(NamedTuple):
    """The segments of one map, checked; row 0 is void.

    Attributes:
        ids: (n + 1,) int64 unique segment ids, the first is 0.
        category: (n + 1,) int64 contiguous category index, the first is -1.
        is_crowd: (n + 1,) bool, the first is False.
    """

    ids: NDArray[np.int64]
    category: NDArray[np.int64]
    is_crowd: NDArray[np.bool_]


@dataclass(frozen=True)
class Side:
    """One of the two maps.

    Attributes:
        panoptic_map: (H, W) int32 ids, counted from what the maps have for void (0, unless `compare_tables` was told
            otherwise); may be overwritten when the next image comes.
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
        self._row_of = np.zeros(_LOW_BITS + 1, dtype=np.int64)

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
        pred, gt = self._table(pred_segments, "prediction"), self._table(gt_segments, "ground truth")
        return self.compare_tables(pred_map, pred, gt_map, gt, image_id=image_id, score=score)

    def compare_tables(
        self,
        pred_map: NDArray[np.int32],
        pred_table: Table,
        gt_map: NDArray[np.int32],
        gt_table: Table,
        *,
        image_id: int | str = "",
        score: Sequence[float] | None = None,
        void: int = 0,
    ) -> PanopticPair:
        """Compares two maps whose tables are at hand as arrays.

        Args:
            pred_map: (H, W) int32 predicted ids.
            pred_table: Their table.
            gt_map: (H, W) int32 true ids.
            gt_table: Their table.
            image_id: For lists of images.
            score: Confidence of each predicted segment, 0..1.
            void: Value of void in the maps, from which their ids count (`edgeseg.data.panoptic_png.OPAQUE_VOID`).

        Raises:
            InputError: Sizes differ, or a map has an id that its table lacks or the reverse.
        """
        if pred_map.shape != gt_map.shape:
            raise InputError(
                f"prediction is {pred_map.shape}, ground truth {gt_map.shape} (height, width); they must agree"
            )
        gt_runs, pred_runs, lengths = self._runs(gt_map.ravel(), pred_map.ravel())
        cells = self._rows(gt_runs, gt_table.ids + void, void, "ground truth")
        cells *= len(pred_table.ids)
        cells += self._rows(pred_runs, pred_table.ids + void, void, "prediction")
        shape = len(gt_table.ids), len(pred_table.ids)
        # Sums of integers below 2**53 are exact in bincount's float64.
        overlap = np.bincount(cells, lengths, shape[0] * shape[1]).astype(np.int64).reshape(shape)
        gt = Side(gt_map, gt_table.ids, gt_table.category, overlap.sum(axis=1))
        pred = Side(pred_map, pred_table.ids, pred_table.category, overlap.sum(axis=0))
        for side, name in ((gt, "ground truth"), (pred, "prediction")):
            if not side.area[1:].all():
                absent = side.ids[1:][side.area[1:] == 0][0]
                raise InputError(f"{name} table lists segment {absent}, which has no pixel in its map; drop it")
        scores = None if score is None else np.array([0.0, *score])
        return PanopticPair(image_id, gt, pred, overlap, gt_table.is_crowd, scores)

    def _table(self, segments: Sequence[SegmentRow], side: str) -> Table:
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
        is_crowd = np.array([False, *(bool(segment.is_crowd) for segment in segments)])
        return Table(np.array(ids), np.array(categories), is_crowd)

    def _runs(
        self, gt: NDArray[np.int32], pred: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
        """True id, predicted id and length of each run of pixels in which neither changes."""
        if self._is_end.shape[1] < gt.size:
            self._is_end = np.empty((2, gt.size), dtype=bool)
        is_end, other = self._is_end[:, : gt.size]
        is_end[-1:] = True
        np.not_equal(gt[1:], gt[:-1], out=is_end[:-1])
        np.not_equal(pred[1:], pred[:-1], out=other[:-1])
        np.logical_or(is_end[:-1], other[:-1], out=is_end[:-1])
        ends = np.flatnonzero(is_end)
        return gt.take(ends), pred.take(ends), np.diff(ends, prepend=-1)

    def _rows(self, runs: NDArray[np.int32], ids: NDArray[np.int64], void: int, side: str) -> NDArray[np.int64]:
        """Row of each run's id, by its low bits; where two ids share those, or one is unknown, by a search."""
        self._row_of[ids & _LOW_BITS] = np.arange(len(ids))
        rows: NDArray[np.int64] = self._row_of.take(runs & _LOW_BITS)
        is_other = ids.take(rows, mode="clip") != runs  # an earlier image's row may be too large
        if is_other.any():
            rows[is_other] = _search(runs[is_other], ids, void, side)
        return rows


def _search(runs: NDArray[np.int32], ids: NDArray[np.int64], void: int, side: str) -> NDArray[np.int64]:
    order = np.argsort(ids)
    rows: NDArray[np.int64] = order.take(np.searchsorted(ids, runs, sorter=order), mode="clip")
    strange = runs[ids[rows] != runs]
    if strange.size:
        raise InputError(f"{side} map holds segment {strange[0] - void}, which its table does not list; list it")
    return rows
