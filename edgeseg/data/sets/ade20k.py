"""ADE20K panoptic: the challenge's folder ADEChallengeData2016, or the JSON that Mask2Former's script makes of it.

Rules: facebookresearch/Mask2Former, datasets/prepare_ade20k_pan_seg.py. annotations/ holds category id + 1 (0 is void),
annotations_instance/ in R the number of the thing category (1 .. 100, in order of the categories) and in G that of the
instance. Stuff is taken from the first and things from the second, which lie on top; a thing's pixel that belongs to no
instance is void. No crowds. Category ids are 0 .. 149.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from edgeseg.data.coco_panoptic import PanopticFolder
from edgeseg.data.panoptic_table import SegmentRecord
from edgeseg.data.sets.label_files import (
    Label,
    LabelFiles,
    files_below,
    label_of_codes,
    pair,
    read_codes,
    read_colour_codes,
)
from edgeseg.data.sets.layout import Dataset, Layout, published_categories, split_folder
from edgeseg.structures import InputError

CATEGORIES = published_categories("ade20k")

_THINGS = [category.id for category in CATEGORIES if category.is_thing]
"""Category id by number of the thing category, from 0."""


def _meaning(value: int) -> SegmentRecord | None:
    """Stuff is category id + 1; a thing is 256 * its number + its instance."""
    number, instance = divmod(value, 256)
    if number == 0:
        is_void = instance == 0 or CATEGORIES[instance - 1].is_thing
        return None if is_void else SegmentRecord(value, instance - 1, is_crowd=False)
    return SegmentRecord(value, _THINGS[number - 1], is_crowd=False)


def _read_label(path: Path, instance_folder: Path) -> Label:
    instance_path = instance_folder / path.name
    semantic, things = read_codes(path), read_colour_codes(instance_path).astype(np.int32)
    if semantic.shape != things.shape[:2]:
        raise InputError(
            f"{instance_path} is {things.shape[0]} x {things.shape[1]} (height x width), {path} is "
            f"{semantic.shape[0]} x {semantic.shape[1]}; restore both"
        )
    if ((things[..., 0] == 0) & (things[..., 1] > 0)).any():
        raise InputError(f"{instance_path} has an instance (G) without a category (R = 0); restore the file")
    codes = np.where(things[..., 1] > 0, 256 * things[..., 0] + things[..., 1], semantic)
    return label_of_codes(codes, _meaning, path)


def _fits(root: Path) -> bool:
    return (root / "images").is_dir() and (
        (root / "annotations_instance").is_dir() or any(root.glob("ade20k_panoptic_*.json"))
    )


def _open(root: Path, split: str) -> Dataset:
    """The challenge's two PNGs where they are there, else the JSON."""
    folder = split_folder(split, {"train": "training", "val": "validation"}, "ADE20K")
    image_folder = root / "images" / folder
    label_folder, instance_folder = root / "annotations" / folder, root / "annotations_instance" / folder
    if label_folder.is_dir() and instance_folder.is_dir():
        images = {Path(name).stem: name for name in files_below(image_folder, (".jpg",))}
        labels = {Path(name).stem: name for name in files_below(label_folder, (".png",))}
        present = {Path(name).stem for name in files_below(instance_folder, (".png",))}
        if missing := sorted(labels.keys() - present):
            raise InputError(f"{instance_folder} has no {missing[0]}.png, but {label_folder} has; restore the file")
        records = tuple(pair(labels, images, str(label_folder)))
        read_label = partial(_read_label, instance_folder=instance_folder)
        return LabelFiles(CATEGORIES, records, image_folder, label_folder, read_label)
    json_path = root / f"ade20k_panoptic_{'train' if folder == 'training' else 'val'}.json"
    if not json_path.is_file():
        raise InputError(
            f"{root} has neither annotations/{folder}/ with annotations_instance/{folder}/ nor {json_path.name}; "
            "restore one of them"
        )
    # The script lists stuff that its things cover wholly; some of its names end in a blank.
    made = PanopticFolder.from_json(json_path, image_folder, json_path.with_suffix(""), allow_absent=True)
    return replace(made, categories=tuple(replace(c, name=c.name.strip()) for c in made.categories))


LAYOUT = Layout("ade20k", "images/ with annotations_instance/ or ade20k_panoptic_SPLIT.json", _fits, _open)
