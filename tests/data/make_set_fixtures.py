"""Tiny data sets in their true layouts, ids as published: python tests/data/make_set_fixtures.py OUT.

Each maker draws one training and one validation split of 4 x 6 pixels (height x width) by hand, without the code under
test. What the values mean is published where edgeseg/data/sets/NAME.py says.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = {"height": 4, "width": 6}

GRID = [
    [1, 1, 2, 2, 2, 0],
    [1, 3, 3, 2, 2, 0],
    [1, 3, 3, 4, 4, 0],
    [5, 5, 5, 4, 4, 5],
]
"""Places that each set fills with its own values."""


def fill(*values: int | tuple[int, ...]) -> np.ndarray:
    """The grid with value i at place i: (4, 6), or (4, 6, channels) for tuples."""
    return np.array(values)[np.array(GRID)]


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), (200, 100, 50)).save(path)


def grey(path: Path, values: np.ndarray, *, bits: int = 16) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint16 if bits == 16 else np.uint8)).save(path)


def colour(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)


def panoptic(path: Path, ids: np.ndarray) -> None:
    colour(path, np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1))


def write_json(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")


def row(segment_id: int, category_id: int, iscrowd: int = 0) -> dict[str, int]:
    return {"id": segment_id, "category_id": category_id, "iscrowd": iscrowd}


def category(category_id: int, name: str, isthing: int, color: list[int]) -> dict[str, Any]:
    return {"id": category_id, "name": name, "supercategory": name, "isthing": isthing, "color": color}


def make_coco(root: Path, *, pngs: str = "annotations/") -> None:
    """COCO 2017 as unpacked; `pngs=""` as detectron2 and COCONut's guide have it."""
    for split, image_id in (("train2017", 9), ("val2017", 139)):
        stem = f"{image_id:012d}"
        photo(root / split / f"{stem}.jpg")
        panoptic(root / f"{pngs}panoptic_{split}" / f"{stem}.png", fill(0, 8345037, 50, 1200, 70000, 3))
        document = {
            "images": [{"id": image_id, "file_name": f"{stem}.jpg", **SIZE}],
            "annotations": [
                {
                    "image_id": image_id,
                    "file_name": f"{stem}.png",
                    "segments_info": [row(8345037, 51), row(50, 56), row(1200, 56), row(70000, 56, 1), row(3, 189)],
                }
            ],
            "categories": [
                category(51, "bowl", 1, [227, 255, 205]),
                category(56, "broccoli", 1, [5, 121, 0]),
                category(189, "table-merged", 0, [250, 141, 255]),
            ],
        }
        write_json(root / "annotations" / f"panoptic_{split}.json", document)


def make_coconut(root: Path) -> None:
    """S by the download script, L and XL (one image of L's again) by Hugging Face, relabelled COCO val by Kaggle."""
    coco = fill(0, 1, 2, 3, 4, 5)

    def segments(ids: range) -> list[dict[str, Any]]:
        kinds = {1: 51, 2: 56, 3: 56, 4: 3, 5: 189, 6: 44}  # 6 has no pixel, as in the releases
        return [{"id": i, "category_id": kinds[i], "isthing": kinds[i] < 91, "area": 4} for i in ids]

    photo(root / "train2017" / "000000000009.jpg")
    panoptic(root / "coconut_s" / "000000000009.png", coco)
    images = [{"id": 9, "file_name": "000000000009.jpg", **SIZE}]
    rows = [{"image_id": 9, "file_name": "000000000009.png", "segments_info": segments(range(1, 7))}]
    write_json(root / "coconut_s.json", {"images": images, "annotations": rows, "categories": []})
    for number in (1, 2, 3, 4):
        photo(root / "objects365" / "patch32" / f"objects365_v2_0000000{number}.jpg")
    for number in (1, 2, 3):
        panoptic(root / "panoptic_object365" / f"objects365_v2_0000000{number}.png", coco)
    large: list[dict[str, Any]] = [
        {"image_id": 1, "file_name": "objects365_v2_00000001.png"},
        {"image_id": 900, "file_name": "000000000900.png", "object365_file_name": "objects365_v2_00000002"},
        {"image_id": 901, "file_name": "000000000901.png"},
    ]
    images = [{"id": 901, "file_name": "000000000901.jpg", "object365_name": "objects365_v2_00000003.jpg", **SIZE}]
    document = {"images": images, "annotations": [r | {"segments_info": segments(range(1, 6))} for r in large]}
    write_json(root / "panseg_object365_train_v2.json", document | {"categories": []})
    for number, ids in ((3, fill(0, 1, 0, 0, 0, 0)), (4, fill(0, 1, 1, 1, 1, 1))):
        stem = f"objects365_v2_0000000{number}"
        panoptic(root / "coconuts_xlarge" / "panseg" / f"{stem}.png", ids)
        write_json(root / "coconuts_xlarge" / "panseg_info" / f"{stem}.json", segments(range(1, 2)))
    photo(root / "val2017" / "000000000139.jpg")
    panoptic(root / "relabeled_coco_val" / "panoptic" / "000000000139.png", coco)
    images = [{"id": 139, "file_name": "000000000139.jpg", **SIZE}]
    rows = [{"image_id": 139, "file_name": "000000000139.png", "segments_info": segments(range(1, 6))}]
    document = {"images": images, "annotations": rows, "categories": []}
    write_json(root / "annotations" / "relabeled_coco_val_panoptic.json", document)


CITYSCAPES = np.array(
    [
        [1, 1, 7, 7, 7, 23],
        [1, 26000, 26000, 7, 26, 23],
        [9, 26000, 26001, 26001, 26, 24000],
        [3, 29000, 7, 33, 33, 24000],
    ]
)
"""Ego vehicle, road, sky; two cars and a car group; parking; a person; out of roi, a caravan, a bicycle group."""

CITYSCAPES_FRAMES = (("train", "aachen", "aachen_000000_000019"), ("val", "frankfurt", "frankfurt_000000_000294"))


def make_cityscapes(root: Path) -> None:
    for split, city, name in CITYSCAPES_FRAMES:
        photo(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png")
        grey(root / "gtFine" / split / city / f"{name}_gtFine_instanceIds.png", CITYSCAPES)
        labels = np.where(CITYSCAPES < 1000, CITYSCAPES, CITYSCAPES // 1000)
        grey(root / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", labels, bits=8)


def make_cityscapes_json(root: Path, *, train_ids: bool = False) -> None:
    """What cityscapesScripts' csCreatePanopticImgs adds, down to its image file names that no image has."""
    segments = [(7, 7, 0), (23, 23, 0), (26, 26, 1), (33, 33, 1), (24000, 24, 0), (26000, 26, 0), (26001, 26, 0)]
    names = {7: ("road", 0, 0), 23: ("sky", 10, 0), 24: ("person", 11, 1), 26: ("car", 13, 1), 33: ("bicycle", 18, 1)}
    new_id = {label: names[label][1] if train_ids else label for label in names}
    for split, _, name in CITYSCAPES_FRAMES:
        stem = f"cityscapes_panoptic_{split}" + ("_trainId" if train_ids else "")
        kept = np.where(np.isin(CITYSCAPES, [segment for segment, _, _ in segments]), CITYSCAPES, 0)
        panoptic(root / "gtFine" / stem / f"{name}_gtFine_panoptic.png", kept)
        document = {
            "images": [{"id": name, "file_name": f"{name}_gtFine_leftImg8bit.png", **SIZE}],
            "annotations": [
                {
                    "image_id": name,
                    "file_name": f"{name}_gtFine_panoptic.png",
                    "segments_info": [row(segment, new_id[label], crowd) for segment, label, crowd in segments],
                }
            ],
            "categories": [category(new_id[k], name, thing, [k, k, k]) for k, (name, _, thing) in names.items()],
        }
        write_json(root / "gtFine" / f"{stem}.json", document)


ADE_SEMANTIC = np.array(
    [
        [3, 3, 3, 3, 3, 0],
        [1, 1, 13, 13, 3, 0],
        [1, 1, 13, 13, 21, 21],
        [1, 1, 1, 13, 21, 21],
    ]
)
"""Category id + 1: wall, sky, person, car."""

_, P, Q, C = (0, 0, 0), (4, 1, 0), (4, 2, 0), (9, 3, 0)
ADE_INSTANCES = np.array([[_, _, _, _, _, _], [_, _, P, Q, _, _], [_, _, P, Q, C, C], [_, _, P, _, C, _]])
"""Persons are thing category 4, cars 9. The first person covers a pixel of wall; two pixels belong to no instance."""


def make_ade20k(root: Path) -> None:
    for folder, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        photo(root / "images" / folder / f"{name}.jpg")
        grey(root / "annotations" / folder / f"{name}.png", ADE_SEMANTIC, bits=8)
        colour(root / "annotations_instance" / folder / f"{name}.png", ADE_INSTANCES)


def make_ade20k_json(root: Path) -> None:
    """Mask2Former's conversion; it names one category with a blank at the end and lists stuff that things cover."""
    for split, folder, name in (("train", "training", "ADE_train_00000001"), ("val", "validation", "ADE_val_00000001")):
        photo(root / "images" / folder / f"{name}.jpg")
        panoptic(root / f"ade20k_panoptic_{split}" / f"{name}.png", fill(0, 7895160, 15132166, 3999126, 0, 15132166))
        document = {
            "images": [{"id": name, "file_name": f"{name}.jpg", **SIZE}],
            "annotations": [
                {
                    "image_id": name,
                    "file_name": f"{name}.png",
                    "segments_info": [row(7895160, 0), row(15132166, 2), row(777, 13), row(3999126, 12)],
                }
            ],
            "categories": [
                category(0, "wall", 0, [120, 120, 120]),
                category(2, "sky", 0, [6, 230, 230]),
                category(8, "window ", 1, [230, 230, 230]),
                category(12, "person", 1, [150, 5, 61]),
                category(13, "earth, ground", 0, [120, 120, 70]),
            ],
        }
        write_json(root / f"ade20k_panoptic_{split}.json", document)


MAPILLARY_LABELS = {
    "v1.2": [
        ("animal--bird", "Bird", True, [165, 42, 42]),
        ("animal--ground-animal", "Ground Animal", True, [0, 192, 0]),
        ("construction--barrier--curb", "Curb", False, [196, 196, 196]),
        ("construction--barrier--fence", "Fence", False, [190, 153, 153]),
    ],
    "v2.0": [
        ("animal--bird", "Bird", True, [165, 42, 42]),
        ("animal--ground-animal", "Ground Animal", True, [0, 192, 0]),
        ("construction--barrier--ambiguous", "Ambiguous Barrier", False, [250, 170, 31]),
        ("construction--barrier--concrete-block", "Concrete Block", False, [250, 170, 32]),
    ],
}
"""The first labels of each version, with nothing but the unlabelled one behind them."""


def make_mapillary(root: Path, version: str, *, old: bool = False) -> None:
    """`old`: without version folders, as released before v2.0."""
    labels = MAPILLARY_LABELS[version]
    config = [
        {"name": name, "readable": readable, "instances": thing, "evaluate": True, "color": color}
        for name, readable, thing, color in labels
    ]
    unlabelled = {"readable": "Unlabeled", "instances": False, "evaluate": False, "color": [0, 0, 0]}
    config.append({"name": "void--unlabeled", **unlabelled})
    write_json(root / ("config.json" if old else f"config_{version}.json"), {"labels": config, "version": version})
    for split, name in (("training", "--jRsD9anHdGxv4ZOCQktA"), ("validation", "-1ghgQfP3GH_1PJ7hNSwyA")):
        folder = root / split if old else root / split / version
        photo(root / split / "images" / f"{name}.jpg")
        # 256 * label + instance: two birds, the first of them 0; curb or ambiguous; fence or block; unlabelled
        grey(folder / "instances" / f"{name}.png", fill(4 * 256, 0, 1, 2 * 256, 3 * 256, 4 * 256))
        panoptic(folder / "panoptic" / f"{name}.png", fill(0, 11, 12, 13, 14, 0))
        document = {
            "images": [{"id": name, "file_name": f"{name}.jpg", **SIZE}],
            "annotations": [
                {
                    "image_id": name,
                    "file_name": f"{name}.png",
                    "segments_info": [row(11, 1), row(12, 1, 1), row(13, 3), row(14, 4)],
                }
            ],
            "categories": [
                category(place, readable if version == "v1.2" else name, int(thing), color)
                for place, (name, readable, thing, color) in enumerate(labels, start=1)
            ],
        }
        write_json(
            folder / "panoptic" / ("panoptic_2018.json" if version == "v1.2" else "panoptic_2020.json"), document
        )


def make_kitti_step(root: Path) -> None:
    """Void; road, sky; car 1, car 300 (two bytes), persons without a track. In the second frame car 300 is gone."""
    for split, sequence in (("train", "0000"), ("val", "0002")):
        for frame, second_car in ((0, (13, 1, 44)), (1, (13, 0, 1))):
            photo(root / "images" / split / sequence / f"{frame:06d}.png")
            values = fill((255, 0, 0), (0, 0, 0), (10, 0, 0), (13, 0, 1), second_car, (11, 0, 0))
            colour(root / "panoptic_maps" / split / sequence / f"{frame:06d}.png", values)
        photo(root / "images" / split / sequence / "000002.png")  # a frame without a label


VIPSEG_FRAMES = (
    ("train", "0_wHvIDEo", (0, 1, 15, 6100, 6101, 3)),
    ("val", "127_-hIVCYO4C90", (0, 1, 15, 6100, 6100, 3)),
)
"""Void; wall, ground; two persons; a door without a track."""


def make_vipseg(root: Path) -> None:
    """The release."""
    for split, video, values in VIPSEG_FRAMES:
        (root / f"{split}.txt").parent.mkdir(parents=True, exist_ok=True)
        (root / f"{split}.txt").write_text(f"{video}\n")
        for frame in ("00000001", "00000006"):
            photo(root / "imgs" / video / f"{frame}.jpg")
            grey(root / "panomasks" / video / f"{frame}.png", fill(*values))


def make_vipseg_720p(root: Path) -> None:
    """What VIPSeg's scripts make of it; photos are called .png in the JSON."""
    colours = {0: 0, 1: 7895160, 15: 4653059, 6100: 9217, 6101: 9218, 3: 15132166}
    kinds = {1: 0, 15: 14, 6100: 60, 6101: 60, 3: 2}
    categories = [(0, "wall", 0), (2, "door", 1), (14, "ground", 0), (60, "person", 1)]
    for split, video, values in VIPSEG_FRAMES:
        images, annotations = [], []
        for frame in ("00000001", "00000006"):
            photo(root / "images" / video / f"{frame}.jpg")
            panoptic(root / "panomasksRGB" / video / f"{frame}.png", fill(*(colours[value] for value in values)))
            images.append({"id": frame, "file_name": f"{frame}.png", **SIZE})
            present = dict.fromkeys(value for value in values if value)
            table = [row(colours[value], kinds[value]) for value in present]
            annotations.append({"image_id": frame, "file_name": f"{frame}.png", "segments_info": table})
        document = {
            "videos": [{"video_id": video, "images": images}],
            "annotations": [{"video_id": video, "annotations": annotations}],
            "categories": [{"id": i, "name": name, "isthing": t, "color": [i, i, i]} for i, name, t in categories],
        }
        write_json(root / f"panoptic_gt_VIPSeg_{split}.json", document)


def make_images(root: Path) -> None:
    for name in ("a.jpg", "of a day/b.png"):
        photo(root / name)
    (root / "notes.txt").write_text("no image")


MAKERS: dict[str, Callable[[Path], None]] = {
    "coco": make_coco,
    "coconut": make_coconut,
    "cityscapes": make_cityscapes,
    "ade20k": make_ade20k,
    "mapillary-v1.2": lambda root: make_mapillary(root, "v1.2"),
    "mapillary-v2.0": lambda root: make_mapillary(root, "v2.0"),
    "kitti-step": make_kitti_step,
    "vipseg": make_vipseg,
    "images": make_images,
}
"""One per format of edgeseg.data.sets.LAYOUTS."""


if __name__ == "__main__":
    for set_name, make in MAKERS.items():
        make(Path(sys.argv[1]) / set_name)
