"""CVAT for images 1.1: annotations.xml with polygons, masks, boxes and ellipses in pixels.

Photos lie in images/, images/SUBSET/ or beside the XML. Shapes of one label and group_id are one segment; a higher
z_order lies on top. Categories and colours come from the XML's label list. Image tags have no place and are not read;
polylines, points, cuboids and skeletons have no area and are refused, as is the video format, whose tracks stand for
shapes that were never drawn. CVAT shows photos as their EXIF orientation says, so do its labels.

Source of the format: docs.cvat.ai, "XML annotation format", version 1.1.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

from edgeseg.config import nearest
from edgeseg.data.convert import fields
from edgeseg.data.convert.raster import box_rle, ellipse_rle, patch_rle, polygon_rle, runs_mask
from edgeseg.data.convert.records import Labels, Options, Photo, Rle, Shape, Size, Source
from edgeseg.structures import InputError

_SHAPES = ("polygon", "mask", "box", "ellipse")


def matches(source: Path) -> bool:
    """A folder with annotations.xml, or an XML file itself."""
    return (source / "annotations.xml").is_file() or (source.suffix == ".xml" and source.is_file())


class _Row(NamedTuple):
    """One shape as it stands in the XML."""

    kind: str
    category_id: int
    values: dict[str, str]


class _Label(NamedTuple):
    path: Path
    size: Size
    rows: tuple[_Row, ...]


def open_source(source: Path, options: Options) -> Source:
    """Reads the XML, one image at a time.

    Raises:
        InputError: Not XML, the video format, a shape without area, a label that is not listed, or a missing photo.
    """
    path = source if source.is_file() else source / "annotations.xml"
    names: dict[str, str | None] = {}
    images: list[ET.Element] = []
    try:
        for _, element in ET.iterparse(path, events=("end",)):
            if element.tag == "label" and element.find("name") is not None:
                names.setdefault(element.findtext("name") or "", element.findtext("color"))
            elif element.tag == "track":
                raise InputError(f"{path} is in CVAT's video format (it has tracks); export 'CVAT for images 1.1'")
            elif element.tag == "image":
                images.append(element)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give CVAT's unpacked export") from None
    except (ET.ParseError, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not XML: {error}; export it again") from None
    if not images or not names:
        raise InputError(f"{path} has {len(images)} images, {len(names)} labels; export 'CVAT for images 1.1'")
    categories = fields.name_categories(list(names), options.stuff, list(names.values()))
    category_ids = {category.name: category.id for category in categories}
    photos = [_photo(element, path, category_ids) for element in images]
    return Source(categories, tuple(photos), read, is_upright=True)


def read(photo: Photo, size: Size) -> Labels:
    """A photo's shapes.

    Raises:
        InputError: The XML's size is another, or a shape is broken.
    """
    label: _Label = photo.label
    fields.require_size(size, label.size, f"{label.path}: image {photo.name}")
    shapes = []
    for index, row in enumerate(label.rows):
        where = f"{label.path}: {row.kind} {index} of {photo.name}"
        z_order = _whole(row.values.get("z_order", "0"), where)
        group = _whole(row.values.get("group_id", "0"), where) or None
        shapes.append(Shape(row.category_id, _rle(row, size, where), z_order=z_order, group=group))
    return Labels(tuple(shapes))


def _photo(element: ET.Element, path: Path, category_ids: dict[str, int]) -> Photo:
    where = f"{path}: image {element.get('name')!r}"
    name = fields.relative_name(element.get("name") or "", where)
    size = _whole(element.get("height"), where), _whole(element.get("width"), where)
    rows = []
    for shape in element:
        if shape.tag == "tag":
            continue
        if shape.tag not in _SHAPES:
            raise InputError(f"{where} has a {shape.tag}, which has no area; redraw it as a polygon, or remove it")
        category = shape.get("label") or ""
        if category not in category_ids:
            known = list(category_ids)
            raise InputError(
                f"{where}: label {category!r} is not in the XML's list{nearest(category, known)}; correct it"
            )
        rows.append(_Row(shape.tag, category_ids[category], dict(shape.attrib)))
    subset = element.get("subset") or ""
    places = [path.parent / "images" / name, path.parent / "images" / subset / name, path.parent / name]
    image = next((place for place in places if place.is_file()), None)
    if image is None:
        raise InputError(f"{where} is not in {path.parent / 'images'}; export with 'Save images', or put it there")
    return Photo(image, name, fields.split_name(subset), _Label(path, size, tuple(rows)))


def _rle(row: _Row, size: Size, where: str) -> Rle:
    if row.kind == "polygon":
        pairs = [pair.split(",") for pair in row.values.get("points", "").split(";") if pair.strip()]
        return polygon_rle([[fields.number(text, where) for pair in pairs for text in pair]], size, where)
    if row.kind == "mask":
        left, top, width, height = (_whole(row.values.get(key), where) for key in ("left", "top", "width", "height"))
        runs = [_whole(text, where) for text in row.values.get("rle", "").split(",")]
        if min(width, height) < 1 or height > size[0] or width > size[1]:
            raise InputError(f"{where}: a mask {width} wide, {height} high; the photo is {size[1]} x {size[0]}")
        return patch_rle(runs_mask(runs, (height, width), where, by_columns=False), left, top, size, where)
    degrees = fields.number(row.values.get("rotation", "0"), where)
    keys = ("xtl", "ytl", "xbr", "ybr") if row.kind == "box" else ("cx", "cy", "rx", "ry")
    a, b, c, d = (fields.number(row.values.get(key), where) for key in keys)
    if row.kind == "box":
        return box_rle((a, b, c, d), size, where, degrees=degrees)
    return ellipse_rle((a, b), (c, d), size, where, degrees=degrees)


def _whole(text: str | None, where: str) -> int:
    value = fields.number(text, where)
    if value != int(value):
        raise InputError(f"{where}: {text!r} is no whole number; export it again")
    return int(value)
