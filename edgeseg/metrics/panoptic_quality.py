"""Panoptic quality, equal to COCO's own evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edgeseg.metrics.matching import Matching, match
from edgeseg.metrics.overlap import Comparison, PanopticPair, SegmentRow
from edgeseg.structures import Category

SIZES = ("small", "medium", "large")
"""COCO's areas: below 32 x 32 pixels, below 96 x 96, the rest."""

_MEDIUM_AREA, _LARGE_AREA = 32**2, 96**2


@dataclass(frozen=True)
class MeanQuality:
    """Means over the n categories that occur, in ground truth or prediction; all 0 where n is 0."""

    pq: float
    sq: float
    rq: float
    n: int


@dataclass(frozen=True)
class CategoryQuality:
    """One category's sums over all images, and what follows from them (0 where nothing was counted)."""

    category: Category
    pq: float
    sq: float
    rq: float
    iou_sum: float
    tp: int
    fp: int
    fn: int


@dataclass(frozen=True)
class PQResult:
    """Panoptic (pq), segmentation (sq) and recognition quality (rq), each in 0..1."""

    all: MeanQuality
    things: MeanQuality
    stuff: MeanQuality
    per_category: tuple[CategoryQuality, ...]

    def to_dict(self) -> dict[str, dict[str, object]]:
        """Plain values: all, things, stuff, and per_category by the id as a string."""
        means: dict[str, dict[str, object]] = {
            name: dict(vars(mean)) for name, mean in (("all", self.all), ("things", self.things), ("stuff", self.stuff))
        }
        rows: dict[str, object] = {}
        for quality in self.per_category:
            values = {key: value for key, value in vars(quality).items() if key != "category"}
            rows[str(quality.category.id)] = {"name": quality.category.name, **values}
        return {**means, "per_category": rows}


class PanopticQuality:
    """Sums of panoptic quality over images.

    "Panoptic Segmentation" (Kirillov et al., CVPR 2019) with panopticapi's rules for void and crowds (`match`). Areas
    are counted from the maps; panopticapi takes those of the ground truth from its JSON.

    A category that occurs neither in the truth nor in the prediction is left out of the means, as panopticapi does. A
    group in which none occurs scores 0 with n = 0, where panopticapi divides by zero.

    Attributes:
        counts: (4, 3, K) float64 sums of IoU, TP, FP, FN by size and category, ascending by id. What is found or missed
            counts under the size of the true segment, what is false under its own.
    """

    def __init__(self, categories: Sequence[Category]) -> None:
        self.categories = tuple(sorted(categories, key=lambda category: category.id))
        self.counts = np.zeros((4, len(SIZES), len(self.categories)), dtype=np.float64)

    def update(
        self,
        pred_map: NDArray[np.int32],
        pred_segments: Sequence[SegmentRow],
        gt_map: NDArray[np.int32],
        gt_segments: Sequence[SegmentRow],
    ) -> None:
        """Adds one image; for many, one `Comparison` and `add` are faster.

        Args:
            pred_map: (H, W) int32 predicted ids, 0 = void.
            pred_segments: Their table; only id and category_id are read.
            gt_map: (H, W) int32 true ids, 0 = void.
            gt_segments: Their table; is_crowd is read too.

        Raises:
            InputError: Sizes differ, a map has an id that its table lacks or the reverse, or a category is unknown.
        """
        self.add(Comparison(self.categories).compare(pred_map, pred_segments, gt_map, gt_segments))

    def add(self, pair: PanopticPair) -> None:
        """Adds one image."""
        matching = self.match(pair)
        found, missed, false = matching.gt_rows, matching.missed, matching.false
        iou_sum, tp, fp, fn = self.counts
        size, category = _size(pair.gt.area), pair.gt.category
        np.add.at(iou_sum, (size[found], category[found]), matching.iou)
        np.add.at(tp, (size[found], category[found]), 1)
        np.add.at(fn, (size[missed], category[missed]), 1)
        np.add.at(fp, (_size(pair.pred.area)[false], pair.pred.category[false]), 1)

    def match(self, pair: PanopticPair) -> Matching:
        """What counts as found, missed and false in one image."""
        return match(pair)

    def __add__(self, other: Self) -> Self:
        """Sums over the images of both, which must have the same categories."""
        if self.categories != other.categories:
            raise ValueError("panoptic qualities over different categories cannot be added")
        both = type(self)(self.categories)
        both.counts = self.counts + other.counts
        return both

    def compute(self) -> PQResult:
        """The quality of all images so far."""
        return _result(self.categories, self.counts.sum(axis=1))

    def compute_by_size(self) -> dict[str, PQResult]:
        """The quality of small, medium and large segments."""
        return {name: _result(self.categories, self.counts[:, size]) for size, name in enumerate(SIZES)}

    def to_dict(self) -> dict[str, object]:
        """`compute` as plain values."""
        return dict(self.compute().to_dict())


class QualityBySize(PanopticQuality):
    """Panoptic quality of small, medium and large segments."""

    def to_dict(self) -> dict[str, object]:
        """By size: all, things and stuff."""
        by_size = self.compute_by_size().items()
        return {
            size: {group: vars(getattr(result, group)) for group in ("all", "things", "stuff")}
            for size, result in by_size
        }


def _size(area: NDArray[np.int64]) -> NDArray[np.int64]:
    return (area >= _MEDIUM_AREA).astype(np.int64) + (area >= _LARGE_AREA)


def _result(categories: Sequence[Category], counts: NDArray[np.float64]) -> PQResult:
    rows = []
    for category, (iou_sum, tp, fp, fn) in zip(categories, counts.T.tolist(), strict=True):
        weight = tp + fp / 2 + fn / 2
        rows.append(
            CategoryQuality(
                category,
                pq=iou_sum / weight if weight else 0.0,
                sq=iou_sum / tp if tp else 0.0,
                rq=tp / weight if weight else 0.0,
                iou_sum=iou_sum,
                tp=int(tp),
                fp=int(fp),
                fn=int(fn),
            )
        )
    things = [row for row in rows if row.category.is_thing]
    stuff = [row for row in rows if not row.category.is_thing]
    return PQResult(_mean(rows), _mean(things), _mean(stuff), tuple(rows))


def _mean(rows: Sequence[CategoryQuality]) -> MeanQuality:
    counted = [row for row in rows if row.tp + row.fp + row.fn]
    n = max(len(counted), 1)
    return MeanQuality(
        pq=sum(row.pq for row in counted) / n,
        sq=sum(row.sq for row in counted) / n,
        rq=sum(row.rq for row in counted) / n,
        n=len(counted),
    )
