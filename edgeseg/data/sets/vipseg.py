"""VIPSeg: frames with track ids, as released (imgs/, panomasks/) or as its scripts convert it (VIPSeg_720P).

Rules: VIPSeg-Dataset/VIPSeg-Dataset, README.md and create_panoptic_video_labels.py. A value of panomasks/ is 0 for
void, a number (1 .. 124) for stuff, and 100 * number + track for a thing; category ids are numbers - 1. No crowds. The
JSON lists videos with their frames (and calls the photos .png); each has an RGB PNG in panomasksRGB/.
"""

from __future__ import annotations

from pathlib import Path

from edgeseg.data.coco_panoptic import PanopticFolder
from edgeseg.data.panoptic_table import SegmentRecord
from edgeseg.data.sets.label_files import Label, LabelFiles, files_below, label_of_codes, pair, read_codes
from edgeseg.data.sets.layout import Dataset, Layout, published_categories, split_folder
from edgeseg.structures import InputError

CATEGORIES = published_categories("vipseg")

_JSON_NAME = "panoptic_gt_VIPSeg_{}.json"


def _meaning(value: int) -> SegmentRecord | None:
    number = value if value <= len(CATEGORIES) else value // 100
    return None if number == 0 else SegmentRecord(value, CATEGORIES[number - 1].id, is_crowd=False)


def _read_label(path: Path) -> Label:
    return label_of_codes(read_codes(path), _meaning, path)


def _fits(root: Path) -> bool:
    return (root / "panomasks").is_dir() or any(root.glob(_JSON_NAME.format("*")))


def _open(root: Path, split: str) -> Dataset:
    """The released masks with SPLIT.txt where they are there, else the JSON."""
    split = split_folder(split, {"train": "train", "val": "val"}, "VIPSeg")
    image_folder = root / "imgs" if (root / "imgs").is_dir() else root / "images"
    list_path, json_path = root / f"{split}.txt", root / _JSON_NAME.format(split)
    if list_path.is_file() and (root / "panomasks").is_dir():
        return _open_masks(root / "panomasks", image_folder, list_path)
    if json_path.is_file():
        return PanopticFolder.from_json(
            json_path, image_folder, root / "panomasksRGB", image_name=lambda image_id, _: f"{image_id}.jpg"
        )
    raise InputError(f"{root} has neither {list_path.name} with panomasks/ nor {json_path.name}; restore one of them")


def _open_masks(label_folder: Path, image_folder: Path, list_path: Path) -> LabelFiles:
    images = {name.rpartition(".")[0]: name for name in files_below(image_folder, (".jpg",))}
    records = []
    for video in list_path.read_text(encoding="utf-8").split():
        names = files_below(label_folder / video, (".png",))
        labels = {f"{video}/{name.removesuffix('.png')}": f"{video}/{name}" for name in names}
        for frame, record in enumerate(pair(labels, images, str(label_folder / video))):
            records.append(record._replace(sequence=video, frame=frame))
    if not records:
        raise InputError(f"{list_path} lists no videos; restore the file")
    return LabelFiles(CATEGORIES, tuple(records), image_folder, label_folder, _read_label)


LAYOUT = Layout("vipseg", "panomasks/ or panoptic_gt_VIPSeg_SPLIT.json", _fits, _open)
