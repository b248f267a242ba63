"""The metrics that can be asked for, together over a set of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, Self

from edgeseg.config import nearest
from edgeseg.metrics.average_precision import AveragePrecision
from edgeseg.metrics.boundary_quality import BoundaryQuality
from edgeseg.metrics.confusion import Confusion
from edgeseg.metrics.mean_iou import MeanIoU
from edgeseg.metrics.overlap import PanopticPair
from edgeseg.metrics.panoptic_quality import PanopticQuality, QualityBySize
from edgeseg.metrics.parsing_covering import ParsingCovering
from edgeseg.metrics.worst_images import WorstImages
from edgeseg.structures import Category, InputError


class Metric(Protocol):
    """Sums over images; those over parts of a set add up to those over the whole."""

    def add(self, pair: PanopticPair) -> None:
        """Adds one image."""

    def __add__(self, other: Self) -> Self: ...

    def to_dict(self) -> dict[str, object]:
        """The result as plain values."""
        ...


METRICS: dict[str, Callable[[Sequence[Category]], Metric]] = {
    "pq": PanopticQuality,
    "pq_by_size": QualityBySize,
    "pc": ParsingCovering,
    "miou": MeanIoU,
    "ap": AveragePrecision,
    "boundary_pq": BoundaryQuality,
    "confusion": Confusion,
    "worst": WorstImages,
}
"""By the name that `--metrics` and results use."""

READ_PIXELS = frozenset({"ap", "boundary_pq"})
"""Those that look at the maps again after the comparison."""


def metric_names(words: Sequence[str]) -> tuple[str, ...]:
    """Names from the command line, apart or joined by commas.

    Raises:
        InputError: There is no metric of that name.
    """
    names = tuple(name for word in words for name in word.split(",") if name)
    for name in names:
        if name not in METRICS:
            raise InputError(f"no metric {name!r}{nearest(name, list(METRICS))}; there are {', '.join(METRICS)}")
    return names


class Evaluation:
    """Panoptic quality, which is always taken, and the metrics asked for.

    Args:
        categories: Of the data set.
        names: Keys of `METRICS`.

    Attributes:
        segments_beyond_slots: True segments that a network with so few slots cannot answer; whoever predicts counts.
    """

    def __init__(self, categories: Sequence[Category], names: Sequence[str] = ()) -> None:
        self.quality = PanopticQuality(categories)
        self.others = {name: METRICS[name](categories) for name in names if name != "pq"}
        self.segments_beyond_slots = 0

    def add(self, pair: PanopticPair) -> None:
        """Adds one image."""
        self.quality.add(pair)
        for metric in self.others.values():
            metric.add(pair)

    def __add__(self, other: Evaluation) -> Evaluation:
        """Sums over the images of both, which must have the same categories and metrics."""
        both = Evaluation(())
        both.quality = self.quality + other.quality
        both.segments_beyond_slots = self.segments_beyond_slots + other.segments_beyond_slots
        both.others = {name: metric + other.others[name] for name, metric in self.others.items()}
        return both

    def to_dict(self) -> dict[str, object]:
        """all, things, stuff and per_category of panoptic quality; every other metric under its name."""
        return {**self.quality.to_dict(), **{name: metric.to_dict() for name, metric in self.others.items()}}
