"""Values out of files that people and tools wrote, checked."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from edgeseg.config import nearest
from edgeseg.data.json_rows import JsonItem, iter_json
from edgeseg.data.panoptic_json import category_color
from edgeseg.data.photo import IMAGE_SUFFIXES
from edgeseg.structures import Category, InputError

T = TypeVar("T")

_SPLITS = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}


def read_json(path: Path) -> Any:
    """A whole JSON document.

    Raises:
        InputError: The file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; restore the file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}; export it again") from None


def json_items(path: Path) -> Iterator[JsonItem]:
    """The rows of a JSON document's top-level lists, one at a time.

    Raises:
        InputError: The file is missing or is no JSON object.
    """
    try:
        yield from iter_json(path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; restore the file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a JSON object: {error}; export it again") from None


def field(row: Any, key: str, kind: type[T], where: str) -> T:
    """A value of the given type.

    Raises:
        InputError: `row` is no object, has no such key, or the value is of another type (True is no number).
    """
    if not isinstance(row, dict) or key not in row:
        found = "no object" if not isinstance(row, dict) else f"without {key!r}"
        raise InputError(f"{where} is {found}; {kind.__name__} {key!r} is wanted: export it again")
    value = row[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InputError(f"{where}: {key} is {str(value)[:40]!r}; {kind.__name__} wanted")
    return value


def numbers(values: Any, where: str) -> list[float]:
    """A list of finite numbers.

    Raises:
        InputError: It is something else.
    """
    if not isinstance(values, list):
        raise InputError(f"{where}: {str(values)[:40]!r} is no list of numbers")
    for value in values:
        if type(value) not in (int, float) or not math.isfinite(value):
            raise InputError(f"{where}: coordinate {str(value)[:40]!r} is no finite number; redraw the shape")
    return [float(value) for value in values]


def number(text: str | None, where: str) -> float:
    """A finite number out of text.

    Raises:
        InputError: It is none.
    """
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where}: {str(text)[:40]!r} is no finite number; export it again")
    return value


def path_name(name: str, where: str) -> PurePosixPath:
    """A path out of text, with forward slashes.

    Raises:
        InputError: It names no file.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.name or "\0" in name:
        raise InputError(f"{where}: {name!r} is no file name; correct it")
    return path


def relative_name(name: str, where: str) -> str:
    """A file name that stays inside its folder, with forward slashes.

    Raises:
        InputError: It is empty, absolute or climbs out.
    """
    path = path_name(name, where)
    if path.is_absolute() or ".." in path.parts or path.parts[0][1:2] == ":":
        raise InputError(f"{where}: file name {name!r}; a path inside the source's image folder is wanted")
    return path.as_posix()


def split_name(word: str | None) -> str | None:
    """The split that a folder or subset name means: "train2017" is "train", "valid" is "val", "default" is none."""
    word = re.sub(r"[_-]?(19|20)\d\d$", "", (word or "").lower())
    return None if word in ("", "default", "images") else _SPLITS.get(word, word)


def find_images(folder: Path) -> list[Path]:
    """Every photo in a folder and below, in a fixed order."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def folder_splits(root: Path, paths: Sequence[Path]) -> list[tuple[str | None, str]]:
    """Split and name within it of each path below `root`: the first folder is the split if all have train, val or test.

    Raises:
        InputError: There are no paths.
    """
    if not paths:
        raise InputError(f"{root} holds no photos; put them there")
    names = [path.relative_to(root) for path in paths]
    splits = [split_name(name.parts[0]) if len(name.parts) > 1 else None for name in names]
    if all(split in ("train", "val", "test") for split in splits):
        return [(split, Path(*name.parts[1:]).as_posix()) for split, name in zip(splits, names, strict=True)]
    return [(None, name.as_posix()) for name in names]


def require_size(found: tuple[int, int], said: tuple[int, int], where: str) -> None:
    """Raises InputError where a photo's size (height, width) is not the one its labels were drawn on."""
    if found != said:
        raise InputError(
            f"{where} says {said[0]} x {said[1]} (height x width), the photo is {found[0]} x {found[1]}; labels "
            "and photo must agree: export both again"
        )


def name_categories(
    names: Sequence[str], stuff: Sequence[str], colors: Sequence[str | None] = ()
) -> tuple[Category, ...]:
    """Categories 1, 2, ... for a format that only has names.

    Args:
        names: In the format's order.
        stuff: Those that are stuff; all others are things.
        colors: "#rrggbb" for each name, if the format has them.

    Raises:
        InputError: A name appears twice.
    """
    twice = [name for index, name in enumerate(names) if name in names[:index]]
    if twice:
        raise InputError(f"category {twice[0]!r} is listed twice; names are unique: rename one")
    rows = zip(names, colors or [None] * len(names), strict=True)
    return mark_stuff(
        [Category(index, name, True, _color(code, index)) for index, (name, code) in enumerate(rows, start=1)], stuff
    )


def mark_stuff(categories: Sequence[Category], stuff: Sequence[str]) -> tuple[Category, ...]:
    """The categories, those that the user calls stuff marked so.

    Raises:
        InputError: A name that no category has.
    """
    names = [category.name for category in categories]
    for name in stuff:
        if name not in names:
            raise InputError(f"--stuff {name!r} is no category{nearest(name, names)}; there are {', '.join(names)}")
    return tuple(Category(c.id, c.name, c.is_thing and c.name not in stuff, c.color) for c in categories)


def _color(code: str | None, category_id: int) -> tuple[int, int, int]:
    try:
        red, green, blue = bytes.fromhex((code or "").removeprefix("#"))
    except ValueError:  # no colour, or not of this form
        return category_color(category_id)
    return red, green, blue
