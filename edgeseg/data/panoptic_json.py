"""COCO panoptic JSON files, checked."""

from __future__ import annotations

import colorsys
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from edgeseg.structures import Category, InputError

T = TypeVar("T")

MAX_SEGMENT_ID = 2**24 - 1
"""Largest id that the three bytes of a PNG's pixel hold."""


class SegmentRecord(NamedTuple):
    """A row of segments_info; area and box are not kept, they are counted from the PNG."""

    id: int
    category_id: int
    is_crowd: bool


class AnnotationRecord(NamedTuple):
    """An entry of annotations: the PNG's name relative to its folder, and the table of its segments."""

    png_name: str
    segments: tuple[SegmentRecord, ...]


@dataclass(frozen=True)
class PanopticJson:
    """A checked panoptic JSON file.

    Attributes:
        categories: Ascending by id.
        annotations: By image id.
        images: File name and (height, width) by image id; empty where a prediction file has none.
    """

    categories: tuple[Category, ...]
    annotations: Mapping[int | str, AnnotationRecord]
    images: Mapping[int | str, tuple[str, tuple[int, int]]]


def read_panoptic_json(path: Path, categories: Sequence[Category] | None = None) -> PanopticJson:
    """Reads and checks a panoptic JSON file.

    Args:
        path: The file.
        categories: Those of the ground truth, for a prediction file, which has none of its own.

    Raises:
        InputError: Not JSON, not panoptic (COCO's instance files are named as such), duplicate ids, unknown categories.
    """
    if not path.is_file():
        raise InputError(f"panoptic JSON {path} does not exist")
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}; export it again") from error
    rows = _field(document, "annotations", list, str(path))
    if any(isinstance(row, dict) and "segments_info" not in row and "segmentation" in row for row in rows[:1]):
        raise InputError(
            f"{path} is a COCO instances JSON (annotations with 'segmentation'); "
            "give the panoptic one (with 'segments_info')"
        )
    if categories is None:
        categories = _read_categories(_field(document, "categories", list, str(path)), str(path))
    known = {category.id for category in categories}
    annotations: dict[int | str, AnnotationRecord] = {}
    for row in rows:
        image_id = _image_id(row, "image_id", f"{path}: an annotation")
        where = f"{path}: annotation of image_id {image_id!r}"
        if image_id in annotations:
            raise InputError(f"{where} appears twice; each image has one")
        segments = _read_segments(_field(row, "segments_info", list, where), known, where)
        annotations[image_id] = AnnotationRecord(_field(row, "file_name", str, where), segments)
    images = _field(document, "images", list, str(path)) if "images" in document else []
    return PanopticJson(tuple(categories), annotations, _read_images(images, str(path)))


def category_color(category_id: int) -> tuple[int, int, int]:
    """A fixed RGB colour for a category that brings none: hues a golden angle apart, three brightnesses."""
    hue = category_id * 0.6180339887498949 % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, (1.0, 0.8, 0.6)[category_id % 3])
    return round(red * 255), round(green * 255), round(blue * 255)


def _read_categories(rows: Sequence[Any], where: str) -> tuple[Category, ...]:
    categories: dict[int, Category] = {}
    for row in rows:
        category_id = _field(row, "id", int, f"{where}: a category")
        at = f"{where}: category {category_id}"
        if category_id in categories:
            raise InputError(f"{at} appears twice; category ids are unique")
        color = row.get("color", list(category_color(category_id)))
        if not (
            isinstance(color, list) and len(color) == 3 and all(isinstance(c, int) and 0 <= c <= 255 for c in color)
        ):
            raise InputError(f"{at} has color {color!r}; three integers 0..255 wanted")
        if "isthing" not in row:
            raise InputError(
                f"{at} has no 'isthing'; a panoptic JSON says 1 (thing) or 0 (stuff), an instances JSON does not"
            )
        is_thing = _flag(row, "isthing", at)
        categories[category_id] = Category(
            category_id, _field(row, "name", str, at), is_thing, (color[0], color[1], color[2])
        )
    if not categories:
        raise InputError(f"{where} lists no categories; at least one is needed")
    return tuple(categories[key] for key in sorted(categories))


def _read_segments(rows: Sequence[Any], known: set[int], where: str) -> tuple[SegmentRecord, ...]:
    segments: dict[int, SegmentRecord] = {}
    for row in rows:
        segment_id = _field(row, "id", int, f"{where}: a segment")
        category_id = _field(row, "category_id", int, f"{where}: segment {segment_id}")
        if not 1 <= segment_id <= MAX_SEGMENT_ID:
            raise InputError(
                f"{where}: segment id {segment_id} is outside 1 .. {MAX_SEGMENT_ID} (0 is void); renumber it"
            )
        if segment_id in segments:
            raise InputError(f"{where}: segment id {segment_id} appears twice; ids are unique within an image")
        if category_id not in known:
            raise InputError(
                f"{where}: segment {segment_id} has category_id {category_id}, which categories does not list "
                f"({len(known)} ids, {min(known)} .. {max(known)}); add it or correct the segment"
            )
        is_crowd = "iscrowd" in row and _flag(row, "iscrowd", f"{where}: segment {segment_id}")
        segments[segment_id] = SegmentRecord(segment_id, category_id, is_crowd)
    return tuple(segments.values())


def _read_images(rows: Sequence[Any], where: str) -> dict[int | str, tuple[str, tuple[int, int]]]:
    images: dict[int | str, tuple[str, tuple[int, int]]] = {}
    for row in rows:
        image_id = _image_id(row, "id", f"{where}: an image")
        at = f"{where}: image {image_id!r}"
        if image_id in images:
            raise InputError(f"{at} appears twice; image ids are unique")
        size = _field(row, "height", int, at), _field(row, "width", int, at)
        images[image_id] = (_field(row, "file_name", str, at), size)
    return images


def _field(row: Any, key: str, kind: type[T], where: str) -> T:
    if not isinstance(row, dict):
        raise InputError(f"{where} is a {type(row).__name__}, not an object; a COCO panoptic JSON is wanted")
    if key not in row:
        raise InputError(f"{where} has no {key!r}; a COCO panoptic JSON needs it")
    value = row[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InputError(f"{where}: {key} is {str(value)[:40]!r}; {kind.__name__} wanted")
    return value


def _image_id(row: Any, key: str, where: str) -> int | str:
    if isinstance(row, dict) and isinstance(row.get(key), str):
        return _field(row, key, str, where)
    return _field(row, key, int, where)


def _flag(row: dict[str, Any], key: str, where: str) -> bool:
    if row[key] not in (0, 1):
        raise InputError(f"{where}: {key} is {row[key]!r}; 0 or 1 wanted")
    return bool(row[key])
