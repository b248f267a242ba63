"""The images that score worst."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

from edgeseg.metrics.overlap import PanopticPair
from edgeseg.metrics.panoptic_quality import PanopticQuality
from edgeseg.structures import Category

KEEP = 20
"""Images kept: enough to look at, few enough to carry along."""


class ImageScore(NamedTuple):
    """One image's own panoptic quality and what it is made of."""

    pq: float
    image_id: int | str
    tp: int
    fp: int
    fn: int


class WorstImages:
    """The images of least panoptic quality, each scored on its own.

    An image's quality is the mean over the categories that occur in it, in the truth or the prediction. One in which
    nothing counts, such as a single crowd, has none and is not listed. Of equals those with more false and missed
    segments come first, then the lower id.

    Attributes:
        scores: At most `KEEP`, worst first.
    """

    def __init__(self, categories: Sequence[Category]) -> None:
        self.categories = tuple(categories)
        self.scores: list[ImageScore] = []

    def add(self, pair: PanopticPair) -> None:
        """Adds one image."""
        quality = PanopticQuality(self.categories)
        quality.add(pair)
        iou_sum, tp, fp, fn = quality.counts.sum(axis=1)
        weight = tp + fp / 2 + fn / 2
        if weight.any():
            pq = float((iou_sum[weight > 0] / weight[weight > 0]).mean())
            self._keep([ImageScore(pq, pair.image_id, int(tp.sum()), int(fp.sum()), int(fn.sum()))])

    def __add__(self, other: Self) -> Self:
        """The worst of both."""
        both = type(self)(self.categories)
        both._keep([*self.scores, *other.scores])
        return both

    def to_dict(self) -> dict[str, object]:
        """The images, worst first."""
        return {"images": [score._asdict() for score in self.scores]}

    def _keep(self, scores: Sequence[ImageScore]) -> None:
        self.scores = sorted([*self.scores, *scores], key=_order)[:KEEP]


def _order(score: ImageScore) -> tuple[float, int, bool, int | str]:
    return score.pq, -score.fp - score.fn, isinstance(score.image_id, str), score.image_id
