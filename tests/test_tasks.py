"""The three tasks from the same slots, against hand-made maps and a slow rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeseg.config import MergeConfig
from edgeseg.metrics.evaluation import METRICS
from edgeseg.structures import VOID_SLOT, InputError
from edgeseg.tasks import MEASURE, TASKS, candidate_things, category_regions

IS_THING = (True, False, True)  # cup, table, spoon
FLAT = MergeConfig(upsample=1, min_area=1, thing_threshold=0.5, stuff_threshold=0.3)


def logits(*probabilities: float) -> NDArray[np.float32]:
    return np.log(np.array(probabilities, dtype=np.float32))


CLASSES = np.stack([logits(0.8, 0.1, 0.05, 0.05), logits(0.1, 0.8, 0.05, 0.05), logits(0.2, 0.1, 0.3, 0.4)])
"""A sure cup, a sure table, and a slot that is rather a spoon than nothing."""


def masks(*owners: int, strength: float = 6.0) -> NDArray[np.float32]:
    """(3, 1, P): each pixel is surely its owner's."""
    return strength * (np.arange(3)[:, None, None] == np.array([[*owners]])).astype(np.float32)


def test_instances_are_things_alone_and_weak_ones_are_kept_with_their_score() -> None:
    merged = candidate_things(CLASSES, masks(0, 0, 1, 2), config=FLAT, is_thing=IS_THING)
    share = np.exp(6.0) / (np.exp(6.0) + 2)
    # The table slot owns its pixel as the thing it might be: a cup, at 0.1.
    assert merged.slot_category.tolist() == [0, 0, 2]
    assert merged.slot_score == pytest.approx([0.8 * share, 0.1 * share, 0.3 * share], rel=1e-5)
    assert merged.slot_map.tolist() == [[0, 0, 1, 2]]
    panoptic = TASKS["panoptic"](CLASSES, masks(0, 0, 1, 2), config=FLAT, is_thing=IS_THING)
    assert panoptic.slot_category.tolist() == [0, 1, -1]


def test_a_pixel_that_no_slot_has_the_larger_part_of_is_nobodys() -> None:
    merged = candidate_things(CLASSES, np.zeros((3, 1, 2), np.float32), config=FLAT, is_thing=IS_THING)
    assert (merged.slot_map == VOID_SLOT).all()
    assert (merged.slot_category == -1).all()


def test_candidates_below_the_least_score_or_area_are_left_out() -> None:
    classes = np.stack([logits(0.04, 0.5, 0.04, 0.42), logits(0.9, 0.04, 0.03, 0.03), logits(0.9, 0.04, 0.03, 0.03)])
    large = MergeConfig(upsample=1, min_area=32)  # two cells of 16 pixels
    merged = candidate_things(classes, masks(0, 0, 1, 1, 2), config=large, is_thing=IS_THING)
    assert merged.slot_category.tolist() == [-1, 0, -1]
    assert merged.slot_map.tolist() == [[VOID_SLOT, VOID_SLOT, 1, 1, VOID_SLOT]]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), num_slots=st.integers(1, 6))
def test_regions_equal_the_sum_over_slots_in_loops(seed: int, num_slots: int) -> None:
    rng = np.random.default_rng(seed)
    classes = rng.normal(size=(num_slots, 4)).astype(np.float32) * 2
    drawn = rng.normal(size=(num_slots, 3, 4)).astype(np.float32) * 2
    merged = category_regions(classes, drawn, config=FLAT, is_thing=IS_THING)
    for y, x in np.ndindex(3, 4):
        there = np.exp(drawn[:, y, x].astype(float))
        there /= there.sum()
        score = np.zeros(3)
        for n in range(num_slots):
            p = np.exp(classes[n].astype(float))
            score += there[n] * p[:3] / p.sum()
        assert score[merged.slot_map[y, x]] == pytest.approx(score.max(), rel=1e-5)


def test_regions_join_the_things_of_a_category_and_leave_no_void() -> None:
    two_cups = np.stack([CLASSES[0], CLASSES[1], CLASSES[0]])
    merged = category_regions(two_cups, masks(0, 1, 2), config=FLAT, is_thing=IS_THING)
    assert merged.slot_map.tolist() == [[0, 1, 0]]
    assert merged.slot_category.tolist() == [0, 1, -1]


def test_more_categories_than_a_byte_counts_are_refused() -> None:
    with pytest.raises(InputError, match="255 categories do not fit"):
        category_regions(np.zeros((1, 256), np.float32), masks(0)[:1], config=FLAT, is_thing=[True] * 255)


def test_every_task_has_a_measure_that_exists() -> None:
    assert MEASURE.keys() == TASKS.keys()
    assert set(MEASURE.values()) <= METRICS.keys()
