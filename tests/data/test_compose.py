"""Shapes that overlap become one map by the stated rule, and masks are those of the drawn shapes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from edgeseg.data.convert.compose import Composed, compose
from edgeseg.data.convert.raster import (
    box_rle,
    decompress_runs,
    ellipse_rle,
    mask_rle,
    patch_rle,
    polygon_rle,
    runs_mask,
)
from edgeseg.data.convert.records import Floor, FloorSegment, Labels, Rle, Shape
from edgeseg.structures import Category, InputError

CAR, DOG, SKY, SEA = 1, 2, 10, 11
CATEGORIES = tuple(Category(i, str(i), i < 10, (0, 0, 0)) for i in (CAR, DOG, SKY, SEA))
SIZE = (4, 6)


def box(x0: int, y0: int, x1: int, y1: int) -> Rle:
    mask = np.zeros(SIZE, dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask_rle(mask)


def composed(*shapes: Shape, **more: object) -> Composed:
    return compose(Labels(shapes), SIZE, CATEGORIES, **more)  # type: ignore[arg-type]


def category_at(result: Composed, y: int, x: int) -> int:
    """Category of a pixel, 0 = void."""
    table = {segment.id: segment.category_id for segment in result.segments}
    return table.get(int(result.panoptic_map[y, x]), 0)


@pytest.mark.parametrize("is_small_first", [True, False])
def test_the_smaller_segment_is_on_top_whatever_the_order(is_small_first: bool) -> None:
    small, large = Shape(DOG, box(1, 1, 3, 3)), Shape(CAR, box(0, 0, 6, 4))
    result = composed(*(small, large) if is_small_first else (large, small))
    assert category_at(result, 1, 1) == DOG
    assert {segment.category_id: segment.area for segment in result.segments} == {DOG: 4, CAR: 20}


def test_of_equal_segments_the_later_row_is_on_top() -> None:
    a, b = Shape(CAR, box(0, 0, 3, 2)), Shape(DOG, box(1, 0, 4, 2))
    assert category_at(composed(a, b), 0, 1) == DOG
    assert category_at(composed(b, a), 0, 1) == CAR


def test_a_crowd_lies_below_larger_things_but_not_below_its_z_order() -> None:
    crowd, car = Shape(DOG, box(0, 0, 2, 2), is_crowd=True), Shape(CAR, box(0, 0, 6, 4))
    result = composed(car, crowd)
    assert category_at(result, 0, 0) == CAR
    assert result.num_hidden == 1
    lifted = Shape(DOG, box(0, 0, 2, 2), is_crowd=True, z_order=1)
    assert category_at(composed(lifted, car), 0, 0) == DOG


def test_a_void_region_obeys_the_rule_and_no_background_fills_it() -> None:
    result = composed(Shape(CAR, box(0, 0, 4, 4)), Shape(None, box(0, 0, 2, 2)), background_id=SEA)
    assert [category_at(result, 0, x) for x in range(6)] == [0, 0, CAR, CAR, SEA, SEA]


def test_stuff_of_one_category_is_one_segment_and_compared_as_such() -> None:
    """Two sky pieces of 8 pixels make 16: below the car of 12, though each piece alone is smaller."""
    pieces = Shape(SKY, box(0, 0, 2, 4)), Shape(SKY, box(4, 0, 6, 4), is_crowd=True)
    result = composed(*pieces, Shape(CAR, box(1, 0, 4, 4)))
    assert category_at(result, 0, 1) == CAR
    assert [(s.category_id, s.area, s.is_crowd) for s in result.segments if s.category_id == SKY] == [(SKY, 12, False)]


def test_the_floor_lies_below_and_shares_its_stuff() -> None:
    ids = np.zeros(SIZE, dtype=np.int32)
    ids[:, :3], ids[:, 3] = 7, 8
    floor = Floor(ids, {7: FloorSegment(SKY, False), 8: FloorSegment(CAR, True)})
    result = compose(Labels((Shape(SKY, box(5, 0, 6, 4)), Shape(CAR, box(0, 0, 2, 4))), floor), SIZE, CATEGORIES)
    assert [category_at(result, 0, x) for x in range(6)] == [CAR, CAR, SKY, CAR, 0, SKY]
    assert sorted((s.category_id, s.area, s.is_crowd) for s in result.segments) == [
        (CAR, 4, True),
        (CAR, 8, False),
        (SKY, 8, False),
    ]


def test_shapes_without_a_pixel_are_counted_not_listed() -> None:
    sliver = Shape(CAR, polygon_rle([[1.1, 1.1, 1.2, 1.1, 1.2, 1.2]], SIZE, "here"))
    result = composed(sliver, Shape(DOG, box(0, 0, 1, 1)))
    assert (result.num_empty, len(result.segments)) == (1, 1)


SHAPES = st.builds(
    lambda category, mask, is_crowd, z: (category, mask, is_crowd, z),
    st.sampled_from([CAR, DOG, None]),
    arrays(bool, SIZE),
    st.booleans(),
    st.integers(-1, 1),
)


@given(st.lists(SHAPES, max_size=6))
@settings(max_examples=200, deadline=None)
def test_every_pixel_belongs_to_the_topmost_thing_there(rows: list[tuple[int | None, np.ndarray, bool, int]]) -> None:
    """Against the rule read out for one pixel after the other."""
    shapes = [Shape(category, mask_rle(mask), is_crowd, z) for category, mask, is_crowd, z in rows]
    result = composed(*shapes)
    for y in range(SIZE[0]):
        for x in range(SIZE[1]):
            here = [
                (z, category is None or not is_crowd, -int(mask.sum()), row, category or 0)
                for row, (category, mask, is_crowd, z) in enumerate(rows)
                if mask[y, x]
            ]
            assert category_at(result, y, x) == (max(here)[-1] if here else 0)
    things = sum(category is not None and bool(mask.any()) for category, mask, _, _ in rows)
    assert len(result.segments) + result.num_hidden == things
    assert result.num_empty == sum(not mask.any() for _, mask, _, _ in rows)


# Masks


@given(st.data())
@settings(deadline=None)
def test_a_rectangle_on_pixel_borders_fills_exactly_its_pixels(data: st.DataObject) -> None:
    y0, y1 = sorted(data.draw(st.lists(st.integers(0, 9), min_size=2, max_size=2, unique=True)))
    x0, x1 = sorted(data.draw(st.lists(st.integers(0, 7), min_size=2, max_size=2, unique=True)))
    mask = coco_mask.decode(box_rle((x0, y0, x1, y1), (9, 7), "here"))
    expected = np.zeros((9, 7), dtype=np.uint8)
    expected[y0:y1, x0:x1] = 1
    assert np.array_equal(mask, expected)


def test_a_pixel_belongs_to_a_triangle_if_its_centre_does() -> None:
    """x + y < 6 with centres at half pixels: 5, 4, 3, 2, 1, 0 pixels a row, and the diagonal's own centres."""
    mask = coco_mask.decode(polygon_rle([[0, 0, 6.5, 0, 0, 6.5]], (8, 8), "here"))
    centres = np.add.outer(np.arange(8) + 0.5, np.arange(8) + 0.5)
    assert np.array_equal(mask, centres < 6.5)


def test_rotation_is_clockwise_on_the_screen() -> None:
    """A flat bar turned by 45 degrees reaches down to the right, not up."""
    mask = coco_mask.decode(box_rle((2, 9, 18, 11), (20, 20), "here", degrees=45))
    assert mask[14, 14] == 1
    assert mask[5, 14] == 0


def test_an_ellipse_has_its_area_and_its_axes() -> None:
    """pi a b, to the half pixel along its length of about 2 pi 30."""
    mask = coco_mask.decode(ellipse_rle((50.0, 40.0), (40.0, 20.0), (80, 100), "here"))
    assert abs(int(mask.sum()) - math.pi * 40 * 20) < 20
    assert (np.flatnonzero(mask.any(axis=0)).tolist(), np.flatnonzero(mask.any(axis=1)).tolist()) == (
        list(range(10, 90)),
        list(range(20, 60)),
    )


def test_a_point_within_a_pixel_of_the_edge_is_rounding_and_farther_is_refused() -> None:
    mask = coco_mask.decode(polygon_rle([[-0.9, -0.9, 6.9, -0.9, 6.9, 4.9, -0.9, 4.9]], SIZE, "here"))
    assert mask.all()
    with pytest.raises(InputError, match=r"here: point \(7.5, 0\) is outside the image \(6 wide, 4 high\)"):
        polygon_rle([[0, 0, 7.5, 0, 3, 3]], SIZE, "here")


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
@settings(deadline=None)
def test_run_lengths_agree_with_pycocotools(mask: np.ndarray) -> None:
    text = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    size = (mask.shape[0], mask.shape[1])
    assert np.array_equal(runs_mask(decompress_runs(text, "here"), size, "here"), mask)


def test_long_run_lengths_agree_with_pycocotools() -> None:
    """Numbers of several characters, differences of either sign."""
    rng = np.random.default_rng(0)
    mask = np.repeat(rng.integers(0, 2, 400), rng.integers(1, 900, 400))[:90_000].reshape(300, 300)
    text = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert np.array_equal(runs_mask(decompress_runs(text, "here"), (300, 300), "here"), mask.astype(bool))


def test_run_lengths_by_rows_and_a_patch_in_its_place() -> None:
    patch = runs_mask([1, 2, 3], (2, 3), "here", by_columns=False)
    assert patch.tolist() == [[False, True, True], [False, False, False]]
    mask = coco_mask.decode(patch_rle(patch, 3, 2, SIZE, "here"))
    assert np.argwhere(mask).tolist() == [[2, 4], [2, 5]]
