"""Overlays: colours, borders, hatching and names, on maps small enough to reason about."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeseg.structures import Category, InputError, Segment
from edgeseg.visualize import MIN_SIDE, draw_legend, draw_panoptic, enlargement, overlay_with_legend, segment_colors

CAR = Category(7, "car", True, (200, 40, 40))
ROAD = Category(3, "road", False, (90, 90, 100))
CATEGORIES = [CAR, ROAD]


def segment(segment_id: int, category: Category, panoptic_map: NDArray[np.int32], *, is_crowd: bool = False) -> Segment:
    return Segment(segment_id, category.id, int((panoptic_map == segment_id).sum()), (0, 0, 1, 1), is_crowd)


def scene(*, is_crowd: bool = False) -> tuple[NDArray[np.uint8], NDArray[np.int32], list[Segment]]:
    """A grey 480x480 photo: road on the left, two cars on the right, a void strip at the bottom."""
    panoptic_map = np.zeros((MIN_SIDE, MIN_SIDE), dtype=np.int32)
    panoptic_map[:400, :240] = 1
    panoptic_map[:200, 240:] = 2
    panoptic_map[200:400, 240:] = 5
    table = [
        segment(1, ROAD, panoptic_map),
        segment(2, CAR, panoptic_map),
        segment(5, CAR, panoptic_map, is_crowd=is_crowd),
    ]
    return np.full((MIN_SIDE, MIN_SIDE, 3), 100, dtype=np.uint8), panoptic_map, table


def test_a_pixel_is_photo_and_colour_mixed_by_alpha() -> None:
    image, panoptic_map, table = scene()
    drawn = draw_panoptic(image, panoptic_map, table, CATEGORIES, alpha=0.5, outlines=False, names=False)
    np.testing.assert_array_equal(drawn[50, 50], [95, 95, 100])  # (100 + road) / 2
    np.testing.assert_array_equal(
        drawn[50, 300], [150, 70, 70]
    )  # (100 + car) / 2: the first car has its category's colour


def test_void_is_darker_than_the_photo_and_colourless() -> None:
    image, panoptic_map, table = scene()
    void = draw_panoptic(image, panoptic_map, table, CATEGORIES, outlines=False, names=False)[450, 240]
    assert void.max() < 50
    assert void.max() == void.min()


def test_things_of_one_category_differ_in_colour_and_stuff_keeps_its_own() -> None:
    cars = [Segment(i, CAR.id, 1, (0, 0, 1, 1)) for i in range(1, 31)]
    colors = segment_colors([*cars, Segment(99, ROAD.id, 1, (0, 0, 1, 1))], CATEGORIES)
    assert colors[99] == ROAD.color
    shades = np.array([colors[i] for i in range(1, 31)], dtype=int)
    distance = np.abs(shades[:, None] - shades[None]).sum(axis=2)[~np.eye(30, dtype=bool)]
    assert distance.min() >= 8


def test_colours_do_not_depend_on_the_order_of_the_table() -> None:
    _, _, table = scene()
    assert segment_colors(table, CATEGORIES) == segment_colors(table[::-1], CATEGORIES[::-1])


def test_the_border_between_two_segments_is_two_pixels_wide() -> None:
    image, panoptic_map, table = scene()
    plain = draw_panoptic(image, panoptic_map, table, CATEGORIES, outlines=False, names=False)
    lined = draw_panoptic(image, panoptic_map, table, CATEGORIES, outlines=True, names=False)
    changed = np.flatnonzero((plain[100] != lined[100]).any(axis=1))
    np.testing.assert_array_equal(changed, [239, 240])


def test_a_crowd_is_hatched_and_a_thing_is_flat() -> None:
    image, panoptic_map, table = scene(is_crowd=True)
    drawn = draw_panoptic(image, panoptic_map, table, CATEGORIES, outlines=False, names=False)
    assert len(np.unique(drawn[10:190, 250:470].reshape(-1, 3), axis=0)) == 1
    assert len(np.unique(drawn[210:390, 250:470].reshape(-1, 3), axis=0)) == 2


def test_a_name_lies_inside_its_segment_and_nowhere_else() -> None:
    image, panoptic_map, table = scene()
    plain = draw_panoptic(image, panoptic_map, table, CATEGORIES, names=False)
    named = draw_panoptic(image, panoptic_map, table, CATEGORIES, names=True)
    changed = (plain != named).any(axis=2)
    assert (changed & (panoptic_map == 0)).sum() == 0
    for segment_id in (1, 2, 5):
        inside = changed & (panoptic_map == segment_id)
        rows, columns = np.nonzero(inside)
        region_rows, region_columns = np.nonzero(panoptic_map == segment_id)
        assert inside.sum() > 200
        assert region_rows.min() < rows.min() < rows.max() < region_rows.max()
        assert region_columns.min() < columns.min() < columns.max() < region_columns.max()


def test_a_segment_too_small_for_its_name_stays_unnamed() -> None:
    panoptic_map = np.ones((MIN_SIDE, MIN_SIDE), dtype=np.int32)
    panoptic_map[10:16, 10:16] = 2
    table = [segment(1, ROAD, panoptic_map), segment(2, CAR, panoptic_map)]
    image = np.zeros((MIN_SIDE, MIN_SIDE, 3), dtype=np.uint8)
    plain = draw_panoptic(image, panoptic_map, table, CATEGORIES, names=False)
    named = draw_panoptic(image, panoptic_map, table, CATEGORIES)
    assert (plain[:40, :40] == named[:40, :40]).all()
    assert (plain != named).any()  # the road has its name


def test_names_do_not_cover_each_other() -> None:
    """Two tall segments side by side, each narrower than its name: centred names would overlap in the middle row."""
    person = Category(9, "pedestrian", True, (200, 40, 40))
    panoptic_map = np.zeros((MIN_SIDE, MIN_SIDE), dtype=np.int32)
    panoptic_map[100:300, 150:215] = 1
    panoptic_map[100:300, 215:280] = 2
    table = [segment(1, person, panoptic_map), segment(2, person, panoptic_map)]
    image = np.full((MIN_SIDE, MIN_SIDE, 3), 128, dtype=np.uint8)
    plain = draw_panoptic(image, panoptic_map, table, [person], outlines=False, names=False)
    named = draw_panoptic(image, panoptic_map, table, [person], outlines=False)
    components, _ = cv2.connectedComponents((plain != named).any(axis=2).astype(np.uint8))
    assert components - 1 == 2  # less the background


@pytest.mark.parametrize("height, width, factor", [(256, 256, 2), (128, 512, 4), (480, 640, 1), (1080, 1920, 1)])
def test_small_pictures_are_enlarged_by_a_whole_factor(height: int, width: int, factor: int) -> None:
    image = np.zeros((height, width, 3), dtype=np.uint8)
    panoptic_map = np.ones((height, width), dtype=np.int32)
    drawn = draw_panoptic(image, panoptic_map, [segment(1, ROAD, panoptic_map)], CATEGORIES)
    assert enlargement(height, width) == factor
    assert drawn.shape == (height * factor, width * factor, 3)
    assert drawn.dtype == np.uint8


def test_the_same_input_gives_the_same_bytes_and_the_input_is_left_alone() -> None:
    image, panoptic_map, table = scene(is_crowd=True)
    before = image.copy(), panoptic_map.copy()
    first = overlay_with_legend(image, panoptic_map, table, CATEGORIES)
    np.testing.assert_array_equal(first, overlay_with_legend(image, panoptic_map, table, CATEGORIES))
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(panoptic_map, before[1])


def test_the_legend_shows_each_colour_and_wraps_when_narrow() -> None:
    wide = draw_legend(CATEGORIES, width=600, with_void=True)
    narrow = draw_legend(CATEGORIES, width=90, with_void=True)
    assert wide.shape[1] == 600
    assert narrow.shape[0] > wide.shape[0]
    for color in (CAR.color, ROAD.color, (0, 0, 0)):
        assert (wide == np.array(color)).all(axis=2).sum() > 50


def test_the_legend_below_a_picture_lists_only_what_is_in_it() -> None:
    panoptic_map = np.ones((MIN_SIDE, MIN_SIDE), dtype=np.int32)
    image = np.zeros((MIN_SIDE, MIN_SIDE, 3), dtype=np.uint8)
    strip = overlay_with_legend(image, panoptic_map, [segment(1, ROAD, panoptic_map)], CATEGORIES)[MIN_SIDE:]
    assert (strip == np.array(ROAD.color)).all(axis=2).any()
    assert not (strip == np.array(CAR.color)).all(axis=2).any()


def test_an_id_that_the_table_does_not_list_is_refused() -> None:
    image, panoptic_map, table = scene()
    with pytest.raises(InputError, match="segment 5, which its table \\(2 rows\\) does not list"):
        draw_panoptic(image, panoptic_map, table[:2], CATEGORIES)


def test_an_unknown_category_is_refused() -> None:
    image, panoptic_map, table = scene()
    with pytest.raises(InputError, match="category 3, but the categories are \\[7\\]"):
        draw_panoptic(image, panoptic_map, table, [CAR])


def test_a_map_of_another_size_is_refused() -> None:
    image, panoptic_map, table = scene()
    with pytest.raises(InputError, match="image"):
        draw_panoptic(image[:100], panoptic_map, table, CATEGORIES)
