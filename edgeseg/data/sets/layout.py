"""What every data set's file here offers."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgeseg.structures import Category, InputError, Sample

CATEGORY_FOLDER = Path(__file__).parent / "categories"
"""Published category tables; the first line of each names its source."""


class Dataset(Protocol):
    """Samples with their categories."""

    @property
    def categories(self) -> tuple[Category, ...]:
        """Ascending by id; none where the images have no labels."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


@dataclass(frozen=True)
class Layout:
    """A published folder layout.

    Attributes:
        name: What `--data.format` takes.
        looks_for: Files that it is recognised by, relative to the root, for people; SPLIT stands for the split's name.
        fits: Tells from names alone whether a folder has this layout.
        open: Reads a split.
    """

    name: str
    looks_for: str
    fits: Callable[[Path], bool]
    open: Callable[[Path, str], Dataset]


def published_categories(name: str) -> tuple[Category, ...]:
    """A set's category table as published, ascending by id."""
    with (CATEGORY_FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        file.readline()  # the source
        return tuple(
            Category(
                int(row["id"]),
                row["name"],
                row["is_thing"] == "1",
                (int(row["red"]), int(row["green"]), int(row["blue"])),
            )
            for row in csv.DictReader(file)
        )


def split_folder(split: str, names: dict[str, str], set_name: str) -> str:
    """The set's own name of a split.

    Raises:
        InputError: The set has no such split.
    """
    if split in names.values():
        return split
    if split not in names:
        raise InputError(f"{set_name} has no split {split!r} with labels; it has {', '.join(names)}")
    return names[split]
