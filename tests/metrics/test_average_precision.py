"""Mask AP of panoptic output: closed forms of COCO's 101-point average."""

from __future__ import annotations

from typing import Any

import pytest

from edgeseg.metrics.average_precision import AveragePrecision
from edgeseg.metrics.overlap import Comparison
from tests.metrics.scenes import CATEGORIES, ROAD, Scene, line, table


def precision(*scenes: Scene) -> dict[str, Any]:
    metric = AveragePrecision(CATEGORIES)
    for scene in scenes:
        metric.add(scene.pair())
    return metric.to_dict()


TWO_CARS = line((1, 4), (2, 4), (5, 4)), table({1: 3, 2: 3, 5: 21})


def test_everything_found_is_1_and_stuff_does_not_count() -> None:
    result = precision(Scene(*TWO_CARS, line((7, 4), (8, 4), (0, 4)), table({7: 3, 8: 3})))
    assert (result["ap"], result["ap50"], result["n"]) == (1.0, 1.0, 1)


def test_a_right_one_before_a_wrong_one_fills_half_of_the_recall() -> None:
    """Recall 0 .. 0.5 of the 101 points have precision 1, the others 0."""
    scene = Scene(*TWO_CARS, line((7, 4), (0, 4), (8, 4)), table({7: 3, 8: 3}, scores={7: 0.9, 8: 0.8}))
    assert precision(scene)["ap"] == pytest.approx(51 / 101)


def test_a_wrong_one_before_a_right_one_halves_the_precision() -> None:
    scene = Scene(*TWO_CARS, line((7, 4), (0, 4), (8, 4)), table({7: 3, 8: 3}, scores={7: 0.8, 8: 0.9}))
    assert precision(scene)["ap"] == pytest.approx(51 / 101 / 2)


def test_an_iou_of_0_6_counts_at_three_of_ten_thresholds() -> None:
    result = precision(Scene(line((1, 5), (5, 5)), table({1: 3, 5: 21}), line((7, 3), (0, 7)), table({7: 3})))
    assert result["ap"] == pytest.approx(0.3)
    assert (result["ap50"], result["ap75"]) == pytest.approx((1.0, 0.0))


def test_a_crowd_excuses_what_lies_on_it() -> None:
    scene = Scene(
        line((1, 4), (2, 6)),
        table({1: 3, 2: 3}, crowds=[2]),
        line((7, 4), (8, 6)),
        table({7: 3, 8: 3}, scores={7: 0.5}),
    )
    assert precision(scene)["ap"] == pytest.approx(1.0)


def test_without_any_true_thing_ap_is_0_over_0_categories() -> None:
    result = precision(Scene(line((5, 4)), table({5: 21}), line((7, 4)), table({7: 3})))
    assert (result["ap"], result["n"]) == (0.0, 0)


def test_an_image_is_added_once() -> None:
    scene = Scene(*TWO_CARS, *TWO_CARS)
    with pytest.raises(ValueError, match="added before"):
        precision(scene, scene)


def test_a_data_set_without_things_has_no_ap() -> None:
    metric = AveragePrecision([ROAD])
    road = line((5, 4)), table({5: 21})
    metric.add(Comparison([ROAD]).compare(*road, *road, score=[1.0]))
    assert (metric.to_dict()["ap"], metric.to_dict()["n"]) == (0.0, 0)
