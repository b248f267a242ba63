"""COCO panoptic folders on disk."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from edgeseg.data.panoptic_json import MAX_SEGMENT_ID, AnnotationRecord, SegmentRecord, read_panoptic_json
from edgeseg.structures import Category, InputError, Sample, Segment

_COCO_YEAR = {"train": "train2017", "val": "val2017"}


class ImageRecord(NamedTuple):
    """An entry of images, joined with its annotation; `size` is (height, width)."""

    image_id: int | str
    file_name: str
    size: tuple[int, int]
    annotation: AnnotationRecord


@dataclass(frozen=True)
class PanopticFolder:
    """One split of a COCO panoptic folder, read when indexed.

    Images are taken as stored: an EXIF orientation is not applied, because COCO's labels are drawn on stored pixels.

    Attributes:
        categories: Ascending by id.
        images: One record per image, in the JSON's order.
        image_folder: Folder that the records' file names are relative to.
        png_folder: Folder of the panoptic PNGs.
    """

    categories: tuple[Category, ...]
    images: tuple[ImageRecord, ...]
    image_folder: Path
    png_folder: Path

    @classmethod
    def open(cls, root: Path, split: str) -> PanopticFolder:
        """Reads and checks the split's JSON and the presence of every file, no pixels.

        Args:
            root: Holds annotations/panoptic_SPLIT.json, annotations/panoptic_SPLIT/ and SPLIT/.
            split: "train" also finds train2017, "val" also val2017.

        Raises:
            InputError: A folder or file is missing or empty, or the JSON breaks a rule of the format.
        """
        if not root.is_dir():
            raise InputError(f"data folder {root} does not exist; give --data.root a COCO panoptic folder")
        name = _split_name(root / "annotations", split)
        json_path = root / "annotations" / f"panoptic_{name}.json"
        image_folder, png_folder = root / name, root / "annotations" / f"panoptic_{name}"
        document = read_panoptic_json(json_path)
        if not document.images:
            raise InputError(f"{json_path} lists no images; a data set needs at least one")
        for image_id in document.annotations:
            if image_id not in document.images:
                raise InputError(
                    f"{json_path}: annotation of image_id {image_id!r} has no entry in images; add it or drop it"
                )
        records = []
        for image_id, (file_name, size) in document.images.items():
            if image_id not in document.annotations:
                raise InputError(
                    f"{json_path}: image {file_name} (id {image_id!r}) has no annotation; add it or drop it"
                )
            records.append(ImageRecord(image_id, file_name, size, document.annotations[image_id]))
        _check_files(image_folder, [record.file_name for record in records], json_path)
        _check_files(png_folder, [record.annotation.png_name for record in records], json_path)
        return cls(document.categories, tuple(records), image_folder, png_folder)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        """Reads one image and its label.

        Raises:
            InputError: A file is damaged, sizes differ, or the PNG's ids are not the JSON's.
        """
        record = self.images[index]
        image_path = self.image_folder / record.file_name
        png_path = self.png_folder / record.annotation.png_name
        image = read_image(image_path)
        panoptic_map, segments = read_panoptic_png(png_path, record.annotation.segments)
        for path, found in ((image_path, image.shape[:2]), (png_path, panoptic_map.shape[:2])):
            if found != record.size:
                raise InputError(
                    f"{path} is {found[0]} x {found[1]} (height x width), its JSON says {record.size[0]} x "
                    f"{record.size[1]}; image, PNG and JSON must agree: export it again"
                )
        return Sample(record.image_id, record.file_name, image, panoptic_map, segments)


def read_image(path: Path, *, upright: bool = False) -> NDArray[np.uint8]:
    """Reads a photo, (H, W, 3) uint8 RGB.

    Grey and palette images are widened to RGB, an opaque alpha channel is dropped.

    Args:
        path: The file.
        upright: Turn it as its EXIF orientation says; labelled images are taken as stored.

    Raises:
        InputError: Missing, truncated, transparent, or not 8 bits a channel.
    """
    picture = _load_picture(path)
    if upright:
        picture = ImageOps.exif_transpose(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        if picture.getchannel("A").getextrema() != (255, 255):
            raise InputError(
                f"{path} has transparent pixels; only opaque images are read: flatten it onto a background"
            )
    elif picture.mode not in ("RGB", "L", "P", "1"):
        raise InputError(f"{path} has mode {picture.mode}; 8-bit RGB or grey is read: convert it")
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def read_panoptic_png(path: Path, table: Sequence[SegmentRecord]) -> tuple[NDArray[np.int32], tuple[Segment, ...]]:
    """Reads a panoptic PNG and counts its segments.

    Args:
        path: RGB PNG, id = R + 256 G + 65536 B, 0 = void.
        table: The JSON's rows for it.

    Returns:
        (H, W) int32 ids, and the segments in the table's order with areas and boxes as they are in the PNG.

    Raises:
        InputError: Not an 8-bit RGB image, truncated, or ids differ from the table's.
    """
    picture = _load_picture(path)
    if picture.mode != "RGB":
        raise InputError(f"panoptic PNG {path} has mode {picture.mode}; ids are stored as 8-bit RGB: export it again")
    panoptic_map = decode_ids(np.asarray(picture))
    ids, areas, boxes = segment_geometry(panoptic_map)
    rows = {segment_id: row for row, segment_id in enumerate(ids.tolist())}
    unknown = rows.keys() - {record.id for record in table} - {0}
    if unknown:
        raise InputError(
            f"panoptic PNG {path} holds segment {min(unknown)}, which its JSON ({len(table)} segments) does not list; "
            "export it again"
        )
    segments = []
    for record in table:
        if record.id not in rows:
            raise InputError(f"panoptic PNG {path} has no pixel of segment {record.id} of its JSON; export it again")
        row = rows[record.id]
        x, y, width, height = boxes[row].tolist()
        segments.append(
            Segment(record.id, record.category_id, int(areas[row]), (x, y, width, height), is_crowd=record.is_crowd)
        )
    return panoptic_map, tuple(segments)


def segment_geometry(panoptic_map: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Ids of a map (ascending, 0 included where present), their pixel counts, and (n, 4) boxes x, y, width, height.

    Works on the runs of equal pixels in each row, which are some hundred times fewer than the pixels.
    """
    height, width = panoptic_map.shape
    flat = panoptic_map.ravel()
    is_start = np.empty(flat.size, dtype=bool)
    np.not_equal(flat[1:], flat[:-1], out=is_start[1:])
    is_start[::width] = True
    starts = np.flatnonzero(is_start)
    ends = np.append(starts[1:], flat.size)
    ids, rows = np.unique(flat[starts], return_inverse=True)
    areas = np.zeros(len(ids), dtype=np.int64)
    np.add.at(areas, rows, ends - starts)
    top_left = np.full((len(ids), 2), max(height, width), dtype=np.int64)
    bottom_right = np.zeros((len(ids), 2), dtype=np.int64)
    y, x = np.divmod(starts, width)
    for axis, first, last in ((0, x, x + ends - starts), (1, y, y + 1)):
        np.minimum.at(top_left[:, axis], rows, first)
        np.maximum.at(bottom_right[:, axis], rows, last)
    return ids, areas, np.concatenate([top_left, bottom_right - top_left], axis=1)


def decode_ids(rgb: NDArray[np.uint8]) -> NDArray[np.int32]:
    """(H, W, 3) uint8 panoptic colours to (H, W) int32 ids, R + 256 G + 65536 B."""
    padded = cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA)
    padded[..., 3] = 0
    return np.ascontiguousarray(padded).view("<i4")[..., 0].astype(np.int32, copy=False)


def encode_ids(panoptic_map: NDArray[np.int32]) -> NDArray[np.uint8]:
    """(H, W) int32 ids to (H, W, 3) uint8 panoptic colours.

    Raises:
        InputError: An id is outside 0 .. 2**24 - 1.
    """
    if panoptic_map.size and not 0 <= int(panoptic_map.min()) <= int(panoptic_map.max()) <= MAX_SEGMENT_ID:
        raise InputError(
            f"segment ids {panoptic_map.min()} .. {panoptic_map.max()} do not fit 0 .. {MAX_SEGMENT_ID}; renumber them"
        )
    return np.ascontiguousarray(
        np.ascontiguousarray(panoptic_map, dtype="<i4").view(np.uint8).reshape(*panoptic_map.shape, 4)[..., :3]
    )


def write_panoptic(
    out_json: Path,
    png_folder: Path,
    results: Iterable[tuple[int | str, str, NDArray[np.int32], Sequence[Segment]]],
    *,
    categories: Sequence[Category],
) -> None:
    """Writes panoptic maps as a COCO panoptic JSON and its folder of PNGs, both aside first, then renamed.

    Args:
        out_json: File to write, replaced if present.
        png_folder: Folder to make; refused if it already holds something.
        results: Per image: id, image file name, (H, W) int32 map, segment table. Taken one at a time.
        categories: Written along, so that the result can be read as a data set.

    Raises:
        InputError: `png_folder` is in use, or two images would share a PNG.
    """
    if png_folder.exists() and (not png_folder.is_dir() or any(png_folder.iterdir())):
        raise InputError(f"{png_folder} exists already; remove it or give another folder")
    folder_aside = png_folder.with_name(f".{png_folder.name}.{os.getpid()}.part")
    json_aside = out_json.with_name(f".{out_json.name}.{os.getpid()}.part")
    folder_aside.mkdir(parents=True)
    out_json.parent.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    try:
        for image_id, file_name, panoptic_map, segments in results:
            png_name = Path(file_name).with_suffix(".png").as_posix()
            if (folder_aside / png_name).exists():
                raise InputError(f"two images would be written to {png_folder / png_name}; give them different names")
            (folder_aside / png_name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(encode_ids(panoptic_map)).save(folder_aside / png_name, compress_level=3)
            height, width = panoptic_map.shape
            images.append({"id": image_id, "file_name": file_name, "height": height, "width": width})
            table = [_segment_entry(segment) for segment in segments]
            annotations.append({"image_id": image_id, "file_name": png_name, "segments_info": table})
        document = {
            "images": images,
            "annotations": annotations,
            "categories": [_category_entry(c) for c in categories],
        }
        json_aside.write_text(json.dumps(document), encoding="utf-8")
        if png_folder.exists():
            png_folder.rmdir()
        folder_aside.rename(png_folder)
        json_aside.replace(out_json)
    finally:
        shutil.rmtree(folder_aside, ignore_errors=True)
        json_aside.unlink(missing_ok=True)


def _segment_entry(segment: Segment) -> dict[str, object]:
    entry: dict[str, object] = {
        "id": segment.id,
        "category_id": segment.category_id,
        "area": segment.area,
        "bbox": list(segment.bbox),
        "iscrowd": int(segment.is_crowd),
    }
    return entry if segment.score == 1.0 else {**entry, "score": round(segment.score, 6)}


def _category_entry(category: Category) -> dict[str, object]:
    return {
        "id": category.id,
        "name": category.name,
        "supercategory": category.name,
        "isthing": int(category.is_thing),
        "color": list(category.color),
    }


def _split_name(folder: Path, split: str) -> str:
    names = [split, _COCO_YEAR[split]] if split in _COCO_YEAR else [split]
    found = [name for name in names if (folder / f"panoptic_{name}.json").is_file()]
    if not found:
        wanted = " or ".join(f"panoptic_{name}.json" for name in names)
        raise InputError(f"{folder} has no {wanted}; a COCO panoptic folder keeps its labels there")
    if len(found) > 1:
        raise InputError(
            f"{folder} has panoptic_{found[0]}.json and panoptic_{found[1]}.json; split {split!r} could mean either: "
            "remove one"
        )
    return found[0]


def _check_files(folder: Path, names: Sequence[str], json_path: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"folder {folder} does not exist; {json_path.name} lists {len(names)} files in it")
    present = {
        os.path.relpath(os.path.join(parent, file), folder).replace(os.sep, "/")
        for parent, _, files in os.walk(folder, followlinks=True)
        for file in files
    }
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{json_path} names {name} twice; each image has files of its own")
        seen.add(name)
        if name not in present:
            state = f"{len(present)} other files are there" if present else "the folder is empty"
            raise InputError(
                f"{folder / name} does not exist, but {json_path.name} lists it ({state}); restore the file"
            )


def _load_picture(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            if any("16" in str(tile[3]) for tile in picture.tile):
                raise InputError(f"{path} has 16 bits a channel; 8 are read: convert it")
            picture.load()
            return picture
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; restore the file") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be decoded ({error}); restore or re-export the file") from error
