"""KITTI-STEP: frames with track ids.

Layout and rules: google-research/deeplab2, g3doc/setup/kitti_step.md and data/build_step_data.py (Weber et al., STEP,
arXiv 2102.11859). In a panoptic map R is the category (Cityscapes' trainIds 0 .. 18; 255 is void) and 256 G + B the
track. Only cars and persons have tracks; track 0 of them marks pixels that no track was drawn for: crowd.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from edgeseg.data.panoptic_table import SegmentRecord
from edgeseg.data.sets.label_files import Label, LabelFiles, files_below, label_of_codes, pair, read_colour_codes
from edgeseg.data.sets.layout import Dataset, Layout, published_categories, split_folder
from edgeseg.structures import InputError

CATEGORIES = tuple(
    replace(category, id=train_id, is_thing=category.name in ("person", "car"))
    for train_id, category in enumerate(published_categories("cityscapes"))
)

_VOID = 255
_TRACKS = 1 << 16
"""Segment id = (category + 1) * _TRACKS + track: never 0, the same in every frame of a sequence."""


def _meaning(value: int) -> SegmentRecord | None:
    category, track = value // _TRACKS - 1, value % _TRACKS
    if category == _VOID:
        return None
    if track and not CATEGORIES[category].is_thing:
        raise KeyError(value)
    return SegmentRecord(value, category, is_crowd=CATEGORIES[category].is_thing and track == 0)


def _read_label(path: Path) -> Label:
    rgb = read_colour_codes(path).astype(np.int32)
    codes = (rgb[..., 0] + 1) * _TRACKS + rgb[..., 1] * 256 + rgb[..., 2]
    return label_of_codes(codes, _meaning, path)


def _fits(root: Path) -> bool:
    return (root / "panoptic_maps").is_dir() and (root / "images").is_dir()


def _open(root: Path, split: str) -> Dataset:
    split = split_folder(split, {"train": "train", "val": "val"}, "KITTI-STEP")
    image_folder, label_folder = root / "images" / split, root / "panoptic_maps" / split
    images = {name.rpartition(".")[0]: name for name in files_below(image_folder, (".png", ".jpg"))}
    labels = {name.removesuffix(".png"): name for name in files_below(label_folder, (".png",))}
    records = []
    for record in pair(labels, images, str(label_folder)):
        sequence, _, number = record.image_id.rpartition("/")
        if not sequence or not number.isdecimal():
            raise InputError(f"{label_folder / record.label_name} is not SEQUENCE/NUMBER.png; restore its name")
        records.append(record._replace(sequence=sequence, frame=int(number)))
    return LabelFiles(CATEGORIES, tuple(records), image_folder, label_folder, _read_label)


LAYOUT = Layout("kitti-step", "panoptic_maps/ and images/", _fits, _open)
