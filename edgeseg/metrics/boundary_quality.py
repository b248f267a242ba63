"""Boundary PQ: panoptic quality that looks at outlines."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeseg.metrics.matching import Matching, match
from edgeseg.metrics.overlap import PanopticPair, Side
from edgeseg.metrics.panoptic_quality import PanopticQuality

DILATION_RATIO = 0.02
"""Width of a boundary as a share of the image's diagonal, the paper's for COCO."""


class BoundaryQuality(PanopticQuality):
    """Panoptic quality with min(mask IoU, boundary IoU) in place of the mask IoU.

    "Boundary IoU" (Cheng et al., CVPR 2021) with the rules of github.com/bowenc0221/boundary-iou-api
    (coco_panoptic_api/evaluation.py): a segment's boundary is what an erosion takes away, the image's border counts as
    outside, and excuses by void and crowd go by masks. Theirs marks interiors with the first free category id, which
    collides with a segment of that id; ours does not.
    """

    def match(self, pair: PanopticPair) -> Matching:
        """What counts as found, missed and false in one image."""
        return match(pair, np.minimum(pair.iou, _boundaries(pair).iou))


def boundary_width(height: int, width: int) -> int:
    """Pixels that a boundary is wide in an image of this size."""
    return max(1, round(DILATION_RATIO * math.hypot(height, width)))


def interior(panoptic_map: NDArray[np.int32], width: int) -> NDArray[np.bool_]:
    """(H, W) bool: pixels whose neighbourhood of `width` lies in their own segment and in the image.

    The same as eroding every segment on its own, at the price of two filters for all of them: the neighbourhood holds
    one id where its least and greatest agree. float32 holds 24-bit ids exactly.
    """
    ids = panoptic_map.astype(np.float32)
    window = np.ones((2 * width + 1, 2 * width + 1), dtype=np.uint8)
    least = cv2.erode(ids, window, borderType=cv2.BORDER_CONSTANT, borderValue=-1)
    greatest = cv2.dilate(ids, window)
    same: NDArray[np.bool_] = least == greatest
    return same


def _boundaries(pair: PanopticPair) -> PanopticPair:
    """The pair with the interiors of all segments taken out."""
    width = boundary_width(*pair.gt.panoptic_map.shape)
    (gt_rows, gt_stays), (pred_rows, pred_stays) = (_without_interiors(side, width) for side in (pair.gt, pair.pred))
    both = gt_stays & pred_stays
    shape = pair.overlap.shape
    overlap = np.bincount(gt_rows[both] * shape[1] + pred_rows[both], minlength=shape[0] * shape[1]).reshape(shape)
    gt_area = np.bincount(gt_rows[gt_stays], minlength=shape[0])
    pred_area = np.bincount(pred_rows[pred_stays], minlength=shape[1])
    return replace(pair, gt=replace(pair.gt, area=gt_area), pred=replace(pair.pred, area=pred_area), overlap=overlap)


def _without_interiors(side: Side, width: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(H, W) rows of the table, and where void or a boundary is."""
    order = np.argsort(side.ids)
    rows = order[np.searchsorted(side.ids, side.panoptic_map, sorter=order)]
    return rows, (side.panoptic_map == 0) | ~interior(side.panoptic_map, width)
