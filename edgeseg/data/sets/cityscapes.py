"""Cityscapes with fine labels: instanceIds PNGs, or the panoptic JSON that cityscapesScripts makes of them.

Both give the same samples. Rules and ids: mcordts/cityscapesScripts, helpers/labels.py and
preparation/createPanopticImgs.py. A pixel of an instanceIds PNG is label id * 1000 + number for a thing that was told
apart, else the label id alone; a thing's label id alone marks a group of them (cargroup, ...): crowd. Labels that
are not evaluated (ego vehicle, out of roi, parking, caravan, ...) are void. Category ids are label ids; their order is
that of the trainIds, so contiguous index i is trainId i.
"""

from __future__ import annotations

from pathlib import Path

from edgeseg.data.coco_panoptic import PanopticFolder
from edgeseg.data.panoptic_table import SegmentRecord
from edgeseg.data.sets.label_files import Label, LabelFiles, files_below, label_of_codes, pair, read_codes
from edgeseg.data.sets.layout import Dataset, Layout, published_categories, split_folder
from edgeseg.structures import InputError

CATEGORIES = published_categories("cityscapes")

_IS_THING = {category.id: category.is_thing for category in CATEGORIES}
_NUM_LABELS = 34
_LABEL_END, _IMAGE_END = "_gtFine_instanceIds.png", "_leftImg8bit.png"


def _meaning(value: int) -> SegmentRecord | None:
    label = value if value < 1000 else value // 1000
    if not 0 <= label < _NUM_LABELS:
        raise KeyError(value)
    if label not in _IS_THING:
        return None
    return SegmentRecord(value, label, is_crowd=value < 1000 and _IS_THING[label])


def _read_label(path: Path) -> Label:
    return label_of_codes(read_codes(path), _meaning, path)


def _fits(root: Path) -> bool:
    return (root / "gtFine").is_dir() and (root / "leftImg8bit").is_dir()


def _open(root: Path, split: str) -> Dataset:
    """The instanceIds where they are there, else the JSON of label ids, else that of trainIds (categories 0 .. 18)."""
    split = split_folder(split, {"train": "train", "val": "val", "test": "test"}, "Cityscapes")
    image_folder, label_folder = root / "leftImg8bit" / split, root / "gtFine" / split
    images = {Path(name).name.removesuffix(_IMAGE_END): name for name in files_below(image_folder, (_IMAGE_END,))}
    names = files_below(label_folder, (_LABEL_END,)) if label_folder.is_dir() else []
    if names:
        labels = {Path(name).name.removesuffix(_LABEL_END): name for name in names}
        records = tuple(pair(labels, images, str(label_folder)))
        return LabelFiles(CATEGORIES, records, image_folder, label_folder, _read_label)
    stems = [f"cityscapes_panoptic_{split}", f"cityscapes_panoptic_{split}_trainId"]
    found = [stem for stem in stems if (root / "gtFine" / f"{stem}.json").is_file()]
    if not found:
        raise InputError(
            f"{label_folder} has no *{_LABEL_END} and {root / 'gtFine'} no {stems[0]}.json; restore one of them"
        )
    # The JSON's own file names do not exist on disk (CITY_..._gtFine_leftImg8bit.png); its image ids are right.
    return PanopticFolder.from_json(
        root / "gtFine" / f"{found[0]}.json",
        image_folder,
        root / "gtFine" / found[0],
        image_name=lambda image_id, file_name: images.get(str(image_id), f"{image_id}{_IMAGE_END}"),
    )


LAYOUT = Layout("cityscapes", "gtFine/ and leftImg8bit/", _fits, _open)
