"""Parsing Covering and mean IoU against hand-made cases and their definitions in exact fractions."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from edgeseg.metrics.mean_iou import MeanIoU
from edgeseg.metrics.parsing_covering import ParsingCovering
from tests.metrics.scenes import CATEGORIES, Scene, line, scenes, table


def covering(scene: Scene) -> dict[str, Any]:
    metric = ParsingCovering(CATEGORIES)
    metric.add(scene.pair())
    return metric.to_dict()


def mean_iou(scene: Scene) -> dict[str, Any]:
    metric = MeanIoU(CATEGORIES)
    metric.add(scene.pair())
    return metric.to_dict()


def test_covering_weights_the_best_iou_by_area() -> None:
    """Cars of 6 and 2 pixels, covered by IoU 4/6 and 0: (6 * 2/3 + 2 * 0) / 8."""
    scene = Scene(
        line((1, 6), (2, 2), (5, 2)),
        table({1: 3, 2: 3, 5: 21}),
        line((7, 4), (8, 2), (9, 4)),
        table({7: 3, 8: 3, 9: 21}),
    )
    result = covering(scene)
    assert result["per_category"]["3"]["pc"] == pytest.approx(0.5)
    assert result["per_category"]["21"]["pc"] == pytest.approx(0.5)  # 2 of 4
    assert (result["all"]["n"], result["things"]["n"], result["stuff"]["n"]) == (2, 1, 1)


def test_covering_counts_neither_crowds_nor_what_lies_on_void() -> None:
    scene = Scene(line((0, 3), (1, 4), (2, 3)), table({1: 3, 2: 3}, crowds=[2]), line((7, 10)), table({7: 3}))
    assert covering(scene)["all"] == {"pc": 1.0, "n": 1}


def test_covering_does_not_punish_what_is_false() -> None:
    scene = Scene(line((1, 4), (5, 6)), table({1: 3, 5: 21}), line((7, 4), (8, 6)), table({7: 3, 8: 8}))
    assert covering(scene)["per_category"]["3"]["pc"] == 1.0
    assert covering(scene)["all"]["n"] == 2  # dog, never true, is not among them


def test_images_of_any_size_weigh_the_same() -> None:
    """A small image covered by 1 and one nine times as large covered by 0."""
    metric = ParsingCovering(CATEGORIES)
    metric.add(Scene(line((1, 4)), table({1: 3}), line((7, 4)), table({7: 3})).pair())
    metric.add(Scene(line((1, 36)), table({1: 3}), line((0, 36)), ()).pair())
    assert metric.to_dict()["all"] == {"pc": 0.5, "n": 1}


@settings(max_examples=200, deadline=None)
@given(scenes())
def test_covering_equals_its_definition(scene: Scene) -> None:
    counted = scene.gt > 0
    for segment in scene.gt_table:
        if segment.is_crowd:
            counted &= scene.gt != segment.id
    for category in CATEGORIES:
        weighted, area = Fraction(0), 0
        for truth in scene.gt_table:
            if truth.category_id != category.id or truth.is_crowd:
                continue
            t = scene.gt == truth.id
            best = Fraction(0)
            for guess in scene.pred_table:
                if guess.category_id == category.id:
                    g = (scene.pred == guess.id) & counted
                    best = max(best, Fraction(int((t & g).sum()), int((t | g).sum())))
            weighted += best * int(t.sum())
            area += int(t.sum())
        expected = float(weighted / area) if area else 0.0
        assert covering(scene)["per_category"][str(category.id)]["pc"] == pytest.approx(expected, abs=1e-12)


def test_void_in_the_prediction_is_missed_and_void_in_the_truth_is_left_out() -> None:
    scene = Scene(
        line((0, 2), (1, 4), (5, 4)), table({1: 3, 5: 21}), line((7, 4), (0, 2), (9, 4)), table({7: 3, 9: 21})
    )
    result = mean_iou(scene)
    assert result["per_category"]["3"]["iou"] == 0.5
    assert result["per_category"]["21"]["iou"] == 1.0
    assert (result["miou"], result["n"], result["pixel_accuracy"]) == (0.75, 2, 0.75)


@settings(max_examples=200, deadline=None)
@given(scenes())
def test_mean_iou_equals_its_definition(scene: Scene) -> None:
    def semantic(panoptic_map: np.ndarray, segments: tuple[Any, ...]) -> np.ndarray:
        out = np.zeros_like(panoptic_map)
        for segment in segments:
            out[panoptic_map == segment.id] = segment.category_id
        return out

    truth, guess = semantic(scene.gt, scene.gt_table), semantic(scene.pred, scene.pred_table)
    guess[truth == 0] = 0
    ious = []
    for category in CATEGORIES:
        t, g = truth == category.id, guess == category.id
        if (t | g).any():
            ious.append(Fraction(int((t & g).sum()), int((t | g).sum())))
    result = mean_iou(scene)
    assert result["n"] == len(ious)
    assert result["miou"] == pytest.approx(float(sum(ious) / max(len(ious), 1)), abs=1e-12)
