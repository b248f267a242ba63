"""Segmentation and tracking quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeseg.metrics.overlap import PanopticPair
from edgeseg.metrics.tubes import Tubes
from edgeseg.structures import Category


@dataclass(frozen=True)
class SequenceSTQ:
    """Quality of one sequence, or of all."""

    stq: float
    aq: float
    sq: float
    num_tracks: int
    num_frames: int


@dataclass(frozen=True)
class STQResult:
    """Quality over all sequences, and of each by name."""

    all: SequenceSTQ
    per_sequence: Mapping[str, SequenceSTQ]

    def to_dict(self) -> dict[str, object]:
        """Plain values: stq, aq, sq, num_tracks, num_frames, and per_sequence."""
        return {**vars(self.all), "per_sequence": {name: dict(vars(row)) for name, row in self.per_sequence.items()}}


class SegmentationTrackingQuality:
    """STQ = sqrt(AQ * SQ) of frame sequences, "STEP" (Weber et al., NeurIPS Datasets and Benchmarks 2021).

    AQ: mean over the true tracks g of things of 1/|g| * sum over predicted tracks p of TPA^2 / (TPA + FPA + FNA), in
    pixels of the whole sequence, whatever categories the two have. Where the truth has a crowd of a thing, predicted
    pixels do not count. SQ: mean IoU of the categories that occur, over all sequences, without void of the truth.

    The rules are those of deeplab2 (evaluation/segmentation_and_tracking_quality.py), by which KITTI-STEP and VIPSeg
    are scored: so what a prediction has on void of the truth makes its tracks larger, and a prediction that leaves
    labelled pixels void is given one more category, of IoU 0. Without any true track of a thing, or any labelled
    pixel, AQ, SQ and STQ are 0, where deeplab2 divides by zero.

    Args:
        categories: Of the data set.
    """

    def __init__(self, categories: Sequence[Category]) -> None:
        self.categories = tuple(sorted(categories, key=lambda category: category.id))
        self._tubes: dict[str, Tubes] = {}

    def add(self, sequence: str, frame: Tubes) -> None:
        """Adds a frame, in any order.

        Raises:
            InputError: A segment id changes its category or crowd within the sequence.
        """
        tubes = self._tubes.setdefault(sequence, Tubes())
        tubes += frame

    def __add__(self, other: SegmentationTrackingQuality) -> SegmentationTrackingQuality:
        """Sums over the frames of both, which must have the same categories; a sequence may be in both."""
        if self.categories != other.categories:
            raise ValueError("tracking qualities over different categories cannot be added")
        both = SegmentationTrackingQuality(self.categories)
        for part in (self, other):
            for name, tubes in part._tubes.items():
                both.add(name, tubes)
        return both

    def compute(self) -> STQResult:
        """The quality of all frames so far."""
        sums, confusions, rows = [], [], {}
        for name, tubes in self._tubes.items():
            pair = tubes.pair()
            association, num_tracks = self._association(pair)
            confusion = self._confusion(pair)
            rows[name] = _quality(association, num_tracks, confusion, tubes.num_frames)
            sums.append((association, num_tracks, tubes.num_frames))
            confusions.append(confusion)
        association, num_tracks, num_frames = (sum(column) for column in zip((0.0, 0, 0), *sums, strict=True))
        num = len(self.categories)
        confusion = sum(confusions, np.zeros((num, num + 1), dtype=np.int64))
        return STQResult(_quality(association, int(num_tracks), confusion, int(num_frames)), rows)

    def _association(self, pair: PanopticPair) -> tuple[float, int]:
        """Sum over the true tracks, and their number."""
        is_thing = np.array([*(category.is_thing for category in self.categories), False])  # the last is void's
        gt_is_thing, pred_is_thing = is_thing[pair.gt.category], is_thing[pair.pred.category]
        pred_area = pair.overlap[~(gt_is_thing & pair.is_crowd)][:, pred_is_thing].sum(axis=0)
        tracks = gt_is_thing & ~pair.is_crowd
        shared, gt_area = pair.overlap[tracks][:, pred_is_thing], pair.gt.area[tracks, None]
        ious = shared / (gt_area + pred_area - shared)
        return float((shared * ious / gt_area).sum()), int(tracks.sum())

    def _confusion(self, pair: PanopticPair) -> NDArray[np.int64]:
        """(K, K + 1) labelled pixels by true and predicted category, the last column for void."""
        num = len(self.categories)
        rows, columns = np.meshgrid(pair.gt.category, pair.pred.category % (num + 1), indexing="ij")
        confusion = np.zeros((num + 1, num + 1), dtype=np.int64)
        np.add.at(confusion, (rows, columns), pair.overlap)  # void's row is the last as well
        return confusion[:num]


def _quality(association: float, num_tracks: int, confusion: NDArray[np.int64], num_frames: int) -> SequenceSTQ:
    right = confusion.diagonal()
    union = confusion.sum(axis=0)
    union[: len(right)] += confusion.sum(axis=1) - right
    sq = float((right / np.maximum(union[: len(right)], 1)).sum() / max(np.count_nonzero(union), 1))
    aq = association / max(num_tracks, 1)
    return SequenceSTQ(float(np.sqrt(aq * sq)), aq, sq, num_tracks, num_frames)
