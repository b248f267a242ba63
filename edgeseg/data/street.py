"""The embedded data set: procedural street scenes with exact panoptic labels, without end or as a COCO folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from edgeseg.data.coco_panoptic import category_entry, encode_ids, segment_entry
from edgeseg.data.parallel import in_processes
from edgeseg.data.placing import written_aside
from edgeseg.data.street_canvas import STUFF_INDEX
from edgeseg.data.street_render import render_scene
from edgeseg.structures import Category, InputError, Sample, Segment

STREET_CATEGORIES: tuple[Category, ...] = (
    Category(1, "person", True, (220, 20, 60)),
    Category(2, "bicycle", True, (119, 11, 32)),
    Category(3, "car", True, (0, 60, 230)),
    Category(6, "bus", True, (0, 150, 170)),
    Category(8, "truck", True, (90, 40, 160)),
    Category(10, "traffic light", True, (250, 170, 30)),
    Category(13, "traffic sign", True, (240, 230, 0)),
    Category(18, "dog", True, (255, 110, 190)),
    Category(149, "road", False, (128, 64, 128)),
    Category(178, "water", False, (60, 110, 170)),
    Category(184, "vegetation", False, (35, 130, 45)),
    Category(187, "sky", False, (130, 190, 235)),
    Category(191, "sidewalk", False, (244, 150, 232)),
    Category(193, "terrain", False, (170, 225, 130)),
    Category(197, "building", False, (95, 95, 95)),
    Category(199, "wall", False, (165, 130, 100)),
)
"""Ids as in COCO panoptic where it has the category, so not contiguous."""

_BY_NAME = {category.name: category for category in STREET_CATEGORIES}
_SMALLEST_THING, _SMALLEST_STUFF = 0.0025, 0.005  # shares of the image; less is left unlabelled, as people do
_VAL_TAG = 0x76616C
"""Spells "val"; sets the validation stream apart from the training stream of the same seed."""
_SMALLEST_SIDE, _LARGEST_SIDE = 32, 4096
_JPEG_QUALITY = 92


def render_street(seed: int, index: int, *, size: tuple[int, int]) -> Sample:
    """Renders one street scene; the same arguments give the same bytes anywhere.

    Args:
        seed: The stream, not negative.
        index: The scene within the stream, not negative.
        size: Image (height, width), each 32..4096; at another size of the same aspect ratio the scene stays the same.

    Returns:
        A sample with image_id index + 1. Segment ids are unique and spread over 1 .. 2**24 - 1, areas and boxes exact.
        A thing of less than 0.25 % of the image, stuff of less than 0.5 % and whatever has less than 12 pixels is void.

    Raises:
        InputError: An argument is out of range.
    """
    _check(seed, index, size)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index])))
    image, label, things = render_scene(rng, size=size)
    ids = _spread_ids(rng, len(STUFF_INDEX) + len(things))
    named = [(name, False) for name in STUFF_INDEX] + things
    table = np.zeros(256, np.int32)
    segments: list[Segment] = []
    for row, (name, is_crowd) in enumerate(named):
        mask = label == row + 1
        area = int(np.count_nonzero(mask))
        share = _SMALLEST_THING if _BY_NAME[name].is_thing else _SMALLEST_STUFF
        if area < max(12, share * label.size):
            continue
        table[row + 1] = ids[row]
        box = tuple(int(v) for v in cv2.boundingRect(mask.view(np.uint8)))
        bbox = (box[0], box[1], box[2], box[3])
        segments.append(Segment(int(ids[row]), _BY_NAME[name].id, area, bbox, is_crowd))
    return Sample(index + 1, f"{index:06d}.jpg", image, table[label], tuple(segments))


def val_seed(seed: int) -> int:
    """Seed of the stream from which `make_street` takes the validation split."""
    return int(np.random.SeedSequence([seed, _VAL_TAG]).generate_state(1, np.uint64)[0])


class StreetStream(Dataset[Sample]):
    """Street scenes as a map-style data set without files."""

    def __init__(self, seed: int, size: tuple[int, int], length: int) -> None:
        """Covers scenes 0 .. length - 1 of the stream `seed` at `size` (height, width); any length costs the same."""
        _check(seed, 0, size)
        self.seed, self.size, self.length = seed, size, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        """Renders scene `index`; IndexError outside 0 .. length - 1."""
        if not 0 <= index < self.length:
            raise IndexError(f"scene {index} of a stream of {self.length}")
        return render_street(self.seed, index, size=self.size)


def make_street(
    out: Path,
    *,
    train: int,
    val: int,
    size: tuple[int, int],
    seed: int,
    num_workers: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Writes a COCO panoptic folder of street scenes; its bytes do not depend on `num_workers`.

    The splits are `StreetStream(seed, ...)` and `StreetStream(val_seed(seed), ...)`, their images through JPEG.

    Args:
        out: Folder to make: annotations/panoptic_{train,val}.json with a folder of PNGs each, {train,val}/*.jpg.
        train: Number of training images.
        val: Number of validation images.
        size: Image (height, width).
        seed: Of both splits.
        num_workers: Processes that render; 0 renders in this one.
        on_progress: Called with the images done and the images in all.

    Raises:
        InputError: `out` exists and is not an empty folder, or an argument is out of range.
    """
    _check(seed, 0, size)
    for name, count in (("train", train), ("val", val)):
        if count < 1:
            raise InputError(f"{name} = {count}: at least 1 image is wanted in each split")
    if num_workers < 0:
        raise InputError(f"num_workers = {num_workers}: 0 or more processes are wanted")
    with written_aside(out) as folder:
        jobs = [_Job(folder, "train", i, seed, size) for i in range(train)]
        jobs += [_Job(folder, "val", i, val_seed(seed), size) for i in range(val)]
        for split in ("train", "val"):
            (folder / split).mkdir(parents=True)
            (folder / "annotations" / f"panoptic_{split}").mkdir(parents=True)
        rows: dict[str, list[Sample]] = {"train": [], "val": []}
        written = in_processes(_write, None, jobs, num_workers=num_workers)
        for done, (job, sample) in enumerate(zip(jobs, written, strict=True), start=1):
            rows[job.split].append(sample)
            if on_progress:
                on_progress(done, len(jobs))
        for split, samples in rows.items():
            text = json.dumps(_annotations(samples, size, seed), indent=None, separators=(",", ":"))
            (folder / "annotations" / f"panoptic_{split}.json").write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True)
class _Job:
    folder: Path
    split: Literal["train", "val"]
    index: int
    seed: int
    size: tuple[int, int]


def _check(seed: int, index: int, size: tuple[int, int]) -> None:
    if seed < 0 or index < 0:
        raise InputError(f"street scene {index} of seed {seed}: both must be 0 or more")
    if not all(_SMALLEST_SIDE <= side <= _LARGEST_SIDE for side in size):
        raise InputError(f"size {size[0]} {size[1]}: height and width must lie in {_SMALLEST_SIDE}..{_LARGEST_SIDE}")


def _spread_ids(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Distinct ids in 1 .. 2**24 - 1 in random order: one out of each of `count` equal ranges."""
    step = (2**24 - 1) // count
    return rng.permutation(1 + step * np.arange(count) + rng.integers(step, size=count))


def _write(_: None, job: _Job) -> Sample:
    """Writes a scene's two files; answers the sample without its pixels."""
    sample = render_street(job.seed, job.index, size=job.size)
    name = Path(sample.file_name)
    jpeg = cv2.imencode(".jpg", sample.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    png = cv2.imencode(".png", encode_ids(sample.panoptic_map)[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 6])[1]
    (job.folder / job.split / name).write_bytes(jpeg.tobytes())
    (job.folder / "annotations" / f"panoptic_{job.split}" / name.with_suffix(".png")).write_bytes(png.tobytes())
    nothing = np.zeros((0, 0), np.int32)
    return Sample(sample.image_id, sample.file_name, np.zeros((0, 0, 3), np.uint8), nothing, sample.segments)


def _annotations(samples: list[Sample], size: tuple[int, int], seed: int) -> dict[str, Any]:
    height, width = size
    return {
        "info": {"description": "edgeseg street scenes, rendered", "version": "1.0", "seed": seed},
        "licenses": [{"id": 1, "name": "CC0 1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}],
        "images": [
            {"id": s.image_id, "file_name": s.file_name, "height": height, "width": width, "license": 1}
            for s in samples
        ],
        "annotations": [
            {
                "image_id": s.image_id,
                "file_name": str(Path(s.file_name).with_suffix(".png")),
                "segments_info": [segment_entry(segment) for segment in s.segments],
            }
            for s in samples
        ],
        "categories": [
            category_entry(c) | {"supercategory": "thing" if c.is_thing else "stuff"} for c in STREET_CATEGORIES
        ],
    }
