"""Panoptic folders that cost what COCO's cost: size, number of segments, ragged outlines."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeseg.data.coco_panoptic import encode_ids
from edgeseg.data.panoptic_json import MAX_SEGMENT_ID

NUM_THINGS, NUM_STUFF = 80, 53
SIZES = ((427, 640), (480, 640), (640, 480))  # (height, width), the three commonest of val2017
STUFF_SEGMENTS, THING_SEGMENTS = (3, 6), (5, 15)


def make_coco_like(out: Path, num_images: int, *, seed: int = 0) -> tuple[Path, Path]:
    """Draws a truth and a prediction that finds most of it; the same seed draws the same folders.

    Args:
        out: Holds gt.json, gt/, pred.json, pred/ afterwards.
        num_images: Images in each.
        seed: Of the shapes.

    Returns:
        The predicted and the true JSON.
    """
    categories = [
        {"id": number, "name": f"category {number}", "isthing": int(number <= NUM_THINGS), "color": [1, 2, 3]}
        for number in range(1, NUM_THINGS + NUM_STUFF + 1)
    ]
    documents: dict[str, dict[str, Any]] = {
        side: {"annotations": [], "categories": categories} for side in ("gt", "pred")
    }
    for side in documents:
        (out / side).mkdir(parents=True)
    for image_id in range(num_images):
        for side, panoptic_map, category_of in _draw(np.random.default_rng([seed, image_id])):
            name = f"{image_id:012d}.png"
            Image.fromarray(encode_ids(panoptic_map)).save(out / side / name)
            ids, areas = np.unique(panoptic_map[panoptic_map > 0], return_counts=True)
            rows = [
                {"id": id_, "category_id": category_of[id_], "area": area, "iscrowd": 0, "score": 1 / area}
                for id_, area in zip(ids.tolist(), areas.tolist(), strict=True)
            ]
            documents[side]["annotations"].append({"image_id": image_id, "file_name": name, "segments_info": rows})
    for side, document in documents.items():
        (out / f"{side}.json").write_text(json.dumps(document))
    return out / "pred.json", out / "gt.json"


def repeated(source: Path, times: int, out: Path) -> None:
    """Writes a JSON that lists every image of `source` several times under new ids, with the same PNGs."""
    document = json.loads(source.read_text())
    rows = document["annotations"]
    document["annotations"] = [
        {**row, "image_id": f"{row['image_id']}-{copy}"} for copy in range(times) for row in rows
    ]
    document["images"] = []
    out.write_text(json.dumps(document))


def _draw(rng: np.random.Generator) -> list[tuple[str, NDArray[np.int32], dict[int, int]]]:
    """Both sides as (name, map, category by id)."""
    height, width = SIZES[rng.integers(len(SIZES))]
    num_stuff, num_things = rng.integers(*STUFF_SEGMENTS), rng.integers(*THING_SEGMENTS)
    maps = [np.zeros((height, width), np.int32), np.zeros((height, width), np.int32)]
    category_of: tuple[dict[int, int], dict[int, int]] = ({}, {})
    stuff = NUM_THINGS + 1 + rng.permutation(NUM_STUFF)[:num_stuff]
    things = rng.integers(1, NUM_THINGS + 1, num_things)
    for number, category in enumerate([*stuff.tolist(), *things.tolist()]):
        is_stuff = number < num_stuff
        radius = (0.6 if is_stuff else rng.uniform(0.03, 0.25)) * max(height, width)
        centre = rng.uniform((0, 0), (width, height))
        outline = _outline(rng, centre, radius)
        ids = rng.integers(1, MAX_SEGMENT_ID, 2).tolist()
        cv2.fillPoly(maps[0], [outline], ids[0])
        if is_stuff or rng.random() < 0.85:  # the others are missed
            shifted = outline + rng.integers(-5, 6, 2, dtype=np.int32)
            cv2.fillPoly(maps[1], [shifted], ids[1])
        category_of[0][ids[0]] = category
        category_of[1][ids[1]] = category if rng.random() < 0.9 else category % NUM_THINGS + 1
    return [(side, *pair) for side, pair in zip(("gt", "pred"), zip(maps, category_of, strict=True), strict=True)]


def _outline(rng: np.random.Generator, centre: NDArray[np.float64], radius: float) -> NDArray[np.int32]:
    """A ragged closed outline: a circle whose radius wanders on all scales."""
    num_points = max(24, int(radius))
    angle = np.linspace(0, 2 * math.pi, num_points, endpoint=False)
    waves = sum(rng.normal(0, 0.35 / k) * np.cos(k * angle + rng.uniform(0, 2 * math.pi)) for k in range(1, 40, 2))
    length = radius * np.clip(1 + waves, 0.2, 2.0)
    points = centre + length[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    rounded: NDArray[np.int32] = np.round(points).astype(np.int32)
    return rounded
