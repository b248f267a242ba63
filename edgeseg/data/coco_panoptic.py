"""COCO panoptic folders on disk."""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeseg.data.numbered import NumberedSample, read_numbered_png
from edgeseg.data.panoptic_json import MAX_SEGMENT_ID, Frame, read_panoptic_json
from edgeseg.data.panoptic_png import IdReader, absent_segment, unlisted_segment
from edgeseg.data.panoptic_table import ImageId, ImageRecord, ImageRecords, ImageTable, SegmentRecord
from edgeseg.data.photo import LabelledPhoto
from edgeseg.structures import Category, InputError, Sample, Segment

_COCO_YEAR = {"train": "train2017", "val": "val2017"}


@dataclass(frozen=True)
class PanopticFolder:
    """One split of a COCO panoptic folder, read when indexed.

    A photo's EXIF orientation is applied if its size is then the JSON's (`LabelledPhoto`).

    Attributes:
        categories: Ascending by id.
        images: One record per image, in the JSON's order; size (0, 0) where the JSON does not say.
        image_folder: Folder that the records' file names are relative to.
        png_folder: Folder of the panoptic PNGs.
        allow_absent: Leave rows without a pixel out of the table instead of refusing them.
        frames: Place in a video by image id.
    """

    categories: tuple[Category, ...]
    images: Sequence[ImageRecord]
    image_folder: Path
    png_folder: Path
    allow_absent: bool = False
    frames: Mapping[ImageId, Frame] = field(default_factory=dict)

    @classmethod
    def open(cls, root: Path, split: str) -> PanopticFolder:
        """Reads and checks the split's JSON and the presence of every file, no pixels.

        Args:
            root: Holds annotations/panoptic_SPLIT.json, SPLIT/ and the PNGs in annotations/panoptic_SPLIT/ (as COCO
                unpacks) or panoptic_SPLIT/ (as detectron2, DETR and COCONut have it).
            split: "train" also finds train2017, "val" also val2017.

        Raises:
            InputError: A folder or file is missing or empty, or the JSON breaks a rule of the format.
        """
        if not root.is_dir():
            raise InputError(f"data folder {root} does not exist; give --data.root a COCO panoptic folder")
        name = _split_name(root / "annotations", split)
        json_path = root / "annotations" / f"panoptic_{name}.json"
        beside, above = json_path.with_suffix(""), root / f"panoptic_{name}"
        return cls.from_json(json_path, root / name, above if above.is_dir() and not beside.is_dir() else beside)

    @classmethod
    def from_json(
        cls,
        json_path: Path,
        image_folder: Path,
        png_folder: Path,
        *,
        image_name: Callable[[ImageId, str], str] | None = None,
        allow_absent: bool = False,
    ) -> PanopticFolder:
        """Reads and checks a panoptic JSON wherever its files lie.

        Args:
            json_path: COCO panoptic JSON.
            image_folder: Folder of the images.
            png_folder: Folder of the panoptic PNGs.
            image_name: From the JSON's image id and file name to the name in `image_folder`, where they differ.
            allow_absent: See the class.

        Raises:
            InputError: A folder or file is missing or empty, or the JSON breaks a rule of the format.
        """
        document = read_panoptic_json(json_path)
        if not document.images:
            raise InputError(f"{json_path} lists no images; a data set needs at least one")
        for image_id in document.annotations:
            if image_id not in document.images:
                raise InputError(
                    f"{json_path}: annotation of image_id {image_id!r} has no entry in images; add it or drop it"
                )
        for image_id, (file_name, _) in document.images.items():
            if image_id not in document.annotations:
                raise InputError(
                    f"{json_path}: image {file_name} (id {image_id!r}) has no annotation; add it or drop it"
                )
        images = document.images
        if image_name is not None:
            names = [image_name(image_id, file_name) for image_id, (file_name, _) in images.items()]
            images = ImageTable(list(images), names, images.columns["size"])
        records = ImageRecords(images, document.annotations)
        _check_files(image_folder, records.file_names(), json_path)
        _check_files(png_folder, records.png_names(), json_path)
        return cls(document.categories, records, image_folder, png_folder, allow_absent, document.frames)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        """Reads one image and its label.

        Raises:
            InputError: A file is damaged, sizes differ, or the PNG's ids are not the JSON's.
        """
        record = self.images[index]
        png_path = self.png_folder / record.annotation.png_name
        panoptic_map, segments = read_panoptic_png(png_path, record.annotation.segments, allow_absent=self.allow_absent)
        image = self._photo(record, panoptic_map.shape).pixels()
        sequence, frame = self.frames.get(record.image_id, (None, None))
        return Sample(record.image_id, record.file_name, image, panoptic_map, segments, sequence, frame)

    def numbered(self, index: int) -> NumberedSample:
        """Reads what training needs of a label, without areas and boxes; the photo is decoded later.

        Raises:
            InputError: As when indexed, but for what only the photo's decoder sees.
        """
        record = self.images[index]
        png_path = self.png_folder / record.annotation.png_name
        number_map, segments = read_numbered_png(png_path, record.annotation.segments, allow_absent=self.allow_absent)
        photo = self._photo(record, number_map.shape)
        return NumberedSample(record.image_id, record.file_name, photo, number_map, segments)

    def _photo(self, record: ImageRecord, label_size: tuple[int, ...]) -> LabelledPhoto:
        """The photo, if label and JSON have one size."""
        height, width = label_size
        says, size = ("its JSON says", record.size) if any(record.size) else ("its PNG is", (height, width))
        if (height, width) != size:
            png_path = self.png_folder / record.annotation.png_name
            raise InputError(
                f"{png_path} is {height} x {width} (height x width), {says} {size[0]} x {size[1]}; image, PNG and JSON "
                "must agree: export it again"
            )
        return LabelledPhoto(self.image_folder / record.file_name, size, says)

    def category_ids(self, index: int) -> set[int]:
        """Category ids of the image's segments that are not crowds, from the JSON alone."""
        return {segment.category_id for segment in self.images[index].annotation.segments if not segment.is_crowd}


def read_panoptic_png(
    path: Path, table: Sequence[SegmentRecord], *, allow_absent: bool = False
) -> tuple[NDArray[np.int32], tuple[Segment, ...]]:
    """Reads a panoptic PNG and counts its segments.

    Args:
        path: RGB PNG, id = R + 256 G + 65536 B, 0 = void.
        table: The JSON's rows for it.
        allow_absent: Leave rows without a pixel out instead of refusing them.

    Returns:
        (H, W) int32 ids, and the segments in the table's order with areas and boxes as they are in the PNG.

    Raises:
        InputError: Not an 8-bit RGB image, truncated, or ids differ from the table's.
    """
    panoptic_map = IdReader().read(path)
    ids, areas, boxes = segment_geometry(panoptic_map)
    rows = {segment_id: row for row, segment_id in enumerate(ids.tolist())}
    unknown = rows.keys() - {record.id for record in table} - {0}
    if unknown:
        raise unlisted_segment(path, min(unknown), len(table))
    segments = []
    for record in table:
        if record.id not in rows:
            if allow_absent:
                continue
            raise absent_segment(path, record.id)
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
    found = flat[starts]
    ids = np.unique(found)
    rows = np.searchsorted(ids, found)  # return_inverse sorts for them: five times as long
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
            table = [segment_entry(segment) for segment in segments]
            annotations.append({"image_id": image_id, "file_name": png_name, "segments_info": table})
        document = {
            "images": images,
            "annotations": annotations,
            "categories": [category_entry(c) for c in categories],
        }
        json_aside.write_text(json.dumps(document), encoding="utf-8")
        if png_folder.exists():
            png_folder.rmdir()
        folder_aside.rename(png_folder)
        json_aside.replace(out_json)
    finally:
        shutil.rmtree(folder_aside, ignore_errors=True)
        json_aside.unlink(missing_ok=True)


def segment_entry(segment: Segment) -> dict[str, object]:
    """A segment as a row of segments_info; a score of 1 is left out."""
    entry: dict[str, object] = {
        "id": segment.id,
        "category_id": segment.category_id,
        "area": segment.area,
        "bbox": list(segment.bbox),
        "iscrowd": int(segment.is_crowd),
    }
    return entry if segment.score == 1.0 else {**entry, "score": round(segment.score, 6)}


def category_entry(category: Category) -> dict[str, object]:
    """A category as a row of the JSON's categories."""
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
            if alike := [other for other in present if _folded(other) == _folded(name)]:
                state = f"{alike[0]!a} is there, which differs in capitals or in Unicode's composition"
            raise InputError(
                f"{folder / name} does not exist, but {json_path.name} lists it ({state}); restore the file"
            )


def _folded(name: str) -> str:
    """The name without what file systems disagree on."""
    return unicodedata.normalize("NFC", name).casefold()
