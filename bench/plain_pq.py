"""Panoptic quality the plain way: the yardstick where panopticapi is not at hand.

The same steps as panopticapi's evaluation.py (github.com/cocodataset/panopticapi), stated again: Pillow, one id map per
side, numpy.unique over the prediction and over 64-bit pairs, dictionaries. It scores like it and costs about as much.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_NUM_IDS = 1 << 24


def plain_pq(pred_json: Path, pred_folder: Path, gt_json: Path, gt_folder: Path) -> dict[int, list[float]]:
    """Sums of IoU, TP, FP, FN by category id, of categories that occur."""
    truth, prediction = json.loads(gt_json.read_text()), json.loads(pred_json.read_text())
    predicted = {row["image_id"]: row for row in prediction["annotations"]}
    sums: dict[int, list[float]] = {}
    for row in truth["annotations"]:
        guess = predicted[row["image_id"]]
        gt_map, pred_map = _ids(gt_folder / row["file_name"]), _ids(pred_folder / guess["file_name"])
        _add(sums, gt_map, row["segments_info"], pred_map, guess["segments_info"])
    return sums


def _ids(path: Path) -> NDArray[np.uint32]:
    with Image.open(path) as picture:
        rgb = np.array(picture, dtype=np.uint32)
    return rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]


def _add(
    sums: dict[int, list[float]],
    gt_map: NDArray[np.uint32],
    gt_rows: list[dict[str, Any]],
    pred_map: NDArray[np.uint32],
    pred_rows: list[dict[str, Any]],
) -> None:
    pred_area = _areas(pred_map)
    pairs = _areas(gt_map.astype(np.uint64) * _NUM_IDS + pred_map)
    shared = Counter({divmod(pair, _NUM_IDS): count for pair, count in pairs.items()})
    gt_of, pred_of = ({row["id"]: row for row in rows} for rows in (gt_rows, pred_rows))
    found: set[tuple[str, int]] = set()

    def count(category: int, kind: int, amount: float = 1) -> None:
        sums.setdefault(category, [0, 0, 0, 0])[kind] += amount

    for (gt_id, pred_id), both in list(shared.items()):
        gt, pred = gt_of.get(gt_id), pred_of.get(pred_id)
        if gt is None or pred is None or gt["iscrowd"] or gt["category_id"] != pred["category_id"]:
            continue
        iou = both / (gt["area"] + pred_area[pred_id] - both - shared[0, pred_id])
        if iou > 0.5:
            count(gt["category_id"], 0, iou)
            count(gt["category_id"], 1)
            found |= {("gt", gt_id), ("pred", pred_id)}
    crowd_of: dict[int, int] = {}
    for gt_id, gt in gt_of.items():
        if gt["iscrowd"]:
            crowd_of[gt["category_id"]] = gt_id
        elif ("gt", gt_id) not in found:
            count(gt["category_id"], 3)
    for pred_id, pred in pred_of.items():
        excused = shared[0, pred_id] + shared[crowd_of.get(pred["category_id"], -1), pred_id]
        if ("pred", pred_id) not in found and excused / pred_area[pred_id] <= 0.5:
            count(pred["category_id"], 2)


def _areas(ids: NDArray[np.unsignedinteger]) -> dict[int, int]:
    values, counts = np.unique(ids, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))
