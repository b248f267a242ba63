"""COCO panoptic JSON files, checked."""

from __future__ import annotations

import colorsys
import mmap
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
import numpy as np
from msgspec import UNSET, Meta, Raw, UnsetType

from edgeseg.data.panoptic_table import AnnotationTable, ImageId, ImageTable
from edgeseg.structures import Category, InputError

T = TypeVar("T")

MAX_SEGMENT_ID = 2**24 - 1
"""Largest id that the three bytes of a PNG's pixel hold."""

_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_BOM = b"\xef\xbb\xbf"


class Frame(NamedTuple):
    """An image's place in a video."""

    sequence: str
    number: int


@dataclass(frozen=True)
class PanopticJson:
    """A checked panoptic JSON file.

    Attributes:
        categories: Ascending by id.
        annotations: By image id.
        images: File name and (height, width) by image id; empty where a prediction file has none.
        frames: Place in a video by image id, of the images that state both `sequence` and `frame`.
    """

    categories: tuple[Category, ...]
    annotations: AnnotationTable
    images: ImageTable
    frames: Mapping[ImageId, Frame]


_Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
_Length = Annotated[int, Meta(ge=1, le=2**31 - 1)]
_Byte = Annotated[int, Meta(ge=0, le=255)]
_Flag = Annotated[int, Meta(ge=0, le=1)] | bool
_Name = Annotated[str, Meta(pattern=r"^[^\x00-\x1f]+\Z")]


class _Segment(msgspec.Struct, gc=False):
    id: Annotated[int, Meta(ge=1, le=MAX_SEGMENT_ID)]
    category_id: _Int32
    iscrowd: _Flag = 0
    score: Any = UNSET


class _Annotation(msgspec.Struct):
    image_id: ImageId
    file_name: _Name
    segments_info: list[_Segment]


class _Image(msgspec.Struct, gc=False):
    id: ImageId
    file_name: _Name
    height: _Length
    width: _Length
    sequence: Any = UNSET
    frame: Any = UNSET


class _Category(msgspec.Struct):
    id: _Int32
    name: _Name
    isthing: _Flag | UnsetType = UNSET
    color: tuple[_Byte, _Byte, _Byte] | UnsetType = UNSET


class _Video(msgspec.Struct):
    """VIPSeg's nesting of images."""

    video_id: int | _Name
    images: list[_Image]


class _VideoAnnotations(msgspec.Struct):
    """VIPSeg's nesting of annotations."""

    video_id: int | _Name
    annotations: list[_Annotation]


class _Document(msgspec.Struct):
    annotations: list[Raw]
    categories: Raw | UnsetType = UNSET
    images: list[Raw] = []
    videos: list[Raw] = []


class _Kind(msgspec.Struct):
    """What tells the kinds of annotations apart."""

    segments_info: Raw | UnsetType = UNSET
    segmentation: Raw | UnsetType = UNSET
    video_id: Raw | UnsetType = UNSET


def read_panoptic_json(path: Path, categories: Sequence[Category] | None = None) -> PanopticJson:
    """Reads and checks a panoptic JSON file.

    The file is mapped, and its rows are decoded one at a time into flat arrays: memory grows with what is kept (six
    bytes a segment, the names), not with the file. VIPSeg's own nesting of videos (github.com/VIPSeg-Dataset,
    create_panoptic_video_labels.py) is read too: names and image ids get VIDEO/ in front, frames count from 0.

    Args:
        path: The file, UTF-8.
        categories: Those of the ground truth, for a prediction file, which has none of its own.

    Raises:
        InputError: Not JSON, not panoptic (COCO's instance files are named as such), duplicate ids, unknown categories.
    """
    document = _open(path)
    if categories is None:
        if document.categories is UNSET:
            raise InputError(f"{path} has no 'categories'; a COCO panoptic JSON needs it")
        try:
            rows = msgspec.json.decode(document.categories, type=list[Raw])
        except _BROKEN as error:
            raise _complaint(error, document.categories, f"{path}: categories") from None
        categories = _read_categories(_rows(rows, _Category, f"{path}: categories"), str(path))
    annotations = _read_annotations(_annotations(document, path), categories, path)
    images, frames = _read_images(_images(document, path), path)
    return PanopticJson(tuple(categories), annotations, images, frames)


def read_segment_scores(path: Path) -> Iterator[tuple[ImageId, list[int], dict[int, object]]]:
    """Of each annotation the image id, the segment ids, and what some of them state as `score`, unchecked.

    Raises:
        InputError: As `read_panoptic_json`.
    """
    for row in _annotations(_open(path), path):
        segments = row.segments_info
        yield row.image_id, [s.id for s in segments], {s.id: s.score for s in segments if s.score is not UNSET}


def category_color(category_id: int) -> tuple[int, int, int]:
    """A fixed RGB colour for a category that brings none: hues a golden angle apart, three brightnesses."""
    hue = category_id * 0.6180339887498949 % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, (1.0, 0.8, 0.6)[category_id % 3])
    return round(red * 255), round(green * 255), round(blue * 255)


def _open(path: Path) -> _Document:
    if not path.is_file():
        raise InputError(f"panoptic JSON {path} does not exist")
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return msgspec.json.decode(memoryview(mapped)[3 if mapped[:3] == _BOM else 0 :], type=_Document)
    except _BROKEN as error:
        raise _complaint(error, None, str(path)) from None
    except (OSError, ValueError) as error:
        raise InputError(f"panoptic JSON {path} cannot be read ({error}); export it again") from error


def _annotations(document: _Document, path: Path) -> Iterator[_Annotation]:
    rows, where = document.annotations, f"{path}: annotations"
    kind = next(_rows(rows[:1], _Kind, where), _Kind())
    if kind.segments_info is UNSET and kind.segmentation is not UNSET:
        raise InputError(
            f"{path} is a COCO instances JSON (annotations with 'segmentation'); "
            "give the panoptic one (with 'segments_info')"
        )
    if kind.video_id is UNSET or kind.segments_info is not UNSET:
        yield from _rows(rows, _Annotation, where)
        return
    for video in _rows(rows, _VideoAnnotations, where):
        for row in video.annotations:
            yield _Annotation(
                f"{video.video_id}/{row.image_id}", f"{video.video_id}/{row.file_name}", row.segments_info
            )


def _images(document: _Document, path: Path) -> Iterator[_Image]:
    yield from _rows(document.images, _Image, f"{path}: images")
    for video in _rows(document.videos, _Video, f"{path}: videos"):
        for number, row in enumerate(video.images):
            name = video.video_id
            yield _Image(f"{name}/{row.id}", f"{name}/{row.file_name}", row.height, row.width, str(name), number)


def _read_categories(rows: Iterable[_Category], where: str) -> tuple[Category, ...]:
    categories: dict[int, Category] = {}
    for row in rows:
        if row.id in categories:
            raise InputError(f"{where}: category {row.id} appears twice; category ids are unique")
        if isinstance(row.isthing, UnsetType):
            raise InputError(
                f"{where}: category {row.id} has no 'isthing'; a panoptic JSON says 1 (thing) or 0 (stuff), an "
                "instances JSON does not"
            )
        color = category_color(row.id) if isinstance(row.color, UnsetType) else row.color
        categories[row.id] = Category(row.id, row.name, bool(row.isthing), color)
    if not categories:
        raise InputError(f"{where} lists no categories; at least one is needed")
    return tuple(categories[key] for key in sorted(categories))


def _read_annotations(rows: Iterable[_Annotation], categories: Sequence[Category], path: Path) -> AnnotationTable:
    known = sorted(category.id for category in categories)
    index_of = {category_id: index for index, category_id in enumerate(known)}
    png_names: dict[ImageId, str] = {}
    ends, ids, indices, crowds = array("q"), array("i"), array("i"), bytearray()
    for row in rows:
        where = f"{path}: annotation of image_id {row.image_id!r}"
        if row.image_id in png_names:
            raise InputError(f"{where} appears twice; each image has one")
        segments = row.segments_info
        try:
            indices.extend([index_of[segment.category_id] for segment in segments])
        except KeyError:
            raise _unknown_category(segments, known, where) from None
        row_ids = [segment.id for segment in segments]
        if len(set(row_ids)) < len(row_ids):
            twin = next(segment_id for segment_id in row_ids if row_ids.count(segment_id) > 1)
            raise InputError(f"{where}: segment id {twin} appears twice; ids are unique within an image")
        ids.extend(row_ids)
        crowds.extend([segment.iscrowd for segment in segments])
        ends.append(len(ids))
        png_names[row.image_id] = row.file_name
    return AnnotationTable(
        png_names,
        png_names.values(),
        np.array(ends, dtype=np.int64),
        np.array(ids, dtype=np.int32),
        np.array(indices, dtype=np.int32),
        np.array(known, dtype=np.int32),
        np.frombuffer(bytes(crowds), dtype=np.bool_),
    )


def _unknown_category(segments: Iterable[_Segment], known: Sequence[int], where: str) -> InputError:
    segment = next(segment for segment in segments if segment.category_id not in known)
    return InputError(
        f"{where}: segment {segment.id} has category_id {segment.category_id}, which categories does not list "
        f"({len(known)} ids, {known[0]} .. {known[-1]}); add it or correct the segment"
    )


def _read_images(rows: Iterable[_Image], path: Path) -> tuple[ImageTable, dict[ImageId, Frame]]:
    file_names: dict[ImageId, str] = {}
    frames: dict[ImageId, Frame] = {}
    sizes = array("i")
    for row in rows:
        if row.id in file_names:
            raise InputError(f"{path}: image {row.id!r} appears twice; image ids are unique")
        file_names[row.id] = row.file_name
        sizes.extend((row.height, row.width))
        if isinstance(row.sequence, str) and type(row.frame) is int:
            frames[row.id] = Frame(row.sequence, row.frame)
    size = np.array(sizes, dtype=np.int32).reshape(-1, 2)
    return ImageTable(file_names, file_names.values(), size), frames


def _rows(raws: list[Raw], kind: type[T], where: str) -> Iterator[T]:
    """Decodes the rows and drops them from the list, whose handles would take as much memory as what is kept."""
    decoder = msgspec.json.Decoder(kind)
    raws.reverse()
    for number in range(len(raws)):
        raw = raws.pop()
        try:
            yield decoder.decode(raw)
        except _BROKEN as error:
            raise _complaint(error, raw, f"{where}[{number}]") from None


def _complaint(error: Exception, row: Raw | None, where: str) -> InputError:
    """The decoder's finding with the value it is about: "Expected `int`, got `str` - at `$.segments_info[0].id`"."""
    found = re.fullmatch(r"(.*?)(?: - at `\$\.?(.*)`)?", str(error), re.DOTALL)
    assert found is not None
    finding, at = found[1].replace("`", ""), found[2] or ""
    try:
        value: Any = msgspec.json.decode(row or b"null")
    except _BROKEN as worse:  # broken where nothing is read, or a number of thousands of digits
        value = error = error if isinstance(worse, msgspec.ValidationError) else worse
    if value is error or not isinstance(error, msgspec.ValidationError):
        return InputError(f"{where} is not JSON that can be read: {error}; export it again")
    if row is not None:
        if isinstance(value, dict):
            key = next((key for key in ("image_id", "id", "video_id") if key in value), None)
            where += f" ({key} {repr(value[key])[:40]})" if key else ""
        for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", at):
            value = value[int(index)] if index else value[name]
    if missing := re.fullmatch(r"Object missing required field (\w+)", finding):
        return InputError(f"{where}{at and f': {at}'} has no {missing[1]!r}; a COCO panoptic JSON needs it")
    wanted, _, got = finding.removeprefix("Expected ").partition(", got ")
    shown = repr(value)[:40] if row is not None else f"of type {got}"
    return InputError(f"{where}{at and f': {at}'} is {shown}; {wanted} wanted")
