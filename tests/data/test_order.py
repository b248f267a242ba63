"""The order of images."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseg.data.order import Order, repeat_factors


def epoch(order: Order, number: int) -> list[int]:
    return [order[number * order.epoch_length + position] for position in range(order.epoch_length)]


def test_epoch_without_repeats_shows_each_image_once_in_its_own_order() -> None:
    order = Order(12, seed=3)
    first, second = epoch(order, 0), epoch(order, 1)
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second
    assert epoch(Order(12, seed=3), 0) == first
    assert epoch(Order(12, seed=4), 0) != first


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(1.0, 6.0), min_size=1, max_size=30), st.integers(0, 5))
def test_each_image_comes_as_often_as_its_factor_says_rounded_up_or_down(factors: list[float], seed: int) -> None:
    order = Order(len(factors), seed=seed, repeats=np.array(factors))
    assert order.epoch_length == pytest.approx(np.ceil(sum(factors)), abs=1)
    stretch = order.epoch_length / sum(factors)
    counts = Counter(epoch(order, 0))
    for image, factor in enumerate(factors):
        assert np.floor(factor * stretch - 1e-6) <= counts[image] <= np.ceil(factor * stretch + 1e-6)
        assert counts[image] >= 1


def test_average_over_epochs_is_the_factor() -> None:
    factors = np.array([1.0, 1.0, 2.5, 1.25])  # sum 5.75: six places an epoch
    order = Order(4, seed=0, repeats=factors)
    shown = np.bincount([order[place] for place in range(400 * order.epoch_length)], minlength=4)
    expected = 400 * 6 * factors / factors.sum()
    assert np.abs(shown - expected).max() < 4 * np.sqrt(400 * 0.25)  # a fraction's deviation is at most a half an epoch


def test_places_can_be_asked_in_any_order() -> None:
    forward = Order(7, seed=1, repeats=np.linspace(1, 3, 7))
    expected = [forward[place] for place in range(60)]
    backward = Order(7, seed=1, repeats=np.linspace(1, 3, 7))
    assert [backward[place] for place in reversed(range(60))] == expected[::-1]


def test_repeat_factors_of_a_table_by_hand() -> None:
    """Four images; 1 is in all of them, 2 in one: sqrt(0.5 / 0.25) = 1.41, and the rarest category counts."""
    factors = repeat_factors([{1}, {1}, {1, 2}, {1}], 0.5)
    assert factors.tolist() == pytest.approx([1.0, 1.0, 2**0.5, 1.0])


def test_image_without_segments_and_common_categories_are_not_repeated() -> None:
    assert repeat_factors([set(), {1}, {1}], 0.001).tolist() == [1.0, 1.0, 1.0]
