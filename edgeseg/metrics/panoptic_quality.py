"""Panoptic quality, equal to COCO's own evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.coco_panoptic import read_panoptic_png
from edgeseg.data.panoptic_json import read_panoptic_json
from edgeseg.structures import Category, InputError, Segment


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

    The rules are those of panopticapi (github.com/cocodataset/panopticapi, evaluation.py), from "Panoptic Segmentation"
    (Kirillov et al., CVPR 2019): a match has the same category and an IoU above 0.5, the union without what the
    prediction has on void; crowds are never missed; a prediction that lies more than half on void or on its own
    category's crowd is no false positive, where of several crowds of one category the last counts. Areas are counted
    from the maps; panopticapi takes those of the ground truth from its JSON.

    Attributes:
        counts: (4, K) float64 sums of IoU, TP, FP, FN, categories ascending by id. Processes add theirs up.
    """

    def __init__(self, categories: Sequence[Category]) -> None:
        self.categories = tuple(sorted(categories, key=lambda category: category.id))
        self.counts = np.zeros((4, len(self.categories)), dtype=np.float64)
        self._index_of = {category.id: index for index, category in enumerate(self.categories)}

    def update(
        self,
        pred_map: NDArray[np.int32],
        pred_segments: Sequence[Segment],
        gt_map: NDArray[np.int32],
        gt_segments: Sequence[Segment],
    ) -> None:
        """Adds one image.

        Args:
            pred_map: (H, W) int32 predicted ids, 0 = void.
            pred_segments: Their table; only id and category_id are read.
            gt_map: (H, W) int32 true ids, 0 = void.
            gt_segments: Their table; is_crowd is read too.

        Raises:
            InputError: Sizes differ, a map has an id that its table lacks or the reverse, or a category is unknown.
        """
        if pred_map.shape != gt_map.shape:
            raise InputError(
                f"prediction is {pred_map.shape}, ground truth {gt_map.shape} (height, width); they must agree"
            )
        pred_ids, pred_category = self._table(pred_segments, "prediction")
        gt_ids, gt_category = self._table(gt_segments, "ground truth")
        overlap = _overlaps(gt_map, gt_ids, pred_map, pred_ids)
        is_crowd = np.array([False, *(segment.is_crowd for segment in gt_segments)])

        pred_area, gt_area = overlap.sum(axis=0), overlap.sum(axis=1)
        on_void = overlap[0]
        union = gt_area[:, None] + pred_area[None] - overlap - on_void[None]
        comparable = (gt_category[:, None] == pred_category[None]) & ~is_crowd[:, None]
        comparable[0] = comparable[:, 0] = False
        gt_rows, pred_columns = np.nonzero(comparable & (2 * overlap > union))
        iou = overlap[gt_rows, pred_columns] / union[gt_rows, pred_columns]

        crowd_row = np.zeros(len(self.categories), dtype=np.int64)  # 0, the row of void: no crowd
        for row in np.flatnonzero(is_crowd):
            crowd_row[gt_category[row]] = row
        own_crowd = crowd_row[pred_category]
        excused = on_void + np.where(own_crowd > 0, overlap[own_crowd, np.arange(len(pred_category))], 0)
        is_fp = 2 * excused <= pred_area
        is_fp[0] = is_fp[pred_columns] = False
        is_fn = ~is_crowd
        is_fn[0] = is_fn[gt_rows] = False

        num = len(self.categories)
        self.counts[0] += np.bincount(gt_category[gt_rows], weights=iou, minlength=num)
        self.counts[1] += np.bincount(gt_category[gt_rows], minlength=num)
        self.counts[2] += np.bincount(pred_category[is_fp], minlength=num)
        self.counts[3] += np.bincount(gt_category[is_fn], minlength=num)

    def __add__(self, other: PanopticQuality) -> PanopticQuality:
        """Sums over the images of both, which must have the same categories."""
        if self.categories != other.categories:
            raise ValueError("panoptic qualities over different categories cannot be added")
        both = PanopticQuality(self.categories)
        both.counts = self.counts + other.counts
        return both

    def compute(self) -> PQResult:
        """The quality of all images so far."""
        rows = []
        for category, (iou_sum, tp, fp, fn) in zip(self.categories, self.counts.T.tolist(), strict=True):
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

    def _table(self, segments: Sequence[Segment], side: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ids and contiguous categories of the rows, void first (its category is a placeholder)."""
        for segment in segments:
            if segment.category_id not in self._index_of:
                raise InputError(
                    f"{side} segment {segment.id} has category_id {segment.category_id}, which is not among the "
                    f"{len(self.categories)} categories; predict with the ground truth's categories"
                )
        ids = np.array([0, *(segment.id for segment in segments)], dtype=np.int64)
        if len(np.unique(ids)) < len(ids):
            raise InputError(f"{side} has two segments of one id, or a segment of id 0; ids are unique and 0 is void")
        return ids, np.array([0, *(self._index_of[segment.category_id] for segment in segments)], dtype=np.int64)


def evaluate_folder(pred_json: Path, pred_folder: Path, gt_json: Path, gt_folder: Path) -> PQResult:
    """Panoptic quality of a predicted JSON and PNG folder against the true ones.

    Raises:
        InputError: A file is bad, or the two JSON files do not list the same images.
    """
    truth = read_panoptic_json(gt_json)
    prediction = read_panoptic_json(pred_json, truth.categories)
    if not truth.annotations:
        raise InputError(f"{gt_json} has no annotations; there is nothing to evaluate")
    for ours, theirs, path in ((truth, prediction, pred_json), (prediction, truth, gt_json)):
        missing = ours.annotations.keys() - theirs.annotations.keys()
        if missing:
            raise InputError(
                f"{path} has no annotation of image_id {min(missing, key=str)!r} ({len(missing)} missing); "
                "prediction and ground truth must list the same images"
            )
    quality = PanopticQuality(truth.categories)
    for image_id, record in truth.annotations.items():
        predicted = prediction.annotations[image_id]
        gt_map, gt_segments = read_panoptic_png(gt_folder / record.png_name, record.segments)
        pred_map, pred_segments = read_panoptic_png(pred_folder / predicted.png_name, predicted.segments)
        if pred_map.shape != gt_map.shape:
            raise InputError(
                f"{pred_folder / predicted.png_name} is {pred_map.shape[0]} x {pred_map.shape[1]} (height x width), "
                f"the ground truth {gt_map.shape[0]} x {gt_map.shape[1]}; predict at the photo's size"
            )
        quality.update(pred_map, pred_segments, gt_map, gt_segments)
    return quality.compute()


def _overlaps(
    gt_map: NDArray[np.int32], gt_ids: NDArray[np.int64], pred_map: NDArray[np.int32], pred_ids: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(rows of gt_ids, rows of pred_ids) pixels that two ids share.

    Counts runs of equal pairs instead of pixels: a photo's maps have about a hundred times fewer.
    """
    gt, pred = gt_map.ravel(), pred_map.ravel()
    starts = np.concatenate(([0], np.flatnonzero((gt[1:] != gt[:-1]) | (pred[1:] != pred[:-1])) + 1))
    lengths = np.diff(starts, append=gt.size)
    rows = _rows(gt[starts], gt_ids, "ground truth")
    columns = _rows(pred[starts], pred_ids, "prediction")
    shape = len(gt_ids), len(pred_ids)
    # Sums of integers below 2**53 are exact in bincount's float64.
    counts = np.bincount(rows * shape[1] + columns, weights=lengths, minlength=shape[0] * shape[1])
    return counts.astype(np.int64).reshape(shape)


def _rows(values: NDArray[np.int32], ids: NDArray[np.int64], side: str) -> NDArray[np.int64]:
    order = np.argsort(ids)
    places = order[np.minimum(np.searchsorted(ids, values, sorter=order), len(ids) - 1)]
    is_strange = ids[places] != values
    if is_strange.any():
        raise InputError(f"{side} map holds segment {values[is_strange][0]}, which its table does not list; list it")
    is_seen = np.zeros(len(ids), dtype=bool)
    is_seen[places] = True
    is_seen[ids == 0] = True
    if not is_seen.all():
        raise InputError(f"{side} table lists segment {ids[~is_seen][0]}, which has no pixel in its map; drop it")
    return places


def _mean(rows: Sequence[CategoryQuality]) -> MeanQuality:
    counted = [row for row in rows if row.tp + row.fp + row.fn]
    n = max(len(counted), 1)
    return MeanQuality(
        pq=sum(row.pq for row in counted) / n,
        sq=sum(row.sq for row in counted) / n,
        rq=sum(row.rq for row in counted) / n,
        n=len(counted),
    )
