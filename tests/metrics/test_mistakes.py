"""Sizes, confusion table and worst images on cases made by hand, and what they must agree on with PQ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from edgeseg.metrics.confusion import Confusion
from edgeseg.metrics.panoptic_quality import PanopticQuality
from edgeseg.metrics.worst_images import KEEP, WorstImages
from edgeseg.structures import Segment
from tests.metrics.scenes import CATEGORIES, Scene, line, scenes, table


def confusion(scene: Scene) -> Confusion:
    metric = Confusion(CATEGORIES)
    metric.add(scene.pair())
    return metric


def test_sizes_follow_the_truth_where_there_is_one_and_the_prediction_where_not() -> None:
    """A found car of 1023 pixels, a missed one of 1024, a false dog of 9216, one segment of the road."""
    gt = line((1, 1023), (2, 1024), (5, 20000))
    pred = line((7, 1023), (0, 1024), (8, 9216), (9, 10784))
    metric = PanopticQuality(CATEGORIES)
    metric.add(Scene(gt, table({1: 3, 2: 3, 5: 21}), pred, table({7: 3, 8: 8, 9: 21})).pair())
    sizes = metric.compute_by_size()
    rows = {(size, r.category.name): (r.tp, r.fp, r.fn) for size, result in sizes.items() for r in result.per_category}
    assert {key: row for key, row in rows.items() if any(row)} == {
        ("small", "car"): (1, 0, 0),
        ("medium", "car"): (0, 0, 1),
        ("large", "dog"): (0, 1, 0),
        ("large", "road"): (1, 0, 0),
    }
    assert sizes["medium"].all.n == 1


def test_a_segment_is_taken_for_the_category_that_covers_it() -> None:
    """The car is taken for a dog, the road found, a car invented, another car missed."""
    scene = Scene(
        line((1, 4), (2, 4), (5, 9), (0, 3)), table({1: 3, 2: 3, 5: 21}),
        line((7, 4), (0, 4), (9, 7), (8, 2), (0, 3)), table({7: 8, 8: 3, 9: 21}),
    )  # fmt: skip
    cells: Any = confusion(scene).to_dict()["cells"]
    assert {(cell["gt"], cell["pred"]): cell["segments"] for cell in cells} == {
        (3, 8): 1, (3, None): 1, (21, 21): 1, (None, 3): 1,
    }  # fmt: skip
    assert {cell["share"] for cell in cells if cell["gt"] == 3} == {0.5}


@settings(max_examples=200, deadline=None)
@given(scenes())
def test_the_diagonal_is_what_pq_finds_and_a_row_is_every_true_segment(scene: Scene) -> None:
    quality = PanopticQuality(CATEGORIES)
    quality.add(scene.pair())
    found = confusion(scene).table
    assert found.diagonal()[:-1].tolist() == [row.tp for row in quality.compute().per_category]
    ids = [category.id for category in CATEGORIES]
    truths = [sum(s.category_id == id_ and not s.is_crowd for s in scene.gt_table) for id_ in ids]
    assert found[:-1].sum(axis=1).tolist() == truths


@settings(max_examples=100, deadline=None)
@given(scenes(shape=(5, 8), cell=12))
def test_sizes_add_up_to_the_whole(scene: Scene) -> None:
    metric = PanopticQuality(CATEGORIES)
    metric.add(scene.pair())
    sizes = [result.per_category for result in metric.compute_by_size().values()]
    for whole, *parts in zip(metric.compute().per_category, *sizes, strict=True):
        assert sum(part.tp for part in parts) == whole.tp
        assert sum(part.fp for part in parts) == whole.fp
        assert sum(part.fn for part in parts) == whole.fn
        assert sum(part.iou_sum for part in parts) == pytest.approx(whole.iou_sum, abs=1e-12)


def test_worst_images_come_first_and_images_where_nothing_counts_not_at_all() -> None:
    good = line((1, 4)), table({1: 3})
    metric = WorstImages(CATEGORIES)
    metric.add(Scene(*good, line((7, 3), (0, 1)), table({7: 3}), image_id=1).pair())
    metric.add(Scene(*good, line((0, 4)), (), image_id=2).pair())
    metric.add(Scene(line((1, 4)), table({1: 3}, crowds=[1]), line((0, 4)), (), image_id=3).pair())
    metric.add(Scene(*good, line((7, 4)), table({7: 8}), image_id=4).pair())
    assert metric.to_dict()["images"] == [
        {"pq": 0.0, "image_id": 4, "tp": 0, "fp": 1, "fn": 1},
        {"pq": 0.0, "image_id": 2, "tp": 0, "fp": 0, "fn": 1},
        {"pq": 0.75, "image_id": 1, "tp": 1, "fp": 0, "fn": 0},
    ]


def test_no_more_worst_images_are_kept_than_one_looks_at() -> None:
    metric = WorstImages(CATEGORIES)
    gt, pred = np.ones((1, 100), np.int32), np.ones((1, 100), np.int32)
    for number in range(KEEP + 15):
        pred = np.where(np.arange(100) < 55 + number, 1, 0).astype(np.int32)[None]
        segments = (Segment(1, 3, 0, (0, 0, 0, 0)),)
        metric.add(Scene(gt, segments, pred, segments, image_id=number).pair())
    assert [score.image_id for score in metric.scores] == list(range(KEEP))
