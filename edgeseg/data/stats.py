"""What a data set holds: categories, sizes, void."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from edgeseg.data.coco_panoptic import PanopticFolder, read_panoptic_png
from edgeseg.data.parallel import in_processes
from edgeseg.data.sets import Dataset, open_dataset
from edgeseg.data.sketch import Sketch
from edgeseg.data.split import find_splits
from edgeseg.structures import Category, InputError, Segment


def open_splits(root: Path, splits: Sequence[str] = (), format: str = "auto") -> dict[str, Dataset]:
    """The splits of a data set: those asked for, or all that it has (of other layouts than COCO's: train and val).

    Raises:
        InputError: A split cannot be opened, or they differ in their categories.
    """
    if not splits:
        has_coco = any((root / "annotations").glob("panoptic_*.json"))
        splits = find_splits(root) if has_coco else ("train", "val")
    opened = {split: open_dataset(root, split, format) for split in splits}
    first = next(iter(opened))
    for split, dataset in opened.items():
        if tuple(dataset.categories) != tuple(opened[first].categories):
            raise InputError(f"{root}: splits {first} and {split} have other categories; name one with --split")
    return opened


def measure(
    dataset: Dataset, *, num_workers: int = 0, on_progress: Callable[[int], None] = lambda count: None
) -> dict[str, Any]:
    """Counts one split; memory does not grow with the number of images.

    Args:
        dataset: Of COCO's layout only the PNGs are read, of others photos, too.
        num_workers: Processes; the result does not depend on it.
        on_progress: Called with the number of images just counted.

    Returns:
        As `edgeseg data stats --json` prints it; areas in pixels, quantiles within 1 %.

    Raises:
        InputError: A label cannot be read.
    """
    counts = _Counts({category.id: _CategoryCounts() for category in dataset.categories})
    for row in in_processes(_measure_image, dataset, range(len(dataset)), num_workers=num_workers):
        counts.add(row)
        on_progress(1)
    return counts.result(dataset.categories)


class _Image(NamedTuple):
    """What one image adds."""

    size: tuple[int, int]
    segments: tuple[Segment, ...]


def _measure_image(dataset: Dataset, index: int) -> _Image:
    if isinstance(dataset, PanopticFolder):
        record = dataset.images[index]
        path = dataset.png_folder / record.annotation.png_name
        panoptic_map, segments = read_panoptic_png(path, record.annotation.segments, allow_absent=dataset.allow_absent)
    else:
        sample = dataset[index]
        panoptic_map, segments = sample.panoptic_map, sample.segments
    return _Image((panoptic_map.shape[0], panoptic_map.shape[1]), segments)


@dataclass
class _CategoryCounts:
    num_images: int = 0
    num_segments: int = 0
    num_crowds: int = 0
    num_pixels: int = 0
    areas: Sketch = field(default_factory=Sketch)


@dataclass
class _Counts:
    categories: dict[int, _CategoryCounts]
    num_images: int = 0
    num_pixels: int = 0
    num_void: int = 0
    heights: Sketch = field(default_factory=Sketch)
    widths: Sketch = field(default_factory=Sketch)
    segments: Sketch = field(default_factory=Sketch)
    void_shares: Sketch = field(default_factory=Sketch)

    def add(self, image: _Image) -> None:
        num_pixels = image.size[0] * image.size[1]
        num_void = num_pixels - sum(segment.area for segment in image.segments)
        self.num_images += 1
        self.num_pixels += num_pixels
        self.num_void += num_void
        self.heights.add(image.size[0])
        self.widths.add(image.size[1])
        self.segments.add(len(image.segments))
        self.void_shares.add(num_void / num_pixels)
        for category_id in {segment.category_id for segment in image.segments}:
            self.categories[category_id].num_images += 1
        for segment in image.segments:
            row = self.categories[segment.category_id]
            row.num_segments += 1
            row.num_crowds += segment.is_crowd
            row.num_pixels += segment.area
            row.areas.add(segment.area)

    def result(self, categories: Sequence[Category]) -> dict[str, Any]:
        per_category = {}
        for category in categories:
            row = self.categories[category.id]
            per_category[str(category.id)] = {
                "name": category.name,
                "is_thing": category.is_thing,
                "images": row.num_images,
                "segments": row.num_segments,
                "crowds": row.num_crowds,
                "pixel_share": row.num_pixels / self.num_pixels,
                "area": row.areas.summary(),
            }
        return {
            "images": self.num_images,
            "segments": sum(row.num_segments for row in self.categories.values()),
            "crowds": sum(row.num_crowds for row in self.categories.values()),
            "void_share": self.num_void / self.num_pixels,
            "height": self.heights.summary(),
            "width": self.widths.summary(),
            "segments_per_image": self.segments.summary(),
            "void_share_per_image": self.void_shares.summary(),
            "per_category": per_category,
        }
