"""What a reader of a label format hands over."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeseg.structures import Category

Size = tuple[int, int]
"""Height and width in pixels."""

Rle = dict[str, Any]
"""A mask as pycocotools keeps it: column-wise runs."""


@dataclass(frozen=True)
class Options:
    """What the user says about a source.

    Attributes:
        stuff: Names of the categories that are stuff, where the format cannot say.
        crowd: What a row with iscrowd = 1 is: "crowd", or "thing" (CVAT's COCO export marks every brush mask so).
        num_workers: Processes for a first look over many label files.
    """

    stuff: tuple[str, ...] = ()
    crowd: Literal["crowd", "thing"] = "crowd"
    num_workers: int = 0


@dataclass(frozen=True)
class Shape:
    """One labelled region of an image.

    Attributes:
        category_id: None marks a region that nothing may be learned from: void.
        rle: Its pixels.
        is_crowd: Several things that nobody told apart.
        z_order: Higher ones lie on top; 0 where the format has no order.
        group: Shapes of one category and group are one segment; None stands alone.
    """

    category_id: int | None
    rle: Rle
    is_crowd: bool = False
    z_order: int = 0
    group: Hashable = None


class FloorSegment(NamedTuple):
    """A segment of a floor."""

    category_id: int
    is_crowd: bool


@dataclass(frozen=True)
class Floor:
    """A label map that lies under all shapes.

    Attributes:
        ids: (H, W) int32, 0 = void.
        table: The segment behind each id.
    """

    ids: NDArray[np.int32]
    table: Mapping[int, FloorSegment]


@dataclass(frozen=True)
class Labels:
    """All that a format says about one image."""

    shapes: tuple[Shape, ...] = ()
    floor: Floor | None = None


@dataclass(frozen=True)
class Photo:
    """One image of a source.

    Attributes:
        image: The file.
        name: What it is called in the result, relative to its split's folder.
        split: "train", "val", "test" or the source's own word; None where the source does not say.
        label: Whatever the reader needs to find its labels; travels to another process.
        image_id: The source's id, if it has one.
    """

    image: Path
    name: str
    split: str | None
    label: Any
    image_id: int | str | None = None


@dataclass(frozen=True)
class Source:
    """An opened source: everything but the pixels.

    Attributes:
        categories: Ascending by id.
        photos: In a fixed order.
        read: Labels of a photo of the given size; called in other processes, so of a module's top level.
        is_upright: Labels are drawn on the photo as its EXIF orientation turns it, not as it is stored.
        notes: What people should know about this source.
    """

    categories: tuple[Category, ...]
    photos: tuple[Photo, ...]
    read: Callable[[Photo, Size], Labels]
    is_upright: bool = False
    notes: tuple[str, ...] = field(default=())
