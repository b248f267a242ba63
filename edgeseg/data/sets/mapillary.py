"""Mapillary Vistas v1.2 and v2.0.

Layout: README and demo.py of the releases. SPLIT/[VERSION/]panoptic/ holds RGB PNGs and panoptic_2018.json (v1.2) or
panoptic_2020.json (v2.0), which bring their categories, crowds and void (0). Without them SPLIT/[VERSION/]instances/ is
read, 16-bit PNGs of 256 * label + instance, by config[_VERSION].json: `instances` says thing, `evaluate` false says
void, and category ids are places in its list + 1, as in the v1.2 JSON. Releases before v2.0 have no VERSION folder.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from edgeseg.data.coco_panoptic import PanopticFolder
from edgeseg.data.panoptic_table import SegmentRecord
from edgeseg.data.sets.label_files import Label, LabelFiles, files_below, label_of_codes, pair, read_codes
from edgeseg.data.sets.layout import Dataset, Layout, split_folder
from edgeseg.structures import Category, InputError

_JSON_NAMES = {"v1.2": "panoptic_2018.json", "v2.0": "panoptic_2020.json"}
_CONFIG_NAMES = {"v1.2": ("config_v1.2.json", "config.json"), "v2.0": ("config_v2.0.json",)}
_NAME_KEYS = {"v1.2": "readable", "v2.0": "name"}
"""Which of a label's two names the panoptic JSON uses."""


def _read_label(path: Path, known: dict[int, bool]) -> Label:
    """`known` tells of each label whether it is evaluated."""

    def meaning(value: int) -> SegmentRecord | None:
        # Instances count from 0, and so do labels: + 1 keeps the first of all apart from void.
        return SegmentRecord(value + 1, value // 256 + 1, is_crowd=False) if known[value // 256] else None

    return label_of_codes(read_codes(path), meaning, path)


def _read_config(path: Path, version: str) -> tuple[tuple[Category, ...], dict[int, bool]]:
    """Evaluated categories, and of each label whether it is evaluated."""
    categories, known = [], {}
    try:
        for index, label in enumerate(json.loads(path.read_bytes())["labels"]):
            known[index] = bool(label["evaluate"])
            if known[index]:
                red, green, blue = label["color"]
                name, is_thing = str(label[_NAME_KEYS[version]]), bool(label["instances"])
                categories.append(Category(index + 1, name, is_thing, (int(red), int(green), int(blue))))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not the config of Mapillary Vistas {version} ({error!r}); restore it") from error
    return tuple(categories), known


def _folder(root: Path, split: str, version: str) -> Path:
    """Where the version's label folders of a split are."""
    return root / split / version if (root / split / version).is_dir() or version == "v2.0" else root / split


def _fits(root: Path, version: str) -> bool:
    return any(
        (_folder(root, split, version) / kind).is_dir()
        for split in ("training", "validation")
        for kind in ("panoptic", "instances")
    )


def _open(root: Path, split: str, version: str) -> Dataset:
    split = split_folder(split, {"train": "training", "val": "validation"}, f"Mapillary Vistas {version}")
    image_folder, folder = root / split / "images", _folder(root, split, version)
    json_path = folder / "panoptic" / _JSON_NAMES[version]
    if json_path.is_file():
        return PanopticFolder.from_json(json_path, image_folder, json_path.parent)
    configs = [root / name for name in _CONFIG_NAMES[version] if (root / name).is_file()]
    if not configs or not (folder / "instances").is_dir():
        raise InputError(
            f"{root} has neither {json_path.relative_to(root)} nor {_CONFIG_NAMES[version][0]} with "
            f"{(folder / 'instances').relative_to(root)}/; restore one of them"
        )
    categories, known = _read_config(configs[0], version)
    label_folder = folder / "instances"
    images = {Path(name).stem: name for name in files_below(image_folder, (".jpg",))}
    labels = {Path(name).stem: name for name in files_below(label_folder, (".png",))}
    records = tuple(pair(labels, images, str(label_folder)))
    return LabelFiles(categories, records, image_folder, label_folder, partial(_read_label, known=known))


def _layout(version: str) -> Layout:
    return Layout(
        f"mapillary-{version}",
        f"training/ or validation/ with {version}/" + (" or panoptic/" if version == "v1.2" else ""),
        partial(_fits, version=version),
        partial(_open, version=version),
    )


LAYOUTS = (_layout("v1.2"), _layout("v2.0"))
