"""Panoptic copy-paste."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeseg.data.augment import View
from edgeseg.data.copy_paste import copy_paste
from edgeseg.data.segment_table import SegmentTable, label_rows

IS_THING = np.array([True, False, False])
"""car, road, sky"""

CAR, ROAD, SKY, CROWD = 0, 1, 2, -1


def view(ids: NDArray[np.int32], *, blue: int) -> View:
    """A picture that says of each pixel which id it has (red) and which picture it comes from (blue)."""
    return View(np.stack([ids, np.zeros_like(ids), np.full_like(ids, blue)]).astype(np.uint8), ids.astype(np.int32))


def table(**categories: int) -> SegmentTable:
    """table(_5=CAR) is segment 5, a car."""
    rows = sorted((int(name[1:]), category) for name, category in categories.items())
    return SegmentTable(
        np.array([0, *(id_ for id_, _ in rows)], dtype=np.int32), np.array([-1, *(category for _, category in rows)])
    )


def paste(
    host: NDArray[np.int32], of_host: SegmentTable, guest: NDArray[np.int32], of_guest: SegmentTable, seed: int = 0
) -> tuple[NDArray[np.int16], NDArray[np.int64], NDArray[np.uint8]]:
    """Rows, their categories, and the picture after pasting."""
    receiver = view(host, blue=1)
    joint = copy_paste(
        receiver, of_host, view(guest, blue=2), of_guest, np.random.default_rng(seed), is_thing=IS_THING, guest_name="g"
    )
    return *label_rows(receiver.panoptic_map, joint, name="h"), receiver.image


def test_every_thing_is_pasted_and_hides_what_lies_below() -> None:
    for seed in range(20):
        rows, categories, image = paste(
            np.array([[7, 7, 9]]), table(_7=ROAD, _9=CAR), np.array([[0, 3, 3]]), table(_3=CAR), seed
        )
        assert rows.tolist() == [[0, 1, 1]]  # car 9 is gone, car 3 of the guest is new
        assert categories.tolist() == [ROAD, CAR]
        assert image[2].tolist() == [[1, 2, 2]]


def test_void_and_crowd_are_never_pasted() -> None:
    for seed in range(20):
        rows, categories, image = paste(
            np.array([[7, 7, 7]]), table(_7=ROAD), np.array([[0, 3, 3]]), table(_3=CROWD), seed
        )
        assert rows.tolist() == [[0, 0, 0]]
        assert categories.tolist() == [ROAD]
        assert image[2].tolist() == [[1, 1, 1]]


def test_stuff_of_one_category_is_one_segment_afterwards() -> None:
    pasted = [
        paste(np.array([[7, 9, 9]]), table(_7=ROAD, _9=CAR), np.array([[0, 0, 3]]), table(_3=ROAD), seed)
        for seed in range(40)
    ]
    outcomes = {(tuple(rows[0].tolist()), tuple(categories.tolist())) for rows, categories, _ in pasted}
    assert outcomes == {((0, 1, 1), (ROAD, CAR)), ((0, 1, 0), (ROAD, CAR))}  # without and with the road of the guest


def test_two_things_of_one_category_stay_apart_even_with_equal_ids() -> None:
    rows, categories, _ = paste(np.array([[5, 5]]), table(_5=CAR), np.array([[0, 5]]), table(_5=CAR))
    assert rows.tolist() == [[0, 1]]
    assert categories.tolist() == [CAR, CAR]


def test_number_of_pasted_stuff_is_uniform() -> None:
    """Two stuff segments, k of them taken first in random order with k in 0, 1, 2: each number a third of the time."""
    counts = [0, 0, 0]
    for seed in range(600):
        _, categories, _ = paste(np.array([[5, 5]]), table(_5=CAR), np.array([[1, 2]]), table(_1=ROAD, _2=SKY), seed)
        counts[sum(category in (ROAD, SKY) for category in categories)] += 1
    assert min(counts) > 200 - 4 * 11.5  # the binomial's standard deviation is 11.5


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_each_pixel_keeps_the_label_of_the_picture_it_shows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    host, guest = rng.integers(0, 6, (2, 6, 7))
    of_host = table(_1=CAR, _2=ROAD, _3=CAR, _4=CROWD, _5=SKY)
    of_guest = table(_1=ROAD, _2=CAR, _3=CROWD, _4=SKY, _5=CAR)
    rows, categories, image = paste(host, of_host, guest, of_guest, seed)
    assert sorted(set(rows[rows >= 0].tolist())) == list(range(len(categories)))
    for y, x in np.ndindex(6, 7):
        source, of_source = (host, of_host) if image[2, y, x] == 1 else (guest, of_guest)
        assert image[0, y, x] == source[y, x]
        expected = of_source.categories[source[y, x]]
        assert (categories[rows[y, x]] if rows[y, x] >= 0 else -1) == expected
    stuff = [category for category in categories.tolist() if not IS_THING[category]]
    assert len(stuff) == len(set(stuff))
