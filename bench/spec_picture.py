"""Picture cases of apps/spec: letterbox, the way back, overlay, segments, COCO panoptic."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeseg.data.coco_panoptic import write_panoptic
from edgeseg.data.transforms import fitted_size, unletterbox_map
from edgeseg.merge import merged_to_segments
from edgeseg.structures import VOID_SLOT, Category, Merged, Segment
from edgeseg.visualize import segment_colors

Keep = Callable[[str, NDArray[np.generic]], dict[str, object]]
Size = tuple[int, int]

CATEGORIES = (
    Category(1, "person", True, (220, 20, 60)),
    Category(3, "car", True, (0, 60, 230)),
    Category(40, 'sign "ä"', True, (240, 230, 0)),
    Category(149, "road", False, (128, 64, 128)),
    Category(187, "sky", False, (130, 190, 235)),
)
"""Ids with gaps, a name with a quote and an umlaut."""

_VOID_INK = 60
_PHOTOS: tuple[tuple[Size, Size], ...] = (
    ((48, 64), (64, 64)),
    ((100, 37), (32, 64)),
    ((37, 100), (64, 32)),
    ((64, 64), (64, 64)),
    ((96, 96), (32, 32)),
    ((9, 7), (64, 64)),
    ((1, 50), (32, 32)),
    ((50, 1), (32, 32)),
    ((45, 80), (32, 48)),
    ((3, 70), (32, 64)),
)
"""(photo, network): shrunk, grown, as they are, one pixel thin, and one that shrinks in one direction only."""


def letterbox(image: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """The letterbox of apps, in integers, so that every language gives equal bytes.

    Where the photo has more rows than it will fill, a pixel is the mean of what it covers; else it is bilinear between
    centres, edges repeated. Halves round up. `edgeseg.data.transforms.letterbox` (OpenCV) differs by one level at most.

    Args:
        image: (H, W, 3).
        size: (height, width) of the network's input.

    Returns:
        (height, width, 3), the photo top-left, zeros right and below.
    """
    fitted = fitted_size((image.shape[0], image.shape[1]), size)
    weights = _covered if fitted[0] < image.shape[0] else _between
    down, across = weights(image.shape[0], fitted[0]), weights(image.shape[1], fitted[1])
    total = int(down[0].sum()) * int(across[0].sum())
    summed = np.einsum("yh,hwc,xw->yxc", down, image.astype(np.int64), across, optimize=True)
    padded = np.zeros((*size, 3), dtype=np.uint8)
    padded[: fitted[0], : fitted[1]] = (2 * summed + total) // (2 * total)
    return padded


def slot_colors(merged: Merged, categories: Sequence[Category]) -> list[tuple[int, int, int]]:
    """A colour per slot: stuff has its category's, slot s of a thing has the shade of rank s, an empty slot is black.

    The shade hangs on the slot, not on the rank among the segments present, so that a car keeps its colour on video.
    """
    colors = []
    for slot, index in enumerate(merged.slot_category.tolist()):
        colors.append((0, 0, 0) if index < 0 else shades(categories[index], slot + 1)[slot])
    return colors


def shades(category: Category, num: int) -> list[tuple[int, int, int]]:
    """The first shades of a category, by rank (edgeseg.visualize.segment_colors)."""
    ranks = [Segment(id=rank + 1, category_id=category.id, area=1, bbox=(0, 0, 1, 1)) for rank in range(num)]
    return list(segment_colors(ranks, [category]).values())


def overlay(
    merged: Merged, slot_map: NDArray[np.uint8], categories: Sequence[Category], *, opacity: float, outlines: bool
) -> NDArray[np.uint8]:
    """What apps lay over the photo.

    Args:
        merged: Categories of the slots.
        slot_map: (H, W), brought to the photo's size.
        categories: By contiguous index.
        opacity: 0..1, of colours; void gets black of the same opacity.
        outlines: Pixels with a neighbour (up, down, left, right) of another segment get an opaque tint of their colour.

    Returns:
        (H, W, 4) RGBA, alpha not multiplied in.
    """
    table = np.zeros((256, 4), dtype=np.uint8)
    table[: len(merged.slot_category), :3] = slot_colors(merged, categories)
    table[:, 3] = int(opacity * 255 + 0.5)
    picture = table[slot_map]
    if outlines:
        ids = merged_to_segments(merged, slot_map, categories)[0]
        down, right = ids[1:] != ids[:-1], ids[:, 1:] != ids[:, :-1]
        border = np.zeros(ids.shape, dtype=np.bool_)
        border[1:] |= down
        border[:-1] |= down
        border[:, 1:] |= right
        border[:, :-1] |= right
        ink = (table[:, :3].astype(np.int32) * 35 + 255 * 65 + 50) // 100
        ink[VOID_SLOT] = _VOID_INK
        picture[border] = np.concatenate([ink[slot_map[border]], np.full((int(border.sum()), 1), 255)], axis=1)
    return picture


def letterbox_cases(keep: Keep) -> list[dict[str, object]]:
    """Noise photos and their letterboxed bytes, and the index lists of the way back at upsample 1, 2, 4."""
    rng = np.random.default_rng(3)
    cases: list[dict[str, object]] = []
    for photo, network in _PHOTOS:
        name = f"{photo[0]}x{photo[1]}_in_{network[0]}x{network[1]}"
        image = rng.integers(0, 256, (*photo, 3), dtype=np.uint8)
        row: dict[str, object] = {"name": name, "photo_size": photo, "network_size": network}
        row["fitted"] = fitted_size(photo, network)
        row["image"] = keep(f"letterbox/{name}.image", image)
        row["letterboxed"] = keep(f"letterbox/{name}.letterboxed", letterbox(image, network))
        cases.append(row)
    return cases


def unletterbox_cases() -> list[dict[str, object]]:
    """Which map row and column each row and column of the photo reads, for common and for awkward sizes."""
    sizes: tuple[tuple[Size, Size], ...] = (*_PHOTOS, ((1080, 1920), (256, 256)), ((1920, 1080), (128, 128)))
    rows = []
    for photo, network in sizes:
        fitted = fitted_size(photo, network)
        for upsample in (1, 2, 4) if max(photo) < 1000 else (4,):
            height, width = (side // 4 * upsample for side in network)
            y = np.arange(height, dtype=np.int32)[:, None].repeat(width, axis=1)
            x = np.arange(width, dtype=np.int32)[None].repeat(height, axis=0)
            rows.append(
                {
                    "photo_size": photo,
                    "network_size": network,
                    "upsample": upsample,
                    "fitted": fitted,
                    "rows": unletterbox_map(y, fitted, network, photo)[:, 0].tolist(),
                    "columns": unletterbox_map(x, fitted, network, photo)[0].tolist(),
                }
            )
    return rows


def scene(seed: int, *, network: Size, upsample: int, num_slots: int) -> Merged:
    """A made-up answer: blobs of a few slots, some stuff twice, some void, an empty slot that a pixel never shows."""
    rng = np.random.default_rng(seed)
    height, width = (side // 4 * upsample for side in network)
    y, x = np.mgrid[:height, :width]
    slot_map = np.full((height, width), VOID_SLOT, dtype=np.uint8)
    for slot in range(num_slots - 1):  # the last one stays empty
        top, left, radius = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(3, height / 2)
        slot_map[(y - top) ** 2 + (x - left) ** 2 < radius**2] = slot
    category = np.arange(num_slots, dtype=np.int32) * 2 % len(CATEGORIES)
    score = (rng.integers(500, 1000, num_slots) / 1000).astype(np.float32)
    is_full = np.isin(np.arange(num_slots), slot_map)
    return Merged(
        slot_map, np.where(is_full, category, -1).astype(np.int32), np.where(is_full, score, 0).astype(np.float32)
    )


def overlay_cases(keep: Keep) -> list[dict[str, object]]:
    """Scenes brought to a photo's size: overlay, segments, taps and the COCO panoptic document."""
    plans: tuple[tuple[str, Size, Size, int, int, float, bool], ...] = (
        ("plain", (60, 80), (64, 64), 2, 6, 0.55, False),
        ("outlined", (60, 80), (64, 64), 2, 6, 0.55, True),
        ("upright", (90, 50), (64, 96), 4, 12, 1.0, True),
        ("smaller_than_map", (30, 40), (64, 64), 4, 9, 0.25, True),
        ("invisible", (40, 40), (64, 64), 1, 5, 0.0, True),
        ("254_slots", (64, 64), (64, 64), 4, 254, 0.5, True),
        ("two_slots", (33, 47), (32, 32), 2, 2, 0.5, True),
        ("nothing_found", (33, 47), (32, 32), 2, 1, 0.5, True),
    )
    return [_overlay_case(keep, *plan) for plan in plans]


def _overlay_case(
    keep: Keep, name: str, photo: Size, network: Size, upsample: int, num_slots: int, opacity: float, outlines: bool
) -> dict[str, object]:
    merged = scene(len(name), network=network, upsample=upsample, num_slots=num_slots)
    fitted = fitted_size(photo, network)
    slot_map = unletterbox_map(merged.slot_map, fitted, network, photo)
    panoptic_map, segments = merged_to_segments(merged, slot_map, CATEGORIES)
    picture = overlay(merged, slot_map, CATEGORIES, opacity=opacity, outlines=outlines)
    document, png = _panoptic(panoptic_map, segments)
    places = [(0, 0), (photo[1] - 1, photo[0] - 1), (photo[1] // 2, photo[0] // 2), (photo[1] // 3, photo[0] // 5)]
    return {
        "name": name,
        "photo_size": photo,
        "network_size": network,
        "upsample": upsample,
        "fitted": fitted,
        "opacity": opacity,
        "outlines": outlines,
        "slot_map": keep(f"overlay/{name}.slot_map", merged.slot_map),
        "slot_category": merged.slot_category.tolist(),
        "slot_score": [round(float(score), 6) for score in merged.slot_score],
        "rgba": keep(f"overlay/{name}.rgba", picture),
        "segments": [_segment_row(segment, panoptic_map.size) for segment in segments],
        "legend": [s.id for s in sorted(segments, key=lambda s: (-s.area, s.id))],
        "void_share": float(np.count_nonzero(panoptic_map == 0)) / panoptic_map.size,
        "taps": [{"x": x, "y": y, "segment_id": int(panoptic_map[y, x])} for x, y in places],
        "panoptic": document,
        "panoptic_png": keep(f"overlay/{name}.panoptic_png", png),
    }


def _segment_row(segment: Segment, num_pixels: int) -> dict[str, object]:
    row = asdict(segment) | {"score": round(segment.score, 6), "share": segment.area / num_pixels}
    del row["is_crowd"]
    return row


def _panoptic(panoptic_map: NDArray[np.int32], segments: Sequence[Segment]) -> tuple[Any, NDArray[np.uint8]]:
    """The document and the PNG's pixels that `edgeseg predict` writes for a photo called photo.jpg."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = (1, "photo.jpg", panoptic_map, segments)
        write_panoptic(folder / "panoptic.json", folder / "panoptic", [result], categories=CATEGORIES)
        with Image.open(folder / "panoptic" / "photo.png") as png:
            pixels = np.array(png)
        return json.loads((folder / "panoptic.json").read_text(encoding="utf-8")), pixels


def _covered(length: int, fitted: int) -> NDArray[np.int64]:
    """(fitted, length) overlap of output [y length, (y + 1) length) with input [i fitted, (i + 1) fitted)."""
    y, i = np.arange(fitted)[:, None], np.arange(length)[None]
    overlap = np.minimum((y + 1) * length, (i + 1) * fitted) - np.maximum(y * length, i * fitted)
    weights: NDArray[np.int64] = np.maximum(overlap, 0).astype(np.int64)
    return weights


def _between(length: int, fitted: int) -> NDArray[np.int64]:
    """(fitted, length) bilinear weights in units of 1 / (2 fitted)."""
    weights = np.zeros((fitted, length), dtype=np.int64)
    position = np.maximum((2 * np.arange(fitted) + 1) * length - fitted, 0)
    first, rest = position // (2 * fitted), position % (2 * fitted)
    first = np.minimum(first, length - 1)
    np.add.at(weights, (np.arange(fitted), first), 2 * fitted - rest)
    np.add.at(weights, (np.arange(fitted), np.minimum(first + 1, length - 1)), rest)
    return weights
