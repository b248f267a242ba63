"""Ultralytics' segmentation text: data.yaml, and for each photo a .txt of rows "CLASS x1 y1 x2 y2 ...".

Points are in shares of the photo's width and height. A photo's labels lie where Ultralytics looks: the last "images"
folder of its path replaced by "labels", .txt for the suffix. A photo without that file shows nothing. Class i becomes
category i + 1. Ultralytics turns photos as their EXIF orientation says, so do the labels.

Source of the format: docs.ultralytics.com/datasets/segment; ultralytics/data/utils.py for where files are looked up.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from edgeseg.data.convert import fields
from edgeseg.data.convert.raster import polygon_rle
from edgeseg.data.convert.records import Labels, Options, Photo, Shape, Size, Source
from edgeseg.structures import InputError


def matches(source: Path) -> bool:
    """A folder with data.yaml or data.yml, or a YAML file itself."""
    return _yaml_path(source) is not None


class _Label(NamedTuple):
    path: Path
    names: tuple[str, ...]


def open_source(source: Path, options: Options) -> Source:
    """Reads data.yaml and lists the photos of its splits.

    Raises:
        InputError: data.yaml is missing or broken, a photo it lists is missing, or no photo has labels.
    """
    path = _yaml_path(source)
    if path is None:
        raise InputError(f"{source} has no data.yaml; export in Ultralytics' segmentation format")
    document = _read_yaml(path)
    names = _names(document, path)
    photos: list[Photo] = []
    for key in ("train", "val", "validation", "test"):
        for image, name in _images(document.get(key), document, path, key):
            photos.append(Photo(image, name, fields.split_name(key), _Label(_label_path(image), names)))
    if not photos:
        raise InputError(f"{path} names no photos under train, val or test; add a folder")
    num_labelled = sum(photo.label.path.is_file() for photo in photos)
    if not num_labelled:
        raise InputError(
            f"none of {path}'s {len(photos)} photos has a label file ({photos[0].label.path} would be one)"
        )
    num_bare = len(photos) - num_labelled
    notes = (f"{num_bare} photos have no label file: they show nothing",) if num_bare else ()
    categories = fields.name_categories(names, options.stuff)
    return Source(categories, tuple(photos), read, is_upright=True, notes=notes)


def read(photo: Photo, size: Size) -> Labels:
    """A photo's rows.

    Raises:
        InputError: A class that data.yaml does not name, a box instead of a polygon, or a point outside 0 .. 1.
    """
    label: _Label = photo.label
    if not label.path.is_file():
        return Labels()
    shapes = []
    for index, line in enumerate(label.path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        where = f"{label.path}:{index}"
        words = line.split()
        if not words:
            continue
        if not words[0].isdecimal() or int(words[0]) >= len(label.names):
            raise InputError(f"{where}: class {words[0]!r}; data.yaml names 0 .. {len(label.names) - 1}: correct it")
        values = [fields.number(word, where) for word in words[1:]]
        if len(values) == 4:
            raise InputError(f"{where}: 4 numbers are a detection box, not a polygon; export for segmentation")
        pixels = [value * size[1 - axis % 2] for axis, value in enumerate(values)]
        shapes.append(Shape(int(words[0]) + 1, polygon_rle([pixels], size, where)))
    return Labels(tuple(shapes))


def _yaml_path(source: Path) -> Path | None:
    if source.suffix in (".yaml", ".yml") and source.is_file():
        return source
    return next((source / name for name in ("data.yaml", "data.yml") if (source / name).is_file()), None)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}; correct it") from None
    if not isinstance(document, dict):
        raise InputError(f"{path} holds no table; 'names' and 'train' are wanted")
    return document


def _names(document: dict[str, Any], path: Path) -> tuple[str, ...]:
    names = document.get("names")
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str | int) for name in names):
        raise InputError(f"{path}: names is {str(names)[:60]!r}; a list of names, or a table from 0 on, is wanted")
    return tuple(str(name) for name in names)


def _images(entry: Any, document: dict[str, Any], path: Path, key: str) -> list[tuple[Path, str]]:
    """Photos of a split with their names: `entry` is a folder, a .txt listing, or a list of either."""
    found: list[tuple[Path, str]] = []
    for word in entry if isinstance(entry, list) else [entry] if entry else []:
        if not isinstance(word, str):
            raise InputError(f"{path}: {key} is {str(word)[:60]!r}; a folder or a .txt of photos is wanted")
        place = _resolve(word, document, path, key)
        if place.is_dir():
            found += [(image, image.relative_to(place).as_posix()) for image in fields.find_images(place)]
        else:
            found += _listed(place, path)
    return found


def _listed(listing: Path, path: Path) -> list[tuple[Path, str]]:
    found = []
    for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.strip():
            places = [base / line.strip() for base in (listing.parent, path.parent)]
            image = next((place for place in places if place.is_file()), None)
            if image is None:
                raise InputError(f"{listing} lists {line.strip()!r}, which does not exist; correct it")
            found.append((image, image.name))
    return found


def _resolve(word: str, document: dict[str, Any], path: Path, key: str) -> Path:
    """Where the entry lies: below `path:` or the YAML's folder; Roboflow's "../train/images" means "train/images"."""
    bases = [path.parent / str(document.get("path") or "."), path.parent]
    words: Sequence[str] = (word, word.removeprefix("../"))
    for base in bases:
        for name in words:
            if (base / name).exists():
                return base / name
    raise InputError(f"{path}: {key}: {word} does not exist below {path.parent}; correct the path")


def _label_path(image: Path) -> Path:
    parts = list(image.parts)
    indices = [index for index, part in enumerate(parts[:-1]) if part == "images"]
    if indices:
        parts[indices[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")
