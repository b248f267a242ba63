"""COCO instances JSON, alone or over stuff maps.

Read: annotations/instances_SPLIT.json (also CVAT's COCO export), or one instances JSON beside its photos. Photos lie in
SPLIT/, images/SPLIT/, images/ or beside the JSON. Stuff maps: see stuff_maps.py.

Source of the format: cocodataset.org, "Data format".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from edgeseg.data.convert import fields
from edgeseg.data.convert.raster import decompress_runs, mask_rle, polygon_rle, runs_mask
from edgeseg.data.convert.records import Labels, Options, Photo, Rle, Shape, Size, Source
from edgeseg.data.convert.stuff_maps import StuffMaps, find_stuff_maps, read_floor
from edgeseg.data.panoptic_json import category_color
from edgeseg.structures import Category, InputError


def matches(source: Path) -> bool:
    """A folder with annotations/instances_*.json, or an instances JSON itself."""
    return any((source / "annotations").glob("instances_*.json")) or (
        source.suffix == ".json" and source.is_file() and not source.name.startswith("_annotations.coco")
    )


def open_source(source: Path, options: Options) -> Source:
    """Reads the JSON of every split.

    Raises:
        InputError: No instances JSON, a broken one, or splits whose categories differ.
    """
    paths = [source] if source.is_file() else sorted((source / "annotations").glob("instances_*.json"))
    root = source.parent if source.is_file() else source
    splits = []
    for path in paths:
        key = path.stem.removeprefix("instances_")
        folders = [root / key, root / "images" / key, root / "images", root]
        split = fields.split_name(key) if path.stem.startswith("instances_") else None
        splits.append((split, path, folders, find_stuff_maps(root, key)))
    if not splits:
        raise InputError(f"{source} has no annotations/instances_SPLIT.json; give the folder that holds annotations/")
    return instances_source(splits, options)


class _Label(NamedTuple):
    """Travels with a photo: its rows as JSON text, a tenth of what they take as objects."""

    path: Path
    size: Size
    rows: tuple[str, ...]
    crowd: str
    stuff: StuffMaps | None
    things: frozenset[int]


@dataclass
class _Image:
    """An entry of images while its annotations are gathered."""

    name: str
    size: Size
    rows: list[str] = field(default_factory=list)


def instances_source(
    splits: Sequence[tuple[str | None, Path, Sequence[Path], StuffMaps | None]], options: Options
) -> Source:
    """Joins the instances JSON of the splits.

    Args:
        splits: Split, JSON, folders that may hold its photos (the first that has one is taken), stuff maps.
        options: The user's.

    Raises:
        InputError: A JSON is broken, or splits differ in their categories.
    """
    categories: dict[int, Category] = {}
    photos: list[Photo] = []
    used: set[int] = set()
    parents: set[str] = set()
    for split, path, folders, stuff in splits:
        listed, supercategories, images = _read_instances(path, used)
        parents |= supercategories
        for category_id, name in (stuff.names if stuff else {}).items():
            listed.setdefault(category_id, Category(category_id, name, False, category_color(category_id)))
        if categories and listed != categories:
            raise InputError(f"{path} has other categories than {splits[0][1]}; all splits share one list")
        categories = listed
        folder = _photo_folder(path, folders, images)
        things = frozenset(category.id for category in listed.values() if category.is_thing)
        for image_id, image in images.items():
            label = _Label(path, image.size, tuple(image.rows), options.crowd, stuff, things)
            photos.append(Photo(folder / image.name, image.name, split, label, image_id))
    notes = []
    for category in [c for c in categories.values() if c.id == 0 and c.id not in used and c.name in parents]:
        del categories[category.id]
        notes.append(f"category 0 ({category.name!r}) is the parent of the others and labels nothing: left out")
    if len({photo.image_id for photo in photos}) < len(photos):
        photos = [replace(photo, image_id=index) for index, photo in enumerate(photos, start=1)]
        notes.append("image ids repeat across splits: images are numbered anew")
    ordered = [categories[key] for key in sorted(categories)]
    return Source(fields.mark_stuff(ordered, options.stuff), tuple(photos), read, notes=tuple(notes))


def read(photo: Photo, size: Size) -> Labels:
    """A photo's annotations.

    Raises:
        InputError: The JSON's size is another, a segmentation is broken, or the stuff map is missing or of other size.
    """
    label: _Label = photo.label
    fields.require_size(size, label.size, f"{label.path}: image {photo.name}")
    shapes = []
    for text in label.rows:
        row = json.loads(text)
        where = f"{label.path}: annotation {row.get('id')} of {photo.name}"
        is_crowd = row.get("iscrowd", 0)
        if is_crowd not in (0, 1):
            raise InputError(f"{where}: iscrowd is {is_crowd!r}; 0 or 1 wanted")
        rle = _segmentation_rle(row.get("segmentation"), size, where)
        shapes.append(Shape(row["category_id"], rle, bool(is_crowd) and label.crowd == "crowd"))
    if label.stuff is None:
        return Labels(tuple(shapes))
    png = label.stuff.folder / Path(photo.name).with_suffix(".png")
    return Labels(tuple(shapes), read_floor(png, label.stuff, label.things, size))


def _read_instances(path: Path, used: set[int]) -> tuple[dict[int, Category], set[str], dict[int | str, _Image]]:
    """Categories, names of supercategories, images with their rows; adds to `used` the categories that rows have."""
    images: dict[int | str, _Image] = {}
    waiting: dict[int | str, list[str]] = {}  # rows that came before their image
    categories: dict[int, Category] = {}
    parents: set[str] = set()
    seen = set()
    for key, index, row in fields.json_items(path):
        seen.add(key)
        where = f"{path}: {key}[{index}]"
        if index is None or key not in ("images", "annotations", "categories"):
            continue
        if key == "categories":
            category = _category(row, where)
            if category.id in categories:
                raise InputError(f"{where}: category {category.id} appears twice; category ids are unique")
            categories[category.id] = category
            parents.add(str(row.get("supercategory")))
        elif key == "images":
            image_id = _image_id(row, "id", where)
            if image_id in images:
                raise InputError(f"{where}: image {image_id!r} appears twice; image ids are unique")
            name = fields.relative_name(fields.field(row, "file_name", str, where), where)
            size = fields.field(row, "height", int, where), fields.field(row, "width", int, where)
            images[image_id] = _Image(name, size, waiting.pop(image_id, []))
        else:
            used.add(fields.field(row, "category_id", int, where))
            image_id = _image_id(row, "image_id", where)
            if "segments_info" in row:
                raise InputError(f"{path} is a panoptic JSON already; convert takes the instances one")
            rows = images[image_id].rows if image_id in images else waiting.setdefault(image_id, [])
            rows.append(json.dumps({k: row[k] for k in ("id", "category_id", "iscrowd", "segmentation") if k in row}))
    for wanted in ("images", "annotations", "categories"):
        if wanted not in seen:
            raise InputError(f"{path} has no {wanted!r}; a COCO instances JSON needs it")
    if waiting:
        raise InputError(f"{path}: an annotation has image_id {next(iter(waiting))!r}, which images does not list")
    unknown = used - categories.keys()
    if unknown:
        raise InputError(
            f"{path}: an annotation has category_id {min(unknown)}, which categories does not list "
            f"({len(categories)} of them); add it or correct the row"
        )
    return categories, parents, images


def _photo_folder(path: Path, folders: Sequence[Path], images: Mapping[int | str, _Image]) -> Path:
    first = next(iter(images.values()), None)
    if first is None:
        raise InputError(f"{path} lists no images; a data set needs at least one")
    for folder in folders:
        if (folder / first.name).is_file():
            return folder
    tried = ", ".join(str(folder) for folder in folders)
    raise InputError(f"{path} lists {first.name}, which is in none of {tried}; put the photos into one of them")


def _category(row: Any, where: str) -> Category:
    category_id = fields.field(row, "id", int, where)
    is_thing = row.get("isthing", 1)
    if is_thing not in (0, 1):
        raise InputError(f"{where}: isthing is {is_thing!r}; 0 or 1 wanted")
    return Category(category_id, fields.field(row, "name", str, where), bool(is_thing), category_color(category_id))


def _image_id(row: Any, key: str, where: str) -> int | str:
    if isinstance(row, dict) and isinstance(row.get(key), str):
        return fields.field(row, key, str, where)
    return fields.field(row, key, int, where)


def _segmentation_rle(segmentation: Any, size: Size, where: str) -> Rle:
    """Polygons, or run lengths, plain or compressed."""
    if isinstance(segmentation, dict):
        said = segmentation.get("size")
        if not isinstance(said, list) or tuple(said) != size:
            raise InputError(
                f"{where}: run lengths of size {str(said)[:40]}, the photo is {size[0]} x {size[1]} (height x width); "
                "export it again"
            )
        counts = segmentation.get("counts")
        if isinstance(counts, str):
            counts = decompress_runs(counts, where)
        if not isinstance(counts, list):
            raise InputError(f"{where}: run lengths have no 'counts'; export it again")
        return mask_rle(runs_mask(counts, size, where))
    if not isinstance(segmentation, list) or not segmentation:
        raise InputError(f"{where} has no segmentation (a box alone is no mask); label it with polygons or masks")
    return polygon_rle([fields.numbers(polygon, where) for polygon in segmentation], size, where)
