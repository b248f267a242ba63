"""Parsing Covering: how much of every true segment its best prediction covers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from edgeseg.metrics.overlap import PanopticPair
from edgeseg.structures import Category


class ParsingCovering:
    """Sums of Parsing Covering over images.

    "DeeperLab: Single-Shot Image Parser" (Yang et al., 2019, section 4.1) with the rules of its evaluation
    (github.com/tensorflow/models, research/deeplab/evaluation/parsing_covering.py): of a category, the best IoU that
    any prediction of it has with each true segment, weighted by the true segment's share of its image. Crowds and void
    are left out, with what the prediction has on them. No threshold and no penalty for what is false: large segments
    decide.

    A category without a true segment is left out of the means; a group without any scores 0 with n = 0.

    Attributes:
        sums: (2, K) float64 weighted IoU, weight.
    """

    def __init__(self, categories: Sequence[Category]) -> None:
        self.categories = tuple(sorted(categories, key=lambda category: category.id))
        self.sums = np.zeros((2, len(self.categories)), dtype=np.float64)

    def add(self, pair: PanopticPair) -> None:
        """Adds one image."""
        real = ~pair.is_crowd
        real[0] = False
        overlap, gt_area, gt_category = pair.overlap[real], pair.gt.area[real], pair.gt.category[real]
        if not len(overlap):
            return
        union = gt_area[:, None] + overlap.sum(axis=0) - overlap
        iou = np.where(gt_category[:, None] == pair.pred.category, overlap / union, 0.0)
        share = gt_area / pair.gt.panoptic_map.size
        np.add.at(self.sums[0], gt_category, share * iou.max(axis=1))
        np.add.at(self.sums[1], gt_category, share)

    def __add__(self, other: Self) -> Self:
        """Sums over the images of both, which must have the same categories."""
        if self.categories != other.categories:
            raise ValueError("parsing coverings over different categories cannot be added")
        both = type(self)(self.categories)
        both.sums = self.sums + other.sums
        return both

    def to_dict(self) -> dict[str, object]:
        """All, things and stuff as {pc, n}; per_category by the id as a string."""
        weighted, weight = self.sums
        covering = np.divide(weighted, weight, out=np.zeros_like(weighted), where=weight > 0)
        occurs = weight > 0
        is_thing = np.array([category.is_thing for category in self.categories])
        groups: dict[str, object] = {}
        for name, members in (("all", occurs), ("things", occurs & is_thing), ("stuff", occurs & ~is_thing)):
            n = int(members.sum())
            groups[name] = {"pc": float(covering[members].mean()) if n else 0.0, "n": n}
        rows = {str(c.id): {"name": c.name, "pc": float(v)} for c, v in zip(self.categories, covering, strict=True)}
        return {**groups, "per_category": rows}
