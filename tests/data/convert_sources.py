"""One scene of 8 x 6 pixels in the true layout of every format that `edgeseg data convert` reads.

A sky in two pieces, a car, and a dog before it, each drawn on pixel borders so that the masks can be counted by hand:

    s s s s s s s s
    . c c c c . . .
    . c c c d d d .
    . c c c d d d .
    . . . . . . . .
    s s . . . . . .
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 8, 6
GRID = "ssssssss .cccc... .cccddd. .cccddd. ........ ss......"
NAMES = {"c": "car", "d": "dog", "s": "sky"}
SHAPES: list[tuple[str, list[tuple[int, int]]]] = [
    ("dog", [(4, 2), (7, 2), (7, 4), (4, 4)]),  # before the car: the order of rows must not matter
    ("sky", [(0, 0), (8, 0), (8, 1), (0, 1)]),
    ("car", [(1, 1), (5, 1), (5, 4), (1, 4)]),
    ("sky", [(0, 5), (2, 5), (2, 6), (0, 6)]),
]
CATEGORY_IDS = {"car": 1, "dog": 2, "sky": 3}
FILES = ("a.png", "b.png")


def write_photo(path: Path, *, size: tuple[int, int] = (HEIGHT, WIDTH), orientation: int = 1) -> Path:
    """A photo of noise that depends on its name only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(sum(path.name.encode()))
    picture = Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8))
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(path, exif=exif)
    return path


def write_json(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def instances(files: tuple[str, ...] = FILES, *, first_image: int = 1) -> dict[str, Any]:
    """A COCO instances JSON of the scene, once for each file."""
    annotations = []
    for image_id in range(first_image, first_image + len(files)):
        for name, points in SHAPES:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": CATEGORY_IDS[name],
                    "segmentation": [[float(value) for point in points for value in point]],
                    "area": 1.0,
                    "bbox": [0, 0, 1, 1],
                    "iscrowd": 0,
                }
            )
    return {
        "info": {"description": "scene"},
        "licenses": [],
        "images": [
            {"id": first_image + i, "file_name": file, "width": WIDTH, "height": HEIGHT, "license": 1}
            for i, file in enumerate(files)
        ],
        "annotations": annotations,
        "categories": [{"id": i, "name": name, "supercategory": "scene"} for name, i in CATEGORY_IDS.items()],
    }


def write_coco(root: Path) -> Path:
    """As COCO unpacks: annotations/instances_train2017.json, train2017/."""
    for file in FILES:
        write_photo(root / "train2017" / file)
    write_json(root / "annotations" / "instances_train2017.json", instances())
    return root


def write_roboflow(root: Path) -> Path:
    """Export "COCO Segmentation": ids restart in every split, category 0 is the project's name."""
    for split, file in (("train", "a_png.rf.1b2c.png"), ("valid", "b_png.rf.9f8e.png")):
        document = instances((file,), first_image=0)
        for row in document["images"]:
            row |= {"license": 1, "date_captured": "2024-05-01T00:00:00+00:00", "extra": {"name": "a.png"}}
        document["categories"].insert(0, {"id": 0, "name": "scene", "supercategory": "none"})
        write_json(root / split / "_annotations.coco.json", document)
        write_photo(root / split / file)
    (root / "README.roboflow.txt").write_text("scene - v1\n")
    return root


def labelme_document(file: str) -> dict[str, Any]:
    """As LabelMe 5.5 writes it."""
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": [
            {
                "label": name,
                "points": [[float(x), float(y)] for x, y in points],
                "group_id": None,
                "description": "",
                "shape_type": "polygon",
                "flags": {},
                "mask": None,
            }
            for name, points in SHAPES
        ],
        "imagePath": file,
        "imageData": None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    }


def write_labelme(root: Path) -> Path:
    """A JSON beside each photo."""
    for file in FILES:
        write_photo(root / file)
        write_json((root / file).with_suffix(".json"), labelme_document(file))
    return root


def cvat_xml(images: str) -> str:
    """CVAT for images 1.1 around some <image> elements."""
    colors = {"car": "#3d3df5", "dog": "#ff00cc", "sky": "#33ddff"}
    labels = "".join(
        f"<label><name>{name}</name><color>{color}</color><type>any</type><attributes></attributes></label>"
        for name, color in colors.items()
    )
    head = f"<version>1.1</version><meta><task><id>4</id><name>scene</name><labels>{labels}</labels></task></meta>"
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>{head}{images}</annotations>\n'


def cvat_image(file: str, shapes: str | None = None, attributes: str = "") -> str:
    """An <image>, of the scene's polygons if no others are given."""
    if shapes is None:
        shapes = "".join(
            f'<polygon label="{name}" source="manual" occluded="0" '
            f'points="{";".join(f"{x:.2f},{y:.2f}" for x, y in points)}" z_order="0"></polygon>'
            for name, points in SHAPES
        )
    return f'<image id="0" name="{file}" width="{WIDTH}" height="{HEIGHT}" {attributes}>{shapes}</image>'


def write_cvat(root: Path) -> Path:
    """annotations.xml, images/."""
    for file in FILES:
        write_photo(root / "images" / file)
    (root / "annotations.xml").write_text(cvat_xml("".join(map(cvat_image, FILES))))
    return root


def yolo_rows() -> str:
    """CLASS x1 y1 ..., as shares of width and height with six digits."""
    rows = []
    for name, points in SHAPES:
        numbers = " ".join(f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in points)
        rows.append(f"{CATEGORY_IDS[name] - 1} {numbers}")
    return "\n".join(rows) + "\n"


def write_yolo(root: Path) -> Path:
    """data.yaml, images/SPLIT, labels/SPLIT, as Ultralytics' coco8-seg."""
    (root / "labels" / "train").mkdir(parents=True)
    for file in FILES:
        write_photo(root / "images" / "train" / file)
        (root / "labels" / "train" / file).with_suffix(".txt").write_text(yolo_rows())
    (root / "data.yaml").write_text(
        "path: .  # dataset root\ntrain: images/train\nval:\n\nnames:\n  0: car\n  1: dog\n  2: sky\n"
    )
    return root


def write_pairs(root: Path) -> Path:
    """categories.json, images/, semantic/, instance/: the maps as they are, overlaps resolved."""
    rows = [{"id": i, "name": name, "isthing": int(name != "sky")} for name, i in CATEGORY_IDS.items()]
    write_json(root / "categories.json", rows)
    semantic = np.array(
        [[CATEGORY_IDS.get(NAMES.get(c, ""), 0) for c in line] for line in GRID.split()], dtype=np.uint8
    )
    instance = np.where(semantic == 3, 9, semantic.astype(np.uint16) * 300)  # 16 bits; on stuff anything goes
    for file in FILES:
        write_photo(root / "images" / file)
        for kind, values in (("semantic", semantic), ("instance", instance)):
            (root / kind).mkdir(exist_ok=True)
            Image.fromarray(values).save(root / kind / file)
    return root


WRITERS = {
    "coco": write_coco,
    "cvat": write_cvat,
    "labelme": write_labelme,
    "pairs": write_pairs,
    "roboflow": write_roboflow,
    "yolo": write_yolo,
}
