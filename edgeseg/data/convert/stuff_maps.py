"""COCO's maps of stuff, which lie below the instances.

Each is one of

- stuffthingmaps/SPLIT/*.png (COCO-Stuff): pixel = category id - 1, 255 = void,
- annotations/stuff_SPLIT_pixelmaps/*.png (COCO's own): pixel = category id, 0 and the category named "other" = void,
- stuff/SPLIT/*.png: pixel = category id, 0 and 255 = void,

with names from annotations/stuff_SPLIT.json or from lines "ID: NAME" in labels.txt. Only their stuff is taken: a thing
without an instance stays void.

Source of the layouts: cocodataset.org, "Data format"; github.com/nightrome/cocostuff, README.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgeseg.data.convert import fields
from edgeseg.data.convert.index_png import read_index_png
from edgeseg.data.convert.records import Floor, FloorSegment, Size
from edgeseg.structures import InputError

_COCO_THINGS = frozenset(range(1, 92))  # COCO-Stuff numbers things 1 .. 91, stuff 92 .. 182


class StuffMaps(NamedTuple):
    """The stuff maps of a split.

    Attributes:
        folder: Of the PNGs.
        offset: Added to a pixel it gives the category id.
        silent: Pixels that say nothing.
        things: Category ids that may occur, but are told by the instances.
        names: Of the stuff, by category id.
    """

    folder: Path
    offset: int
    silent: frozenset[int]
    things: frozenset[int]
    names: Mapping[int, str]


def find_stuff_maps(root: Path, key: str) -> StuffMaps | None:
    """The stuff maps of split `key` below `root`, if there are any.

    Raises:
        InputError: There are two kinds, or nothing names their categories.
    """
    kinds = [
        (root / "stuffthingmaps" / key, 1, {255}, _COCO_THINGS),
        (root / "annotations" / f"stuff_{key}_pixelmaps", 0, {0}, frozenset[int]()),
        (root / "stuff" / key, 0, {0, 255}, frozenset[int]()),
    ]
    found = [kind for kind in kinds if kind[0].is_dir()]
    if not found:
        return None
    if len(found) > 1:
        raise InputError(f"{found[0][0]} and {found[1][0]} both hold stuff maps; move one away")
    folder, offset, silent, things = found[0]
    names = _names(root, key, folder)
    if folder == kinds[1][0]:  # its "other" stands for all things
        silent |= {category_id for category_id, name in names.items() if name == "other"}
    stuff = {i: name for i, name in names.items() if i not in things and i - offset not in silent}
    return StuffMaps(folder, offset, frozenset(silent), things, stuff)


def read_floor(png: Path, maps: StuffMaps, things: frozenset[int], size: Size) -> Floor:
    """The stuff of one photo.

    Args:
        png: Its map.
        maps: Say how to read it.
        things: Category ids that the instances tell.
        size: Of the photo.

    Raises:
        InputError: Missing, of another size, or it holds a category that has no name.
    """
    values = read_index_png(png)
    fields.require_size(size, (values.shape[0], values.shape[1]), str(png))
    table: dict[int, FloorSegment] = {}
    lookup = np.zeros(int(values.max()) + 1, dtype=np.int32)
    for value in np.unique(values).tolist():
        category_id = value + maps.offset
        if value in maps.silent or category_id in maps.things | things:
            continue
        if category_id not in maps.names:
            raise InputError(f"{png} holds the value {value}: category {category_id} is not listed; add its name")
        lookup[value] = category_id
        table[category_id] = FloorSegment(category_id, False)
    return Floor(lookup[values], table)


def _names(root: Path, key: str, folder: Path) -> dict[int, str]:
    path = root / "annotations" / f"stuff_{key}.json"
    if path.is_file():
        where = f"{path}: a category"
        rows = [row for key, index, row in fields.json_items(path) if key == "categories" and index is not None]
        return {fields.field(row, "id", int, where): fields.field(row, "name", str, where) for row in rows}
    texts = [place / "labels.txt" for place in (folder, folder.parent, root) if (place / "labels.txt").is_file()]
    if not texts:
        raise InputError(
            f"{folder} holds stuff maps, but neither {path} nor {root / 'labels.txt'} names the categories"
        )
    names = {}
    for line in texts[0].read_text(encoding="utf-8", errors="replace").splitlines():
        number, separator, name = line.partition(":")
        if line.strip() and not (separator and number.strip().isdecimal() and name.strip()):
            raise InputError(f"{texts[0]}: line {line!r}; 'ID: NAME' is wanted")
        if line.strip() and int(number):  # "0: unlabeled" is no category
            names[int(number)] = name.strip()
    return names
