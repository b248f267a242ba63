"""A source in another format written as a COCO panoptic folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from PIL import Image

from edgeseg.config import nearest
from edgeseg.data.coco_panoptic import category_entry, encode_ids, segment_entry
from edgeseg.data.convert import coco, cvat, labelme, pairs, roboflow, yolo
from edgeseg.data.convert.compose import compose
from edgeseg.data.convert.records import Options, Photo, Source
from edgeseg.data.grouping import compile_pattern, hashed_split, pattern_group, stem_group
from edgeseg.data.panoptic_json import category_color
from edgeseg.data.parallel import in_processes
from edgeseg.data.photo import read_image
from edgeseg.data.placing import link_or_copy, written_aside
from edgeseg.structures import Category, InputError, Segment

READERS: dict[str, ModuleType] = {
    "coco": coco,
    "cvat": cvat,
    "labelme": labelme,
    "pairs": pairs,
    "roboflow": roboflow,
    "yolo": yolo,
}
"""One file each: `matches(source)`, `open_source(source, options)`."""

_EXIF_ORIENTATION = 0x0112
_TURNED_QUALITY = 95


def detect(source: Path) -> str:
    """The one format that a source looks like.

    Raises:
        InputError: It does not exist, or looks like none or several.
    """
    if not source.exists():
        raise InputError(f"{source} does not exist; give the folder of the labels")
    found = [kind for kind, reader in READERS.items() if reader.matches(source)]
    if len(found) != 1:
        looks = f"could be {' or '.join(found)}" if found else "looks like no known format"
        raise InputError(f"{source} {looks}; say --from {', '.join(found or READERS)}")
    return found[0]


def open_source(source: Path, kind: str | None, options: Options) -> tuple[str, Source]:
    """Opens a source, detecting its format where none is given.

    Raises:
        InputError: No such format or source, or its files break a rule of the format.
    """
    if kind is not None and kind not in READERS:
        raise InputError(f"--from {kind!r} is no format{nearest(kind, list(READERS))}; there are {', '.join(READERS)}")
    kind = kind or detect(source)
    if not source.exists():
        raise InputError(f"{source} does not exist; give the folder of the labels")
    opened: Source = READERS[kind].open_source(source, options)
    if not opened.photos or not opened.categories:
        lacking = "photos" if opened.categories else "categories"
        raise InputError(f"{source} has no {lacking}; a data set needs at least one")
    for name in (*(category.name for category in opened.categories), *(photo.name for photo in opened.photos)):
        if not name.isprintable() or not name.strip():
            raise InputError(f"{source} has the name {name!r}; rename what is called so to printable characters")
    for category in opened.categories:
        if not 0 <= category.id < 2**31:
            raise InputError(f"{source}: category {category.name!r} has the id {category.id}; 0 .. 2**31 - 1 is wanted")
    return kind, opened


def convert(
    source: Source,
    out: Path,
    *,
    background: str | None = None,
    val: float = 0.1,
    by: str | None = None,
    seed: int = 0,
    copy: bool = False,
    num_workers: int = 0,
    on_progress: Callable[[int], None] = lambda count: None,
) -> dict[str, Any]:
    """Writes a COCO panoptic folder; its bytes do not depend on `num_workers`.

    Photos are taken as they are (a hard link where the disk allows); only where the labels were drawn on a photo turned
    by its EXIF orientation, the turned one is written.

    Args:
        source: As opened.
        out: Folder to make; nothing is left of it after an error.
        background: Name of the stuff category that fills what nothing covers; None leaves it void.
        val: Share of the images for validation where the source has no such split.
        by: Regular expression on the file name that keeps images of one group in one split.
        seed: Of that split.
        copy: Copy photos rather than link them.
        num_workers: Processes; 0 works in this one.
        on_progress: Called with the number of photos just done.

    Returns:
        Counts for people and machines, as `edgeseg data convert --json` prints them.

    Raises:
        InputError: `out` is in use, a photo or label breaks a rule, or two photos would share a file.
    """
    categories, background_id = _with_background(source.categories, background)
    photos = _numbered(_placed(source.photos, val=val, by=by, seed=seed))
    _require_own_files(photos)
    with written_aside(out) as folder:
        task = _Task(folder, replace(source, photos=()), categories, background_id, copy)
        done: list[_Done] = []
        for row in in_processes(_convert_photo, task, photos, num_workers=num_workers):
            done.append(row)
            on_progress(1)
        counts: dict[str, int] = {}
        for split in sorted({str(photo.split) for photo in photos}):
            rows = [row for photo, row in zip(photos, done, strict=True) if photo.split == split]
            _write_json(folder / "annotations" / f"panoptic_{split}.json", rows, categories)
            counts[split] = len(rows)
    return {
        "out": str(out),
        "images": counts,
        "categories": len(categories),
        "segments": sum(len(row.segments) for row in done),
        "void_share": sum(row.num_void for row in done) / sum(row.size[0] * row.size[1] for row in done),
        "hidden": sum(row.num_hidden for row in done),
        "empty": sum(row.num_empty for row in done),
        "turned": sum(row.is_turned for row in done),
        "notes": list(source.notes),
    }


@dataclass(frozen=True)
class _Task:
    """What is the same for all photos."""

    folder: Path
    source: Source
    categories: tuple[Category, ...]
    background_id: int | None
    copy: bool


@dataclass(frozen=True)
class _Done:
    """What the JSON needs to know of a written photo."""

    image_id: int | str
    name: str
    size: tuple[int, int]
    segments: tuple[Segment, ...]
    num_void: int
    num_hidden: int
    num_empty: int
    is_turned: bool


def _convert_photo(task: _Task, photo: Photo) -> _Done:
    """Writes a photo and its panoptic PNG."""
    image = read_image(photo.image, upright=task.source.is_upright)
    size = (image.shape[0], image.shape[1])
    composed = compose(task.source.read(photo, size), size, task.categories, background_id=task.background_id)
    is_turned = task.source.is_upright and _is_turned(photo.image)
    target = task.folder / str(photo.split) / photo.name
    if is_turned:
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(target, quality=_TURNED_QUALITY, subsampling=0)
    else:
        link_or_copy(photo.image, target, copy=task.copy)
    png = (task.folder / "annotations" / f"panoptic_{photo.split}" / photo.name).with_suffix(".png")
    png.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(".png", encode_ids(composed.panoptic_map)[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 6])[1]
    png.write_bytes(encoded.tobytes())
    num_void = int(np.count_nonzero(composed.panoptic_map == 0))
    assert photo.image_id is not None
    lost = composed.num_hidden, composed.num_empty
    return _Done(photo.image_id, photo.name, size, composed.segments, num_void, *lost, is_turned)


def _is_turned(path: Path) -> bool:
    with Image.open(path) as picture:
        return bool(picture.getexif().get(_EXIF_ORIENTATION, 1) != 1)


def _with_background(
    categories: tuple[Category, ...], background: str | None
) -> tuple[tuple[Category, ...], int | None]:
    """The categories with the background's, and its id."""
    if background is None:
        return categories, None
    same = next((category for category in categories if category.name == background), None)
    if same is None:
        new_id = max(category.id for category in categories) + 1
        return (*categories, Category(new_id, background, False, category_color(new_id))), new_id
    if same.is_thing:
        raise InputError(f"--background {background!r} is a thing; choose a stuff category (--stuff) or a new name")
    return categories, same.id


def _placed(photos: Sequence[Photo], *, val: float, by: str | None, seed: int) -> list[Photo]:
    """Every photo with a split: the source's, or train and val by hash where it has no validation."""
    splits = {photo.split for photo in photos}
    if "val" in splits or splits.isdisjoint({None, "train"}):
        return [replace(photo, split=photo.split or "train") for photo in photos]
    pattern = compile_pattern(by) if by is not None else None
    loose = [index for index, photo in enumerate(photos) if photo.split in (None, "train")]
    names = [photos[index].name for index in loose]
    groups = [pattern_group(name, pattern) if pattern else stem_group(name) for name in names]
    placed = list(photos)
    for index, is_val in zip(loose, hashed_split(groups, val=val, seed=seed), strict=True):
        placed[index] = replace(photos[index], split="val" if is_val else "train")
    return placed


def _numbered(photos: Sequence[Photo]) -> list[Photo]:
    if all(photo.image_id is not None for photo in photos):
        return list(photos)
    return [replace(photo, image_id=index) for index, photo in enumerate(photos, start=1)]


def _require_own_files(photos: Sequence[Photo]) -> None:
    seen: dict[str, Path] = {}
    for photo in photos:
        key = f"{photo.split}/{stem_group(photo.name)}"
        if key in seen:
            raise InputError(f"{seen[key]} and {photo.image} would both be {key}.png; give them different names")
        seen[key] = photo.image


def _write_json(path: Path, rows: Sequence[_Done], categories: Sequence[Category]) -> None:
    document = {
        "images": [
            {"id": row.image_id, "file_name": row.name, "height": row.size[0], "width": row.size[1]} for row in rows
        ],
        "annotations": [
            {
                "image_id": row.image_id,
                "file_name": stem_group(row.name) + ".png",
                "segments_info": [segment_entry(segment) for segment in row.segments],
            }
            for row in rows
        ],
        "categories": [category_entry(category) for category in categories],
    }
    path.write_text(json.dumps(document, separators=(",", ":")) + "\n", encoding="utf-8")
