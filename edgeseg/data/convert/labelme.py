"""LabelMe 5: a JSON beside every photo, with polygons, rectangles, circles and masks in pixels.

Shapes of one label and group_id are one segment. The label __ignore__ is void. Category order is that of labels.txt in
the source's folder (LabelMe's own; __ignore__ and _background_ left out), else alphabetical. LabelMe shows photos as
their EXIF orientation says, so do its labels. Lines and points have no area and are refused.

Source of the format: github.com/wkentaro/labelme, labelme/utils/shape.py and examples/.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from edgeseg.config import nearest
from edgeseg.data.convert import fields
from edgeseg.data.convert.raster import box_rle, ellipse_rle, patch_rle, polygon_rle
from edgeseg.data.convert.records import Labels, Options, Photo, Rle, Shape, Size, Source
from edgeseg.data.parallel import in_processes
from edgeseg.structures import InputError

IGNORE_LABEL = "__ignore__"
_NO_CATEGORY = (IGNORE_LABEL, "_background_")


def matches(source: Path) -> bool:
    """A folder whose first JSON, in it or below, begins with LabelMe's keys."""
    first = next(iter(_json_files(source)), None)
    if first is None:
        return False
    with first.open("rb") as file:
        return b'"shapes"' in file.read(4096)


class _Label(NamedTuple):
    path: Path
    category_ids: dict[str, int]


class _Found(NamedTuple):
    image: Path
    names: list[str]


def open_source(source: Path, options: Options) -> Source:
    """Reads every JSON once for its photo and labels.

    Raises:
        InputError: No JSON, a broken one, or a label that labels.txt does not list.
    """
    paths = _json_files(source)
    if not paths:
        raise InputError(f"{source} has no LabelMe JSON; save the labels beside the photos")
    num_workers = options.num_workers if len(paths) > 64 else 0
    found = list(in_processes(_look, None, paths, num_workers=num_workers))
    names = _category_names(source / "labels.txt", paths, found)
    categories = fields.name_categories(names, options.stuff)
    category_ids = {category.name: category.id for category in categories}
    splits = fields.folder_splits(source, paths)
    photos = []
    for path, row, (split, name) in zip(paths, found, splits, strict=True):
        name = Path(name).with_suffix(row.image.suffix).as_posix()
        photos.append(Photo(row.image, name, split, _Label(path, category_ids)))
    labelled = {row.image.resolve() for row in found}
    num_left = sum(image.resolve() not in labelled for image in fields.find_images(source))
    notes = (f"{num_left} photos have no LabelMe JSON: left out",) if num_left else ()
    return Source(categories, tuple(photos), read, is_upright=True, notes=notes)


def read(photo: Photo, size: Size) -> Labels:
    """A photo's shapes.

    Raises:
        InputError: The JSON's size is another, or a shape is broken or has no area.
    """
    label: _Label = photo.label
    document = fields.read_json(label.path)
    said = (
        fields.field(document, "imageHeight", int, str(label.path)),
        fields.field(document, "imageWidth", int, str(label.path)),
    )
    fields.require_size(size, said, str(label.path))
    shapes = []
    for index, row in enumerate(fields.field(document, "shapes", list, str(label.path))):
        where = f"{label.path}: shape {index}"
        name = fields.field(row, "label", str, where)
        if name != "_background_":
            rle = _rle(row, size, f"{where} ({name})")
            shapes.append(Shape(label.category_ids.get(name), rle, group=_group(row, where)))
    return Labels(tuple(shapes))


def _json_files(source: Path) -> list[Path]:
    return sorted(source.rglob("*.json")) if source.is_dir() else []


def _look(_: None, path: Path) -> _Found:
    """Photo and labels of one JSON."""
    document = fields.read_json(path)
    if not isinstance(document, dict) or "shapes" not in document:
        raise InputError(f"{path} is no LabelMe JSON (no 'shapes'); move other files out of the folder")
    image = path.parent / fields.path_name(fields.field(document, "imagePath", str, str(path)), f"{path}: imagePath")
    rows = fields.field(document, "shapes", list, str(path))
    return _Found(image, [fields.field(row, "label", str, f"{path}: shape {i}") for i, row in enumerate(rows)])


def _category_names(listing: Path, paths: Sequence[Path], found: Sequence[_Found]) -> list[str]:
    used = sorted({name for row in found for name in row.names} - set(_NO_CATEGORY))
    if not listing.is_file():
        if not used:
            raise InputError(f"no shape in {listing.parent} has a label; label something first")
        return used
    lines = [line.strip() for line in listing.read_text(encoding="utf-8", errors="replace").splitlines()]
    names = [line for line in lines if line and line not in _NO_CATEGORY]
    for path, row in zip(paths, found, strict=True):
        for name in row.names:
            if name not in names and name not in _NO_CATEGORY:
                raise InputError(f"{path}: label {name!r} is not in {listing}{nearest(name, names)}; add or correct it")
    return names


def _group(row: dict[str, Any], where: str) -> int | str | None:
    group = row.get("group_id")
    if group is None or (isinstance(group, int | str) and not isinstance(group, bool)):
        return group
    raise InputError(f"{where}: group_id is {str(group)[:40]!r}; a number or null is wanted")


def _rle(row: dict[str, Any], size: Size, where: str) -> Rle:
    kind = row.get("shape_type") or "polygon"
    points = [fields.numbers(point, where) for point in fields.field(row, "points", list, where)]
    if any(len(point) != 2 for point in points):
        raise InputError(f"{where}: a point that is no pair of numbers; redraw it")
    if kind == "polygon":
        return polygon_rle([[value for point in points for value in point]], size, where)
    if kind not in ("rectangle", "circle", "mask"):
        raise InputError(f"{where}: a {kind!r} has no area; redraw it as a polygon, or remove it")
    if len(points) != 2:
        raise InputError(f"{where}: a {kind} has 2 points, this one has {len(points)}; redraw it")
    (x0, y0), (x1, y1) = points
    if kind == "rectangle":
        return box_rle((x0, y0, x1, y1), size, where)
    if kind == "circle":  # the centre and a point on the line
        radius = math.hypot(x1 - x0, y1 - y0)
        return ellipse_rle((x0, y0), (radius, radius), size, where)
    try:
        with Image.open(io.BytesIO(base64.b64decode(fields.field(row, "mask", str, where), validate=True))) as picture:
            patch = np.asarray(picture.convert("L")) > 0
    except (OSError, SyntaxError, binascii.Error, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}: its mask is no base64 PNG ({error}); save it again") from None
    return patch_rle(patch, int(x0), int(y0), size, where)
