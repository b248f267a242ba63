"""COCONut as downloaded: its parts beside COCO's and Objects365's images, nothing merged by hand.

Names of files: bytedance/coconut_cvpr2024 (download_coconut.py, tutorials/tools/merge_coconut.py) and its releases at
Kaggle and Hugging Face. Split train is the union of the parts S, B, L and XL that are there (B holds S's images again,
L and XL share some: an image is taken from the first), val that of relabelled COCO val and COCONut val; a part can be
named as a split too. Images are found by name anywhere below the root. Labels are RGB PNGs as COCO's, 0 = void; rows
without a pixel, which the releases have, are left out.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.data.coco_panoptic import PanopticFolder
from edgeseg.data.json_rows import iter_json
from edgeseg.data.panoptic_json import MAX_SEGMENT_ID
from edgeseg.data.panoptic_table import AnnotationTable, ImageRecords, ImageTable
from edgeseg.data.sets.label_files import files_below
from edgeseg.data.sets.layout import Dataset, Layout, published_categories
from edgeseg.structures import InputError

CATEGORIES = published_categories("coco")


@dataclass(frozen=True)
class Part:
    """A release, and the paths that its table and its PNG folder have below the root, by way of download."""

    name: str
    split: str
    tables: tuple[str, ...]
    masks: tuple[str, ...]


def _part(name: str, split: str, tables: tuple[str, ...] = (), masks: tuple[str, ...] = ()) -> Part:
    own = (f"{name}.json", f"annotations/{name}.json")
    kaggle = (f"annotations/{name}_panoptic.json", f"annotations/annotations/{name}_panoptic.json")
    return Part(name, split, tables + own + kaggle, (*masks, f"{name}/panoptic", f"{name}/{name}", name))


PARTS = (
    _part("coconut_s", "train"),
    _part("coconut_b", "train"),
    _part("coconut_large", "train", ("panseg_object365_train_v2.json",), ("panoptic_object365",)),
    Part("coconut_xlarge", "train", ("coconuts_xlarge/panseg_info",), ("coconuts_xlarge/panseg",)),
    _part("relabeled_coco_val", "val"),
    _part("coconut_val", "val", masks=("panoptic_o365val_v3",)),
)


def _fits(root: Path) -> bool:
    return any(_first(root, part.tables) for part in PARTS)


def _open(root: Path, split: str) -> Dataset:
    parts = [part for part in PARTS if split in (part.split, part.name)]
    found = [(part, table) for part in parts if (table := _first(root, part.tables))]
    if not found:
        names = [f"{part.name} ({part.tables[0]})" for part in parts or PARTS]
        raise InputError(f"{root} has no part of COCONut for the split {split!r}; looked for {', '.join(names)}")
    images = {Path(name).stem: name for name in files_below(root, (".jpg",))}
    collected = _Collected()
    for part, table in found:
        masks = _first(root, part.masks)
        if masks is None:
            raise InputError(f"{table} is there, but not its PNGs; looked for {', '.join(part.masks)} in {root}")
        pngs = set(files_below(masks, (".png",)))
        for stem, segments in _folder_rows(table) if table.is_dir() else _file_rows(table):
            if stem in collected.image_names:
                continue
            if stem not in images:
                raise InputError(f"{table} lists {stem}, but no {stem}.jpg lies below {root}; put the images there")
            if f"{stem}.png" not in pngs:
                raise InputError(f"{masks}/{stem}.png does not exist, but {table} lists it; restore the file")
            collected.image_names[stem] = images[stem]
            collected.png_names.append((masks / f"{stem}.png").relative_to(root).as_posix())
            try:
                collected.add_segments(segments)
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise InputError(f"{table}: {stem} has a bad segment ({error!r}); restore the file") from error
    return PanopticFolder(CATEGORIES, collected.records(), root, root, allow_absent=True)


class _Collected:
    """Images of all parts with their segments, in flat arrays."""

    def __init__(self) -> None:
        self.image_names: dict[str, str] = {}
        self.png_names: list[str] = []
        self._ends, self._ids, self._categories, self._crowds = array("q"), array("i"), array("H"), bytearray()
        self._index_of = {category.id: index for index, category in enumerate(CATEGORIES)}

    def add_segments(self, segments: Iterable[dict[str, Any]]) -> None:
        """Raises KeyError, TypeError, ValueError or OverflowError for what no segment of COCO can be."""
        known = set[int]()
        for segment in segments:
            segment_id = segment["id"]
            if not 1 <= segment_id <= MAX_SEGMENT_ID or segment_id in known:
                raise ValueError(f"id {segment_id} twice, or outside 1 .. {MAX_SEGMENT_ID}")
            known.add(segment_id)
            self._ids.append(segment_id)
            self._categories.append(self._index_of[segment["category_id"]])
            self._crowds.append(int(segment.get("iscrowd") or 0))
        self._ends.append(len(self._ids))

    def records(self) -> ImageRecords:
        stems, unknown = list(self.image_names), np.zeros((len(self.image_names), 2), dtype=np.int32)
        annotations = AnnotationTable(
            stems,
            self.png_names,
            np.array(self._ends, dtype=np.int64),
            np.array(self._ids, dtype=np.int32),
            np.array(self._categories, dtype=np.intp),
            np.array(list(self._index_of), dtype=np.int32),
            np.frombuffer(bytes(self._crowds), dtype=np.bool_),
        )
        return ImageRecords(ImageTable(stems, list(self.image_names.values()), unknown), annotations)


_Row = tuple[str, list[dict[str, Any]]]
"""Stem of the image and of its PNG, and its segments_info."""


def _folder_rows(folder: Path) -> Iterator[_Row]:
    """COCONut-XL: one JSON of segments per image."""
    for name in files_below(folder, (".json",)):
        try:
            yield Path(name).stem, json.loads((folder / name).read_bytes())
        except ValueError as error:
            raise InputError(f"{folder / name} is not JSON: {error}; restore the file") from error


def _file_rows(path: Path) -> Iterator[_Row]:
    """The others: a COCO panoptic JSON, read row by row.

    Rows of Objects365 images name them in `object365_file_name`, or their image's row does in that or `object365_name`;
    all others in `file_name`.
    """
    named: dict[int | str, str] = {}
    try:
        for key, index, row in iter_json(path):
            if key == "images" and index is not None and "id" in row:
                named[row["id"]] = row.get("object365_file_name") or row.get("object365_name") or ""
        for key, index, row in iter_json(path):
            if key == "annotations" and index is not None:
                name = row.get("object365_file_name") or named.get(row.get("image_id")) or row["file_name"]
                yield Path(name).stem, row["segments_info"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a panoptic JSON of COCONut ({error!r}); restore the file") from error


def _first(root: Path, names: tuple[str, ...]) -> Path | None:
    return next((root / name for name in names if (root / name).exists()), None)


LAYOUT = Layout("coconut", "coconut_s.json, coconut_b.json, relabeled_coco_val.json, ...", _fits, _open)
