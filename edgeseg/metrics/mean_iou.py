"""Mean IoU of the semantic maps that two panoptic maps imply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from edgeseg.metrics.overlap import PanopticPair
from edgeseg.structures import Category


class MeanIoU:
    """Pixels by true and predicted category.

    True void is left out. A crowd counts: its pixels' category is known. A pixel predicted void is missed by its true
    category and claimed by none.

    A category that occurs neither in the truth nor on a labelled pixel of the prediction is left out of the mean; with
    none at all the mean is 0 with n = 0.

    Attributes:
        pixels: (K, K + 1) int64 true category, predicted category, the last column void.
    """

    def __init__(self, categories: Sequence[Category]) -> None:
        self.categories = tuple(sorted(categories, key=lambda category: category.id))
        self.pixels = np.zeros((len(self.categories), len(self.categories) + 1), dtype=np.int64)

    def add(self, pair: PanopticPair) -> None:
        """Adds one image."""
        np.add.at(self.pixels, (pair.gt.category[1:, None], pair.pred.category), pair.overlap[1:])

    def __add__(self, other: Self) -> Self:
        """Sums over the images of both, which must have the same categories."""
        if self.categories != other.categories:
            raise ValueError("mean IoUs over different categories cannot be added")
        both = type(self)(self.categories)
        both.pixels = self.pixels + other.pixels
        return both

    def to_dict(self) -> dict[str, object]:
        """The mean as miou, categories in it as n, share of pixels that are right, per_category by id."""
        hits, total = self.pixels.diagonal(), int(self.pixels.sum())
        union = self.pixels.sum(axis=1) + self.pixels[:, :-1].sum(axis=0) - hits
        iou = hits / np.maximum(union, 1)
        n = int((union > 0).sum())
        rows = {str(c.id): {"name": c.name, "iou": float(v)} for c, v in zip(self.categories, iou, strict=True)}
        return {
            "miou": float(iou.sum()) / max(n, 1),
            "n": n,
            "pixel_accuracy": int(hits.sum()) / max(total, 1),
            "per_category": rows,
        }
