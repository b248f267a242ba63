"""Pictures of what the data doctor found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeseg.data.coco_panoptic import segment_geometry
from edgeseg.data.doctor import Case
from edgeseg.data.doctor_index import CategoryEntry
from edgeseg.data.doctor_pictures import Label, Photo, open_label, open_photo, turned
from edgeseg.data.doctor_rules import Box, Row, read_box, read_rows
from edgeseg.data.panoptic_json import category_color
from edgeseg.structures import Category, Segment
from edgeseg.visualize import draw_panoptic

T = TypeVar("T", np.uint8, np.int32)

_LONGEST = 640  # pixels of a picture's longer side
_CONTEXT, _LEAST_WINDOW = 4.0, 96  # a small segment is shown in a window of so many times its size, at least so large
_RED, _YELLOW, _BLACK = (235, 45, 45), (255, 221, 40), (0, 0, 0)
_BACKGROUND = 128


def draw_case(case: Case, categories: Mapping[int, CategoryEntry]) -> NDArray[np.uint8] | None:
    """A finding's photo with its label: the segment outlined in yellow, the JSON's box in red.

    Args:
        case: The finding and its image.
        categories: By id.

    Returns:
        (h, w, 3) uint8 RGB, the longer side at most 640; a window around a small segment. None where neither file can
        be decoded.
    """
    job = case.job
    rows = read_rows(job, {}, lambda *_, **__: None)
    photo = open_photo(job.photo, lambda code, value: None) if job.photo else None
    label = open_label(job.png, {row.id for row in rows}, lambda code, value: None) if job.png else None
    image = _image_under(photo, label)
    if image is None:
        return None
    ids = label.ids if label is not None else np.zeros(image.shape[:2], np.int32)
    segment = case.finding.segment
    claimed = next((read_box(row) for row in rows if row.id == segment), None)
    x, y, width, height = _window(ids, segment, claimed)
    image, ids = image[y : y + height, x : x + width], ids[y : y + height, x : x + width]
    scale = _LONGEST / max(image.shape[:2])
    if scale < 1:
        image, ids = _resized(image, scale, cv2.INTER_AREA), _resized(ids, scale, cv2.INTER_NEAREST)
    if label is None:
        picture = image
    else:
        segments, known = _table(ids, rows, categories)
        picture = draw_panoptic(image, ids, segments, known, names=height * width > _LEAST_WINDOW**2)
    picture = _resized(picture, _LONGEST / max(picture.shape[:2]), cv2.INTER_AREA)
    zoom = picture.shape[1] / width
    if segment and (ids == segment).any():
        _outline(picture, ids == segment)
    if claimed is not None and (case.finding.code.startswith("segment-box") or not (ids == segment).any()):
        left, top = (claimed[0] - x) * zoom, (claimed[1] - y) * zoom
        corner = round(left + claimed[2] * zoom), round(top + claimed[3] * zoom)
        cv2.rectangle(picture, (round(left), round(top)), corner, _RED, 2)
    return picture


def _image_under(photo: Photo | None, label: Label | None) -> NDArray[np.uint8] | None:
    """The photo in the label's size, turned where that fits; grey where there is none."""
    if photo is None or photo.rgb is None:
        return None if label is None else np.full((*label.size, 3), _BACKGROUND, np.uint8)
    if label is None:
        return photo.rgb
    fits = photo.size_for(label.size)
    image = turned(photo.rgb, photo.orientation) if photo.orientation != 1 and fits == label.size else photo.rgb
    if image.shape[:2] != label.size:
        image = np.asarray(cv2.resize(image, label.size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    return image


def _window(ids: NDArray[np.int32], segment: int | None, claimed: Box | None) -> tuple[int, int, int, int]:
    """x, y, width, height of what is shown."""
    height, width = ids.shape
    box = claimed
    if segment and (ids == segment).any():
        found, _, boxes = segment_geometry(ids)
        box = tuple(boxes[found.tolist().index(segment)].tolist())
    if box is None or not all(-(10**6) < v < 10**6 for v in box):
        return 0, 0, width, height
    side = int(max(_CONTEXT * box[2], _CONTEXT * box[3], _LEAST_WINDOW))
    wide, high = min(side, width), min(side, height)
    left = int(min(max(box[0] + box[2] / 2 - wide / 2, 0), width - wide))
    top = int(min(max(box[1] + box[3] / 2 - high / 2, 0), height - high))
    return left, top, wide, high


def _table(
    ids: NDArray[np.int32], rows: list[Row], categories: Mapping[int, CategoryEntry]
) -> tuple[list[Segment], list[Category]]:
    """What `draw_panoptic` wants, with a category of its own for ids and categories that nothing lists."""
    known = [
        Category(id_, entry.name or f"category {id_}", entry.is_thing is not False, entry.color or category_color(id_))
        for id_, entry in categories.items()
    ]
    stray = max(categories, default=0) + 1
    known.append(Category(stray, "not listed", True, (255, 0, 255)))
    category_of = {row.id: row.category_id if row.category_id in categories else stray for row in rows}
    crowds = {row.id for row in rows if row.is_crowd}
    found, areas, boxes = segment_geometry(np.ascontiguousarray(ids))
    segments = []
    for id_, area, box in zip(found.tolist(), areas.tolist(), boxes.tolist(), strict=True):
        if id_:
            segments.append(Segment(id_, category_of.get(id_, stray), area, (*box,), id_ in crowds))
    return segments, known


def _resized(array: NDArray[T], scale: float, how: int) -> NDArray[T]:
    height, width = (max(1, round(side * scale)) for side in array.shape[:2])
    resized = cv2.resize(np.ascontiguousarray(array), (width, height), interpolation=how)
    return np.ascontiguousarray(resized).astype(array.dtype, copy=False)


def _outline(picture: NDArray[np.uint8], mask: NDArray[np.bool_]) -> None:
    large = cv2.resize(mask.astype(np.uint8), picture.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, _BLACK, 5)
    cv2.drawContours(picture, contours, -1, _YELLOW, 2)
