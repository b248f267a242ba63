"""The data doctor's lenient reading of a split's JSON."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeGuard

from edgeseg.data.doctor_codes import Finding, shown
from edgeseg.data.json_rows import iter_json
from edgeseg.structures import InputError

Find = Callable[[Finding], None]
_YEARS = {"train2017": "train", "val2017": "val"}
_COPY_MARK = re.compile(r"([ _-]+copy([ _-]*\d+)?|[ _]*\(\d+\))$")
_NOT_DATA = re.compile(r"\.|thumbs\.db$|desktop\.ini$", re.IGNORECASE)  # what desktops leave behind


class SplitPaths(NamedTuple):
    """Where a split's parts lie; `root` is the data folder."""

    root: Path
    name: str

    @property
    def json(self) -> Path:
        """The panoptic JSON."""
        return self.root / "annotations" / f"panoptic_{self.name}.json"

    @property
    def photos(self) -> Path:
        """Folder of the photos."""
        return self.root / self.name

    @property
    def pngs(self) -> Path:
        """Folder of the panoptic PNGs: beside the JSON, as COCO unpacks, or above, as detectron2 and DETR have it."""
        beside, above = self.json.with_suffix(""), self.root / f"panoptic_{self.name}"
        return above if above.is_dir() and not beside.is_dir() else beside

    @property
    def role(self) -> str:
        """The split's name without COCO's year."""
        return _YEARS.get(self.name, self.name)

    def relative(self, path: Path) -> str:
        """`path` as reports name it."""
        return shown(path.relative_to(self.root).as_posix(), 200)


class ImageEntry(NamedTuple):
    """An entry of images; `file_name` is None where it must not be opened, `size` (height, width) where it is wrong."""

    file_name: str | None
    size: tuple[int, int] | None
    digest: int


class CategoryEntry(NamedTuple):
    """An entry of categories; None stands for a field that is missing or wrong."""

    name: str | None
    is_thing: bool | None
    color: tuple[int, int, int] | None
    digest: int


@dataclass
class SplitIndex:
    """A split's JSON without its annotations.

    Attributes:
        paths: Where the split lies.
        images: By id, the first of each.
        categories: By id, the first of each.
        num_annotations: Rows of the list annotations.
        shared_pngs: PNG names that several annotations give.
        photo_files: Names on disk, relative to the photo folder; None where there is no such folder.
        png_files: Names on disk, relative to the PNG folder; likewise.
    """

    paths: SplitPaths
    images: dict[int | str, ImageEntry] = field(default_factory=dict)
    categories: dict[int, CategoryEntry] = field(default_factory=dict)
    num_annotations: int = 0
    shared_pngs: set[str] = field(default_factory=set)
    photo_files: frozenset[str] | None = None
    png_files: frozenset[str] | None = None


def find_splits(root: Path, split: str | None, find: Find) -> list[SplitPaths]:
    """Splits of a folder, train first, then val, then the others.

    Args:
        root: COCO panoptic folder.
        split: Only this one; "train" also finds train2017, "val" also val2017.
        find: Takes what is wrong with the folder itself.

    Raises:
        InputError: There is no such folder, or nothing to check in it.
    """
    if not root.is_dir():
        raise InputError(f"data folder {root} does not exist; give a COCO panoptic folder")
    folder = root / "annotations"
    entries = sorted(folder.glob("panoptic_*")) if folder.is_dir() else []
    names = [entry.name.removeprefix("panoptic_").removesuffix(".json") for entry in entries if entry.suffix == ".json"]
    orphans = [e.name.removeprefix("panoptic_") for e in entries if e.is_dir()]
    orphans = [name for name in orphans if name not in names]
    wanted = [n for n in names if split is None or split in (n, _YEARS.get(n))]
    if not wanted:
        what = f"panoptic_{split or '*'}.json"
        raise InputError(f"{folder} has no {what}; a COCO panoptic folder keeps its labels there")
    if split is None:
        for name in orphans:
            find(Finding("split-json-missing", name, f"annotations/panoptic_{name}", "no JSON"))
    for year, plain in _YEARS.items():
        if year in wanted and plain in wanted:
            find(Finding("split-ambiguous", plain, f"annotations/panoptic_{plain}.json", f"panoptic_{year}.json too"))
    order = {"train": 0, "val": 1}
    return sorted((SplitPaths(root, n) for n in wanted), key=lambda s: (order.get(s.role, 2), s.name))


def read_index(paths: SplitPaths, find: Find) -> SplitIndex | None:
    """Reads images and categories, lists the files; None where the JSON cannot be used at all."""
    index = SplitIndex(paths)
    where = paths.relative(paths.json)
    seen: Counter[str] = Counter()
    png_names: set[str] = set()
    constants: Counter[str] = Counter()
    try:
        for key, row_number, value in iter_json(paths.json, lambda name: constants.update([name])):
            if row_number is None:
                seen[key] += isinstance(value, list)
            elif key == "images":
                _add_image(index, value, where, find)
            elif key == "categories":
                _add_category(index, value, where, find)
            elif key == "annotations":
                if isinstance(value, dict) and "segmentation" in value and "segments_info" not in value:
                    find(Finding("json-not-panoptic", paths.name, where, "annotations with 'segmentation'"))
                    return None
                index.num_annotations += 1
                png_name = value.get("file_name") if isinstance(value, dict) else None
                if isinstance(png_name, str):
                    (index.shared_pngs if png_name in png_names else png_names).add(png_name)
    except (ValueError, OSError) as error:
        find(Finding("json-unreadable", paths.name, where, shown(str(error))))
        return None
    if constants:
        value = ", ".join(f"{count} {name}" for name, count in constants.items())
        find(Finding("json-nan", paths.name, where, value))
    lists = ("images", "annotations", "categories")
    for key in lists:
        if seen[key] != 1:
            find(Finding("json-key-missing", paths.name, where, f"{seen[key]} lists named {key}"))
    if any(seen[key] != 1 for key in lists):
        return None
    if not index.images:
        find(Finding("json-empty", paths.name, where, "images is empty"))
    if not index.categories:
        find(Finding("json-key-missing", paths.name, where, "categories is empty"))
    _check_names(index, where, find)
    index.photo_files = _list_files(paths, paths.photos, find)
    index.png_files = _list_files(paths, paths.pngs, find)
    return index


def iter_annotations(paths: SplitPaths) -> Iterator[Any]:
    """The rows of annotations as they stand in the file, one at a time."""
    for key, row_number, value in iter_json(paths.json):
        if key == "annotations" and row_number is not None:
            yield value


def row_digest(row: Any) -> int:
    """Equal for rows of equal content (within one process)."""
    return hash(json.dumps(row, sort_keys=True))


def safe_name(name: object) -> TypeGuard[str]:
    """Whether a listed file name may be opened: relative, plain, inside its folder."""
    if not isinstance(name, str) or not name or "\0" in name or "\\" in name or name.startswith("/"):
        return False
    path = PurePosixPath(name)
    return bool(path.name) and ".." not in path.parts and not re.match(r"[A-Za-z]:", name)


def is_int(value: object) -> TypeGuard[int]:
    """Whether a JSON value is an integer of at most 63 bits (true and false are not)."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def is_flag(value: object) -> TypeGuard[int]:
    """Whether a JSON value is 0, 1, true or false."""
    return isinstance(value, int) and value in (0, 1)


def unlisted(present: frozenset[str] | None, listed: set[str]) -> list[str]:
    """Files that no entry names, without what desktops leave behind."""
    return sorted(name for name in (present or frozenset()) - listed if not _NOT_DATA.match(PurePosixPath(name).name))


def _add_image(index: SplitIndex, row: Any, where: str, find: Find) -> None:
    name = index.paths.name
    if not isinstance(row, dict) or not (is_int(row.get("id")) or isinstance(row.get("id"), str)):
        find(Finding("image-field", name, where, f"entry of images {shown(row)}"))
        return
    image_id, file_name = row["id"], row.get("file_name")
    height, width = row.get("height"), row.get("width")
    if not isinstance(file_name, str):
        find(Finding("image-field", name, where, f"file_name {shown(file_name)}", image_id))
    elif not safe_name(file_name):
        find(Finding("name-unsafe", name, where, f"file_name {shown(file_name)}", image_id))
    size = (height, width) if _is_side(height) and _is_side(width) else None
    if size is None:
        find(Finding("image-field", name, where, f"height {shown(height)}, width {shown(width)}", image_id))
    entry = ImageEntry(file_name if safe_name(file_name) else None, size, row_digest(row))
    if image_id in index.images:
        same = " (equal entries)" if index.images[image_id].digest == entry.digest else ""
        find(Finding("image-id-duplicate", name, where, f"id {shown(image_id)} again{same}", image_id))
    else:
        index.images[image_id] = entry


def _is_side(value: object) -> TypeGuard[int]:
    return is_int(value) and 0 < value < 2**31


def _add_category(index: SplitIndex, row: Any, where: str, find: Find) -> None:
    split = index.paths.name
    if not isinstance(row, dict) or not is_int(row.get("id")) or abs(row["id"]) >= 2**31:
        find(Finding("category-field", split, where, f"entry of categories {shown(row)}"))
        return
    category_id, name, is_thing, color = row["id"], row.get("name"), row.get("isthing"), row.get("color")
    if not isinstance(name, str):
        find(Finding("category-field", split, where, f"category {category_id}: name {shown(name)}"))
    if not is_flag(is_thing):
        find(Finding("category-field", split, where, f"category {category_id}: isthing {shown(is_thing)}"))
    is_color = isinstance(color, list) and len(color) == 3 and all(is_int(c) and 0 <= c <= 255 for c in color)
    if "color" in row and not is_color:
        find(Finding("category-color", split, where, f"category {category_id}: color {shown(color)}"))
    entry = CategoryEntry(
        name if isinstance(name, str) else None,
        bool(is_thing) if is_flag(is_thing) else None,
        (color[0], color[1], color[2]) if is_color and color else None,
        row_digest(row),
    )
    known = index.categories.get(category_id)
    if known is not None:
        same = " (equal entries)" if known.digest == entry.digest else ""
        find(Finding("category-duplicate", split, where, f"id {category_id} again{same}"))
        return
    for other_id, other in index.categories.items():
        if entry.name is not None and entry.name == other.name:
            value = f"categories {other_id} and {category_id} are both {shown(name)!r}"
            find(Finding("category-name-duplicate", split, where, value))
        if entry.color is not None and entry.color == other.color:
            value = f"categories {other_id} and {category_id} are both {list(entry.color)}"
            find(Finding("category-color-duplicate", split, where, value))
    index.categories[category_id] = entry


def _check_names(index: SplitIndex, where: str, find: Find) -> None:
    exact: dict[str, int | str] = {}
    alike: dict[str, str] = {}
    for image_id, entry in index.images.items():
        name = entry.file_name
        if name is None:
            continue
        if name in exact:
            value = f"{shown(name)}, also of image {shown(exact[name])}"
            find(Finding("image-file-duplicate", index.paths.name, where, value, image_id))
            continue
        exact[name] = image_id
        known = alike.setdefault(_COPY_MARK.sub("", name_key(name)), name)
        if known != name:
            value = f"{shown(name)} beside {shown(known)}"
            find(Finding("name-near-duplicate", index.paths.name, where, value, image_id))


def _list_files(paths: SplitPaths, folder: Path, find: Find) -> frozenset[str] | None:
    if not folder.is_dir():
        find(Finding("split-folder-missing", paths.name, paths.relative(folder), "no such folder"))
        return None
    return frozenset(
        os.path.relpath(os.path.join(parent, file), folder).replace(os.sep, "/")
        for parent, _, files in os.walk(folder, followlinks=True)
        for file in files
    )


def name_key(name: str) -> str:
    """Equal for names that differ only in case, in how accents are encoded, or in their extension."""
    return unicodedata.normalize("NFC", PurePosixPath(name).with_suffix("").as_posix()).casefold()
