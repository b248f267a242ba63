"""The data doctor's checks of one image: photo, PNG and JSON against each other."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeseg.data.coco_panoptic import segment_geometry
from edgeseg.data.doctor_codes import TINY_PIXELS, VOID_SHARE, Finding, shown
from edgeseg.data.doctor_index import is_flag, is_int, row_digest
from edgeseg.data.doctor_pictures import Label, Photo, open_label, open_photo
from edgeseg.data.panoptic_json import MAX_SEGMENT_ID

_SPECKS = 10
"""So many parts below `TINY_PIXELS` make a mask noisy."""

_PART_SHARE = 0.1
"""A part with a smaller share of its thing is an edge of it, not a second thing."""

Box = tuple[float, float, float, float]
Kinds = Mapping[int, bool | None]
"""Whether a category is a thing, by category id; None where it does not say."""


class ImageJob(NamedTuple):
    """One image to check.

    Attributes:
        split: Name of the split.
        image_id: The JSON's.
        photo: The file; None where it is missing or must not be opened.
        png: The file; likewise.
        photo_name: Path relative to the data folder, for reports.
        png_name: Likewise.
        size: (height, width) of the JSON, None where it is wrong.
        annotation: As it stands in the JSON; empty where the image has none.
    """

    split: str
    image_id: int | str
    photo: Path | None
    png: Path | None
    photo_name: str
    png_name: str
    size: tuple[int, int] | None
    annotation: Mapping[str, Any]

    @property
    def rows(self) -> Sequence[Any]:
        """segments_info as it stands in the JSON; empty where it is no list."""
        rows = self.annotation.get("segments_info")
        return rows if isinstance(rows, list) else []


class Row(NamedTuple):
    """A row of segments_info that has an id and a category; `area` and `box` as they stand there."""

    id: int
    category_id: int
    is_crowd: bool
    raw: Mapping[str, Any]


@dataclass
class ImageResult:
    """What was found in one image.

    Attributes:
        job: The job without change.
        findings: In the order they were found.
        num_pixels: Of the PNG, 0 where it has none.
        void_pixels: Pixels of id 0.
        areas: (category id, pixels) of each segment that has pixels.
        digest: Of the photo's pixels.
    """

    job: ImageJob
    findings: list[Finding] = field(default_factory=list)
    num_pixels: int = 0
    void_pixels: int = 0
    areas: list[tuple[int, int]] = field(default_factory=list)
    digest: bytes | None = None


def check_image(kinds: Mapping[str, Kinds], job: ImageJob) -> ImageResult:
    """Opens an image's two files and compares them with each other and with the JSON.

    Args:
        kinds: Of each split.
        job: The image.
    """
    is_thing = kinds[job.split]
    result = ImageResult(job)
    say = _sayer(result)
    rows = read_rows(job, is_thing, say)
    photo = open_photo(job.photo, say) if job.photo else None
    label = None
    if job.png:
        listed = {row.id for row in rows}
        label = open_label(job.png, listed, lambda code, value: say(code, value, file=job.png_name))
    if photo is not None:
        result.digest = photo.digest
    _check_sizes(job, photo, label, say)
    if label is not None:
        _check_label(result, label, rows, is_thing, say)
    return result


Say = Callable[..., None]


def _sayer(result: ImageResult) -> Say:
    job = result.job

    def say(
        code: str, value: str, segment: int | None = None, weight: float = 0.0, file: str = result.job.photo_name
    ) -> None:
        result.findings.append(Finding(code, job.split, file, value, job.image_id, segment, weight))

    return say


def read_rows(job: ImageJob, is_thing: Kinds, say: Say) -> list[Row]:
    """The rows of segments_info that can be compared with the PNG; the others are said and left out."""
    rows: dict[int, Row] = {}
    for raw in job.rows:
        segment_id = raw.get("id") if isinstance(raw, dict) else None
        category_id = raw.get("category_id") if isinstance(raw, dict) else None
        if not is_int(segment_id):
            say("segment-field", f"row {shown(raw)}", file=job.png_name)
        elif not is_int(category_id):
            say("segment-field", f"category_id {shown(category_id)}", segment_id, file=job.png_name)
        elif segment_id == 0:
            say("segment-id-zero", f"id 0, category {category_id}", 0, file=job.png_name)
        elif not 0 < segment_id <= MAX_SEGMENT_ID:
            say("segment-id-range", f"id {shown(segment_id)}", file=job.png_name)
        elif segment_id in rows:
            same = " (equal rows)" if row_digest(raw) == row_digest(rows[segment_id].raw) else ""
            say("segment-id-duplicate", f"id {segment_id} again{same}", segment_id, file=job.png_name)
        else:
            if not is_flag(raw.get("iscrowd", 0)):
                say("segment-field", f"iscrowd {shown(raw['iscrowd'])}", segment_id, file=job.png_name)
            rows[segment_id] = Row(segment_id, category_id, raw.get("iscrowd", 0) == 1, raw)
            if category_id not in is_thing:
                say("segment-category-unknown", f"category_id {category_id}", segment_id, file=job.png_name)
            elif rows[segment_id].is_crowd and is_thing[category_id] is False:
                say("stuff-crowd", f"category {category_id}, iscrowd 1", segment_id, file=job.png_name)
    return list(rows.values())


def _check_sizes(job: ImageJob, photo: Photo | None, label: Label | None, say: Say) -> None:
    """Where photo and PNG agree, the JSON is wrong; otherwise each is held against the JSON."""
    png_size = label.size if label is not None else None
    if photo is not None:
        wanted = png_size or job.size
        size = photo.size_for(wanted)
        if photo.orientation != 1:
            fits_both = wanted == photo.size == photo.upright_size
            way = "turned" if size != photo.size else "stored"
            fits = f"the label fits the {way} pixels" if size == wanted else "the label fits neither way"
            value = f"orientation {photo.orientation}" + ("" if fits_both else f", {fits}")
            say("photo-exif-ambiguous" if fits_both else "photo-exif", value)
        if job.size is not None and size == png_size != job.size:
            say("image-size", f"photo and PNG {_size(size)}, JSON {_size(job.size)}")
            return
        if job.size is not None and size != job.size:
            say("photo-size", f"photo {_size(photo.size)}, JSON {_size(job.size)}")
    if job.size is not None and png_size is not None and png_size != job.size:
        say("png-size", f"PNG {_size(png_size)}, JSON {_size(job.size)}", file=job.png_name)


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _check_label(result: ImageResult, label: Label, rows: Sequence[Row], is_thing: Kinds, say: Say) -> None:
    job = result.job
    ids, areas, boxes = segment_geometry(label.ids)
    place = {segment_id: number for number, segment_id in enumerate(ids.tolist())}
    result.num_pixels = label.ids.size
    result.void_pixels = int(areas[place[0]]) if 0 in place else 0
    share = result.void_pixels / label.ids.size
    unlisted = sorted(set(place) - {row.id for row in rows} - {0}, key=lambda i: -areas[place[i]])
    if 0 < len(unlisted) <= _SPECKS:
        for segment_id in unlisted:
            area = int(areas[place[segment_id]])
            say("png-id-unlisted", f"{area} px", segment_id, area / label.ids.size, file=job.png_name)
    elif unlisted:
        pixels = int(sum(areas[place[i]] for i in unlisted))
        value = f"{len(unlisted)} ids, {pixels} px in all"
        say("png-id-unlisted", value, unlisted[0], 1 + pixels / label.ids.size, file=job.png_name)
    for row in rows:
        if row.id not in place:
            say("png-id-missing", f"{_claim(row)}, no pixel", row.id, _number(row.raw.get("area")), file=job.png_name)
            continue
        area, box = int(areas[place[row.id]]), tuple(int(v) for v in boxes[place[row.id]])
        result.areas.append((row.category_id, area))
        _check_area(row, area, job, say)
        _check_box(row, (box[0], box[1], box[2], box[3]), label.size, job, say)
        if area < TINY_PIXELS:
            say("segment-tiny", f"{area} px, category {row.category_id}", row.id, 1 / area, file=job.png_name)
        elif is_thing.get(row.category_id) and not row.is_crowd:
            x, y, width, height = box
            _check_parts(row, label.ids[y : y + height, x : x + width] == row.id, job, say)
    present = Counter(
        row.category_id
        for row in rows
        if row.id in place and is_thing.get(row.category_id) is False and not row.is_crowd
    )
    for category_id, count in present.items():
        if count > 1:
            last = [row.id for row in rows if row.category_id == category_id and row.id in place][-1]
            value = f"category {category_id} has {count} segments"
            say("stuff-several-segments", value, last, count, file=job.png_name)
    if not result.areas:
        say("image-no-segments", f"{len(job.rows)} rows, {share:.0%} void", None, 1, file=job.png_name)
    elif share > VOID_SHARE:
        say("image-mostly-void", f"{share:.1%} void", None, share, file=job.png_name)


def _claim(row: Row) -> str:
    return f"category {row.category_id}, area {shown(row.raw.get('area'))}"


def _number(value: object) -> float:
    return float(value) if _is_finite(value) else 0.0


def _is_finite(value: object) -> TypeGuard[float]:
    """A number that a picture's geometry can hold; a JSON may hold nan, and integers beyond any float."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e15 < value < 1e15


def _check_area(row: Row, area: int, job: ImageJob, say: Say) -> None:
    claimed = row.raw.get("area")
    if claimed is None:
        say("segment-area-absent", f"{area} px", row.id, area, file=job.png_name)
    elif claimed == area and not isinstance(claimed, bool):
        return
    else:
        number = _number(claimed)
        code = "segment-area-zero" if number <= 0 else "segment-area"
        value = f"area {shown(claimed)} in the JSON, {area} px in the PNG"
        say(code, value, row.id, abs(number - area) / max(number, area), file=job.png_name)


def read_box(row: Row) -> Box | None:
    """The row's bbox if it is four finite numbers with a width and a height."""
    box = row.raw.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        return None
    if not all(_is_finite(v) for v in box):
        return None
    return (box[0], box[1], box[2], box[3]) if box[2] > 0 and box[3] > 0 else None


def _check_box(row: Row, box: Box, shape: tuple[int, int], job: ImageJob, say: Say) -> None:
    if "bbox" not in row.raw:
        say("segment-box-absent", f"{list(box)} in the PNG", row.id, box[2] * box[3], file=job.png_name)
        return
    claimed = read_box(row)
    value = f"bbox {shown(row.raw['bbox'])} in the JSON, {list(box)} in the PNG"
    if claimed is None:
        say("segment-box-malformed", value, row.id, box[2] * box[3], file=job.png_name)
        return
    x, y, width, height = claimed
    if claimed == box:
        return
    if box == (x, y, width - x, height - y):
        say("segment-box", f"{value}: it is x0, y0, x1, y1", row.id, 1.0, file=job.png_name)
    elif x < 0 or y < 0 or x + width > shape[1] or y + height > shape[0]:
        say("segment-box-outside", value, row.id, box[2] * box[3], file=job.png_name)
    else:
        say("segment-box", value, row.id, 1 - _iou(claimed, box), file=job.png_name)


def _iou(a: Box, b: Box) -> float:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(width, 0.0) * max(height, 0.0)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def _check_parts(row: Row, mask: NDArray[np.bool_], job: ImageJob, say: Say) -> None:
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    if count <= 2:
        return
    parts = stats[1:]  # (n, 5) x, y, width, height, area
    sizes = parts[:, cv2.CC_STAT_AREA]
    specks = int((sizes < TINY_PIXELS).sum())
    if specks >= _SPECKS:
        value = f"{count - 1} parts, {specks} of them below {TINY_PIXELS} px"
        say("segment-specks", value, row.id, specks, file=job.png_name)
    first, second = parts[np.argsort(-sizes, kind="stable")[:2]].astype(int).tolist()
    gaps = [
        max(second[axis] - first[axis] - first[axis + 2], first[axis] - second[axis] - second[axis + 2], 0)
        for axis in (0, 1)
    ]
    gap, extent = math.hypot(*gaps), max(first[2], first[3], second[2], second[3])
    if second[4] >= max(TINY_PIXELS, _PART_SHARE * sizes.sum()) and gap > extent:
        value = f"parts of {first[4]} and {second[4]} px, {gap:.0f} px apart"
        say("segment-scattered", value, row.id, gap / extent, file=job.png_name)
