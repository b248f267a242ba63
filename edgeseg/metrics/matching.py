"""Which predicted segments are found, false, or excused."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeseg.metrics.overlap import PanopticPair


class Matching(NamedTuple):
    """Matched pairs and what is left over, as rows of the pair's tables.

    Attributes:
        gt_rows: (n,) int64 found segments.
        pred_rows: (n,) int64 what found each of them.
        iou: (n,) float64.
        missed: (m,) int64 rows of the truth that nothing found; crowds are never missed.
        false: (f,) int64 rows of the prediction that found nothing and are not excused.
    """

    gt_rows: NDArray[np.int64]
    pred_rows: NDArray[np.int64]
    iou: NDArray[np.float64]
    missed: NDArray[np.int64]
    false: NDArray[np.int64]


def match(pair: PanopticPair, iou: NDArray[np.float64] | None = None, *, within_categories: bool = True) -> Matching:
    """Matches by panopticapi's rules (github.com/cocodataset/panopticapi, evaluation.py).

    A match is an IoU above 0.5, the union without what the prediction has on void; so nothing can match twice. Crowds
    are neither found nor missed; a prediction that lies more than half on void or on its own category's crowd is not
    false, where of several crowds of one category the last counts.

    Args:
        pair: The two maps.
        iou: (gt rows, pred rows) to judge by, at most the pair's own, which is the default.
        within_categories: Match only segments of the same category.
    """
    iou = pair.iou if iou is None else iou
    is_match = iou > 0.5
    if within_categories:
        is_match &= pair.gt.category[:, None] == pair.pred.category
    is_match[0] = is_match[:, 0] = is_match[pair.is_crowd] = False
    gt_rows, pred_rows = np.divmod(np.flatnonzero(is_match), is_match.shape[1])

    excused = pair.overlap[0].copy()
    for row in {pair.gt.category[row]: row for row in np.flatnonzero(pair.is_crowd)}.values():
        own = pair.pred.category == pair.gt.category[row]
        excused[own] += pair.overlap[row, own]
    is_false = 2 * excused <= pair.pred.area
    is_missed = ~pair.is_crowd
    is_false[0] = is_missed[0] = is_false[pred_rows] = is_missed[gt_rows] = False
    return Matching(gt_rows, pred_rows, iou[gt_rows, pred_rows], np.flatnonzero(is_missed), np.flatnonzero(is_false))
