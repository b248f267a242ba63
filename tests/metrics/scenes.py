"""Small pairs of maps for the metrics' tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeseg.metrics.overlap import Comparison, PanopticPair
from edgeseg.structures import Category, Segment

CAR = Category(3, "car", True, (1, 1, 1))
DOG = Category(8, "dog", True, (2, 2, 2))
ROAD = Category(21, "road", False, (3, 3, 3))
NEVER = Category(40, "unicorn", True, (4, 4, 4))
CATEGORIES = (CAR, DOG, ROAD, NEVER)


@dataclass(frozen=True)
class Scene:
    """Both sides of an image as a metric gets them."""

    gt: NDArray[np.int32]
    gt_table: tuple[Segment, ...]
    pred: NDArray[np.int32]
    pred_table: tuple[Segment, ...]
    image_id: int = 0

    def pair(self) -> PanopticPair:
        score = [segment.score for segment in self.pred_table]
        return Comparison(CATEGORIES).compare(
            self.pred, self.pred_table, self.gt, self.gt_table, image_id=self.image_id, score=score
        )


def table(
    categories: dict[int, int], crowds: Sequence[int] = (), scores: dict[int, float] | None = None
) -> tuple[Segment, ...]:
    """Segments from category id by segment id; the metrics read no area or box."""
    return tuple(
        Segment(id_, category, 0, (0, 0, 0, 0), id_ in crowds, (scores or {}).get(id_, 1.0))
        for id_, category in categories.items()
    )


def line(*runs: tuple[int, int]) -> NDArray[np.int32]:
    """A map of one row from (id, length) runs."""
    return np.repeat([id_ for id_, _ in runs], [n for _, n in runs]).astype(np.int32)[None]


@st.composite
def scenes(draw: st.DrawFn, shape: tuple[int, int] = (6, 8), cell: int = 1) -> Scene:
    """Random maps with void, crowds and categories that are missing; a part of the pixels agrees."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    agreement = draw(st.sampled_from([0.0, 0.5, 0.8, 0.95, 1.0]))
    num_segments = draw(st.integers(0, 5))
    gt = rng.integers(0, num_segments + 1, shape)
    pred = np.where(rng.random(shape) < agreement, gt, rng.integers(0, num_segments + 1, shape))
    gt, pred = (np.kron(m, np.ones((cell, cell))).astype(np.int32) for m in (gt, pred))
    names = draw(st.lists(st.sampled_from([3, 8, 21]), min_size=6, max_size=6))
    wrong = draw(st.sets(st.integers(1, 5)))
    crowds = draw(st.sets(st.integers(1, 5), max_size=2))
    gt_ids, pred_ids = (rng.permutation(np.unique(m[m > 0])).tolist() for m in (gt, pred))
    gt_table = table({id_: names[id_] for id_ in gt_ids}, sorted(crowds))
    pred_table = table(
        {id_: names[0] if id_ in wrong else names[id_] for id_ in pred_ids},
        scores={id_: round(float(rng.random()), 2) for id_ in pred_ids},
    )
    return Scene(gt, gt_table, pred, pred_table)
