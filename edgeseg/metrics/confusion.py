"""Confusion table: which category is taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from edgeseg.metrics.matching import match
from edgeseg.metrics.overlap import PanopticPair
from edgeseg.structures import Category


class Confusion:
    """Segments by true and predicted category.

    A true segment is taken for the category of the prediction that it matches with an IoU above 0.5, whatever that
    category is, and for nothing if there is none. Void and crowds follow `match`, so the diagonal is PQ's number of
    true positives. By pixels instead of segments it is the table in `MeanIoU`.

    A category that never occurs has an empty row and column.

    Attributes:
        table: (K + 1, K + 1) int64 segments; the last row holds false segments, the last column missed ones.
    """

    def __init__(self, categories: Sequence[Category]) -> None:
        self.categories = tuple(sorted(categories, key=lambda category: category.id))
        size = len(self.categories) + 1
        self.table = np.zeros((size, size), dtype=np.int64)

    def add(self, pair: PanopticPair) -> None:
        """Adds one image."""
        matching = match(pair, within_categories=False)
        gt, pred = pair.gt.category, pair.pred.category
        np.add.at(self.table, (gt[matching.gt_rows], pred[matching.pred_rows]), 1)
        np.add.at(self.table[:, -1], gt[matching.missed], 1)
        np.add.at(self.table[-1], pred[matching.false], 1)

    def __add__(self, other: Self) -> Self:
        """Sums over the images of both, which must have the same categories."""
        if self.categories != other.categories:
            raise ValueError("confusion tables over different categories cannot be added")
        both = type(self)(self.categories)
        both.table = self.table + other.table
        return both

    def to_dict(self) -> dict[str, object]:
        """Every cell that is not 0, most segments first; null stands for nothing.

        `share` is of the segments in its row. `names` holds the categories that occur.
        """
        ids: list[int | None] = [*(category.id for category in self.categories), None]
        rows, columns = np.nonzero(self.table)
        counts, totals = self.table[rows, columns], self.table.sum(axis=1)[rows]
        order = np.argsort(-counts, kind="stable")
        cells = [
            {
                "gt": ids[rows[i]],
                "pred": ids[columns[i]],
                "segments": int(counts[i]),
                "share": float(counts[i] / totals[i]),
            }
            for i in order
        ]
        seen = {cell[side] for cell in cells for side in ("gt", "pred")}
        return {"names": {str(c.id): c.name for c in self.categories if c.id in seen}, "cells": cells}
