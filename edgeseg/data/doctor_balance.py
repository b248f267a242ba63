"""The data doctor's numbers of whole splits, and its comparison of splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgeseg.data.doctor_codes import RARE_RATIO, Finding, shown
from edgeseg.data.doctor_index import SplitIndex

VOID_BINS = 10
"""Bins of the histogram of void shares, each 10 % wide."""


@dataclass
class CategoryStats:
    """How much of a category a split has."""

    segments: int = 0
    images: int = 0
    pixels: int = 0


@dataclass
class SplitStats:
    """Numbers of one split.

    Attributes:
        name: The split's.
        role: Its name without COCO's year.
        num_images: Entries of images.
        num_annotations: Entries of annotations.
        num_pixels: Of the PNGs that could be read.
        void_pixels: Those of id 0.
        void_histogram: Images by void share, `VOID_BINS` bins.
        categories: By id, every category of the JSON.
    """

    name: str
    role: str
    num_images: int
    num_annotations: int
    categories: dict[int, CategoryStats]
    num_pixels: int = 0
    void_pixels: int = 0
    void_histogram: list[int] = field(default_factory=lambda: [0] * VOID_BINS)

    @classmethod
    def of(cls, index: SplitIndex) -> SplitStats:
        """The numbers that the JSON alone gives."""
        categories = {id_: CategoryStats() for id_ in sorted(index.categories)}
        return cls(index.paths.name, index.paths.role, len(index.images), index.num_annotations, categories)

    def add(self, areas: Sequence[tuple[int, int]], num_pixels: int, void_pixels: int) -> None:
        """Adds an image: (category id, pixels) of its segments."""
        self.num_pixels += num_pixels
        self.void_pixels += void_pixels
        if num_pixels:
            self.void_histogram[min(VOID_BINS * void_pixels // num_pixels, VOID_BINS - 1)] += 1
        for category_id, area in areas:
            if category_id in self.categories:
                self.categories[category_id].segments += 1
                self.categories[category_id].pixels += area
        for category_id in {category_id for category_id, _ in areas} & self.categories.keys():
            self.categories[category_id].images += 1

    @property
    def num_segments(self) -> int:
        """Segments that have pixels."""
        return sum(stats.segments for stats in self.categories.values())

    @property
    def void_share(self) -> float:
        """Void pixels among all, 0..1."""
        return self.void_pixels / self.num_pixels if self.num_pixels else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON's types."""
        return {
            "name": self.name,
            "num_images": self.num_images,
            "num_annotations": self.num_annotations,
            "num_segments": self.num_segments,
            "num_pixels": self.num_pixels,
            "void_share": round(self.void_share, 6),
            "void_histogram": self.void_histogram,
            "categories": {str(id_): vars(stats) for id_, stats in self.categories.items()},
        }


def check_between_splits(
    indexes: Sequence[SplitIndex], stats: Sequence[SplitStats], find: Callable[[Finding], None]
) -> None:
    """Category lists against each other, and who has segments of what."""
    for index in indexes[1:]:
        _compare_lists(indexes[0], index, find)
    names = {id_: shown(entry.name) for index in reversed(indexes) for id_, entry in index.categories.items()}
    segments: Counter[int] = Counter()
    for split in stats:
        segments.update({id_: row.segments for id_, row in split.categories.items()})
    if not sum(segments.values()):
        return
    for id_, name in sorted(names.items()):
        if not segments[id_]:
            find(Finding("category-unused", "", "", f"category {id_} {name}: no segment"))
    labelled = {split.role: split for split in stats if split.num_pixels}
    train, val = labelled.get("train"), labelled.get("val")
    if train and val:
        for has, lacks, code in ((val, train, "category-not-in-train"), (train, val, "category-not-in-val")):
            for id_, row in has.categories.items():
                if row.segments and not (id_ in lacks.categories and lacks.categories[id_].segments):
                    value = f"category {id_} {names[id_]}: {row.segments} segments in {has.name}, none in {lacks.name}"
                    find(Finding(code, lacks.name, "", value, weight=row.segments))
    learnt = train or next(iter(labelled.values()))
    most = max((row.segments for row in learnt.categories.values()), default=0)
    for id_, row in learnt.categories.items():
        if 0 < row.segments * RARE_RATIO < most:
            value = f"category {id_} {names[id_]}: {row.segments} segments, the commonest has {most}"
            find(Finding("category-rare", learnt.name, "", value, weight=most / row.segments))


def _compare_lists(first: SplitIndex, other: SplitIndex, find: Callable[[Finding], None]) -> None:
    where = other.paths.relative(other.paths.json)

    def differ(value: str) -> None:
        find(Finding("categories-differ", other.paths.name, where, value))

    for id_ in sorted(first.categories.keys() | other.categories.keys()):
        ours, theirs = first.categories.get(id_), other.categories.get(id_)
        if ours is None or theirs is None:
            has = first if ours else other
            differ(f"category {id_} is in {has.paths.name} only")
            continue
        if ours.name != theirs.name:
            was = f"{shown(ours.name)!r} in {first.paths.name}"
            differ(f"category {id_} is {was}, {shown(theirs.name)!r} in {other.paths.name}")
        if ours.is_thing != theirs.is_thing:
            differ(f"category {id_}: isthing {ours.is_thing} in {first.paths.name}, {theirs.is_thing} here")
