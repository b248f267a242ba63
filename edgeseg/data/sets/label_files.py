"""Images with label files of a set's own values, read when indexed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.coco_panoptic import segment_geometry
from edgeseg.data.panoptic_table import SegmentRecord
from edgeseg.data.photo import load_picture, read_labelled_image
from edgeseg.structures import Category, InputError, Sample, Segment

Label = tuple[NDArray[np.int32], tuple[Segment, ...]]
"""(H, W) segment ids with 0 = void, and their table."""

Meaning = Callable[[int], SegmentRecord | None]
"""What a value of a label file stands for; None = void. Raises KeyError for a value that the set does not define."""


class LabelledImage(NamedTuple):
    """An image and its label file.

    Attributes:
        image_id: As the set names it.
        image_name: Image relative to the images' folder.
        label_name: Label file relative to the labels' folder.
        sequence: Name of the video.
        frame: Number in the video.
    """

    image_id: str
    image_name: str
    label_name: str
    sequence: str | None = None
    frame: int | None = None


@dataclass(frozen=True)
class LabelFiles:
    """A split whose labels are files of values that the set gives a meaning to.

    Attributes:
        categories: Ascending by id.
        images: In order.
        image_folder: Folder of the images.
        label_folder: Folder of the labels.
        read_label: Reads a label file; a function of a module, so that loader processes can be sent it.
    """

    categories: tuple[Category, ...]
    images: tuple[LabelledImage, ...]
    image_folder: Path
    label_folder: Path
    read_label: Callable[[Path], Label]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        """Reads one image and its label.

        Raises:
            InputError: A file is damaged, holds undefined values, or the two differ in size.
        """
        record = self.images[index]
        label_path = self.label_folder / record.label_name
        panoptic_map, segments = self.read_label(label_path)
        height, width = panoptic_map.shape
        says = f"its label {label_path} is"
        image = read_labelled_image(self.image_folder / record.image_name, (height, width), says=says)
        return Sample(record.image_id, record.image_name, image, panoptic_map, segments, record.sequence, record.frame)


def read_codes(path: Path) -> NDArray[np.int32]:
    """(H, W) values of a grey or palette PNG of 8 or 16 bits.

    Raises:
        InputError: Missing, damaged, or in colour.
    """
    picture = load_picture(path, allow_16_bits=True)
    if picture.mode not in ("L", "P", "I", "I;16", "I;16B"):
        raise InputError(f"{path} has mode {picture.mode}; its values are stored as 8 or 16-bit grey: restore the file")
    return np.asarray(picture).astype(np.int32)


def read_colour_codes(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) values of an RGB PNG.

    Raises:
        InputError: Missing, damaged, or not 8-bit RGB.
    """
    picture = load_picture(path)
    if picture.mode != "RGB":
        raise InputError(f"{path} has mode {picture.mode}; its values are stored as 8-bit RGB: restore the file")
    return np.asarray(picture)


def label_of_codes(codes: NDArray[np.int32], meaning: Meaning, path: Path) -> Label:
    """Turns the values of a label file into segment ids and their table.

    Args:
        codes: (H, W) values.
        meaning: What each value stands for; two values never stand for one segment.
        path: For messages.

    Raises:
        InputError: A value that the set does not define.
    """
    values, areas, boxes = segment_geometry(codes)
    ids = np.zeros_like(values)
    segments = []
    for row, value in enumerate(values.tolist()):
        try:
            record = meaning(value)
        except (KeyError, IndexError):
            raise InputError(
                f"{path} holds the value {value}, which the set does not define; restore the file"
            ) from None
        if record is None:
            continue
        ids[row] = record.id
        x, y, width, height = boxes[row].tolist()
        segments.append(
            Segment(record.id, record.category_id, int(areas[row]), (x, y, width, height), is_crowd=record.is_crowd)
        )
    if np.array_equal(ids, values):
        return codes, tuple(segments)
    flat = codes.ravel()
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))  # runs of one value
    rows = np.searchsorted(values, flat[starts])
    return np.repeat(ids[rows], np.diff(starts, append=flat.size)).reshape(codes.shape), tuple(segments)


def files_below(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """Files at any depth whose names end so (any case), relative with forward slashes, sorted.

    Raises:
        InputError: The folder does not exist.
    """
    if not folder.is_dir():
        raise InputError(f"folder {folder} does not exist; restore it")
    endings = tuple(suffix.lower() for suffix in suffixes)
    return sorted(
        Path(parent, file).relative_to(folder).as_posix()
        for parent, _, files in os.walk(folder, followlinks=True)
        for file in files
        if file.lower().endswith(endings) and not file.startswith("._")  # what macOS archives leave beside each file
    )


def pair(labels: Mapping[str, str], images: Mapping[str, str], where: str) -> list[LabelledImage]:
    """Joins label files with their images by key, in order of the keys; images without a label are not read.

    Raises:
        InputError: No labels at all, or one without an image.
    """
    if not labels:
        raise InputError(f"{where} holds no labels; restore them, or name a split that has some")
    for key, name in labels.items():
        if key not in images:
            raise InputError(f"label {name} in {where} has no image, {len(images)} others have; restore the image")
    return [LabelledImage(key, images[key], labels[key]) for key in sorted(labels)]
