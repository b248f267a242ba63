"""Segments followed over the frames of a sequence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgeseg.metrics.overlap import PanopticPair, Side
from edgeseg.structures import InputError

_NO_MAP = np.empty((0, 0), dtype=np.int32)


class Tubes:
    """Pixels that true and predicted tubes share; a tube is all pixels of one segment id.

    Tubes of several frames are their sum, in any order but for which of two crowds of a category counts (the last).

    Attributes:
        num_frames: Frames added.
    """

    def __init__(self) -> None:
        self.num_frames = 0
        self._gt: dict[int, tuple[int, bool]] = {0: (-1, False)}  # category index and crowd by id; 0 is void
        self._pred: dict[int, tuple[int, bool]] = {0: (-1, False)}
        self._shared: Counter[tuple[int, int]] = Counter()

    @classmethod
    def of_frame(cls, pair: PanopticPair) -> Tubes:
        """The tubes of one frame."""
        tubes = cls()
        tubes.num_frames = 1
        gt_ids, pred_ids = pair.gt.ids.tolist(), pair.pred.ids.tolist()
        tubes._gt = dict(zip(gt_ids, zip(pair.gt.category.tolist(), pair.is_crowd.tolist(), strict=True), strict=True))
        tubes._pred = {
            id_: (category, False) for id_, category in zip(pred_ids, pair.pred.category.tolist(), strict=True)
        }
        for row, column in np.argwhere(pair.overlap).tolist():
            tubes._shared[gt_ids[row], pred_ids[column]] = int(pair.overlap[row, column])
        return tubes

    def __iadd__(self, other: Tubes) -> Tubes:
        """Adds later frames.

        Raises:
            InputError: A segment id means another category, or a crowd, there.
        """
        _join(self._gt, other._gt, "ground truth")
        _join(self._pred, other._pred, "prediction")
        self._shared.update(other._shared)
        self.num_frames += other.num_frames
        return self

    def __add__(self, other: Tubes) -> Tubes:
        """Tubes of both, those of `other` later."""
        both = Tubes()
        both += self
        both += other
        return both

    def pair(self) -> PanopticPair:
        """The tubes as segments of one image: all that metrics which read no pixels need."""
        gt_row, pred_row = ({id_: row for row, id_ in enumerate(table)} for table in (self._gt, self._pred))
        overlap = np.zeros((len(gt_row), len(pred_row)), dtype=np.int64)
        for (gt_id, pred_id), pixels in self._shared.items():
            overlap[gt_row[gt_id], pred_row[pred_id]] = pixels
        is_crowd = np.array([is_crowd for _, is_crowd in self._gt.values()])
        gt, pred = _side(self._gt, overlap.sum(axis=1)), _side(self._pred, overlap.sum(axis=0))
        return PanopticPair("", gt, pred, overlap, is_crowd)


def _join(known: dict[int, tuple[int, bool]], new: Mapping[int, tuple[int, bool]], side: str) -> None:
    for id_, meaning in new.items():
        if known.setdefault(id_, meaning) != meaning:
            raise InputError(
                f"{side} segment {id_} changes its category or crowd within a sequence; a segment id is a track, "
                "which has one category: give another one an id of its own"
            )


def _side(table: Mapping[int, tuple[int, bool]], area: NDArray[np.int64]) -> Side:
    category = np.array([category for category, _ in table.values()], dtype=np.int64)
    return Side(_NO_MAP, np.array(list(table), dtype=np.int64), category, area)
