"""Pairs of PNGs: categories.json, images/, semantic/ (category ids), instance/ (instance ids).

Below the three folders lie split folders (train/, val/, test/) or the files. A semantic pixel is a category id of
categories.json (a list of {"id", "name", "isthing", "color"?}); 0 and 255 are void where no category has them. An
instance pixel (grey of 8 or 16 bits, palette, or RGB as R + 256 G + 65536 B) tells things of one category apart; 0 on a
thing's pixel means that nobody did: a crowd. On stuff it is not looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgeseg.data.convert import fields
from edgeseg.data.convert.index_png import read_index_png
from edgeseg.data.convert.records import Floor, FloorSegment, Labels, Options, Photo, Size, Source
from edgeseg.data.panoptic_json import category_color
from edgeseg.structures import Category, InputError


def matches(source: Path) -> bool:
    """A folder with images, semantic and instance in it."""
    return all((source / name).is_dir() for name in ("images", "semantic", "instance"))


class _Label(NamedTuple):
    semantic: Path
    instance: Path
    things: frozenset[int]
    stuff: frozenset[int]


def open_source(source: Path, options: Options) -> Source:
    """Lists the photos and reads categories.json.

    Raises:
        InputError: A folder is missing or empty, or categories.json is broken.
    """
    if not matches(source):
        raise InputError(f"{source} needs the folders images, semantic and instance")
    categories = fields.mark_stuff(_categories(source / "categories.json"), options.stuff)
    things = frozenset(c.id for c in categories if c.is_thing)
    stuff = frozenset(c.id for c in categories if not c.is_thing)
    paths = fields.find_images(source / "images")
    splits = fields.folder_splits(source / "images", paths)
    photos = []
    for path, (split, name) in zip(paths, splits, strict=True):
        png = path.relative_to(source / "images").with_suffix(".png")
        photos.append(
            Photo(path, name, split, _Label(source / "semantic" / png, source / "instance" / png, things, stuff))
        )
    return Source(categories, tuple(photos), read)


def read(photo: Photo, size: Size) -> Labels:
    """A photo's two maps as one.

    Raises:
        InputError: A map is missing, of another size, or the semantic one holds a value that no category has.
    """
    label: _Label = photo.label
    semantic, instance = read_index_png(label.semantic), read_index_png(label.instance, with_rgb=True)
    for path, found in ((label.semantic, semantic), (label.instance, instance)):
        fields.require_size(size, (found.shape[0], found.shape[1]), str(path))
    present = set(np.unique(semantic).tolist())
    unknown = present - label.things - label.stuff - {0, 255}
    if unknown:
        raise InputError(
            f"{label.semantic} holds the value {min(unknown)}, which categories.json does not list; add it or correct "
            "the map"
        )
    ids = np.where(np.isin(semantic, list(label.stuff)), 0, instance)
    keys = semantic.astype(np.int64) << 32 | ids
    values, dense = np.unique(keys, return_inverse=True)
    floor_ids = np.zeros(len(values), dtype=np.int32)
    table: dict[int, FloorSegment] = {}
    for row, value in enumerate(values.tolist()):
        category_id, instance_id = value >> 32, value & 0xFFFFFFFF
        if category_id in label.things | label.stuff:
            floor_ids[row] = row + 1
            table[row + 1] = FloorSegment(category_id, category_id in label.things and instance_id == 0)
    return Labels(floor=Floor(floor_ids[dense].reshape(size), table))


def _categories(path: Path) -> list[Category]:
    rows = fields.read_json(path)
    if isinstance(rows, dict):
        rows = fields.field(rows, "categories", list, str(path))
    if not isinstance(rows, list) or not rows:
        raise InputError(
            f'{path} holds no list of categories; [{{"id": 1, "name": "car", "isthing": 1}}, ...] is wanted'
        )
    categories: dict[int, Category] = {}
    for index, row in enumerate(rows):
        where = f"{path}: category {index}"
        category_id, name = fields.field(row, "id", int, where), fields.field(row, "name", str, where)
        is_thing = fields.field(row, "isthing", int, where)
        color = fields.numbers(row.get("color", list(category_color(category_id))), where)
        if is_thing not in (0, 1) or not 0 <= category_id < 2**16 or category_id in categories or len(color) != 3:
            raise InputError(
                f"{where}: id {category_id}, isthing {is_thing}; ids are unique, 0 .. 65535, isthing 0 or 1"
            )
        red, green, blue = (int(c) for c in color)
        categories[category_id] = Category(category_id, name, bool(is_thing), (red, green, blue))
    return [categories[key] for key in sorted(categories)]
