"""From segment ids to rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from edgeseg.data.segment_table import SegmentTable, label_rows, relabel, table_of
from edgeseg.structures import InputError, Segment


def segment(id_: int, category: int, *, is_crowd: bool = False) -> Segment:
    return Segment(id_, category, 1, (0, 0, 1, 1), is_crowd=is_crowd)


def test_crowd_and_void_are_ignored_and_rows_ascend_by_id() -> None:
    panoptic_map = np.array([[0, 4, 9], [500, 70_000, 9]], dtype=np.int32)
    table = table_of([segment(500, 3), segment(70_000, 21), segment(4, 3, is_crowd=True), segment(9, 3)], {3: 0, 21: 1})
    rows, categories = label_rows(panoptic_map, table, name="a")
    assert rows.dtype == np.int16
    assert rows.tolist() == [[-1, -1, 0], [1, 2, 0]]
    assert categories.tolist() == [0, 0, 1]


def test_segment_without_a_pixel_has_no_row() -> None:
    table = table_of([segment(5, 3), segment(9, 21), segment(12, 3)], {3: 0, 21: 1})
    rows, categories = label_rows(np.array([[12, 5]], dtype=np.int32), table, name="a")
    assert rows.tolist() == [[1, 0]]
    assert categories.tolist() == [0, 0]


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.int32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 8)))
def test_rows_are_those_of_a_pixel_by_pixel_count(panoptic_map: NDArray[np.int32]) -> None:
    table = SegmentTable(np.arange(9, dtype=np.int32), np.array([-1, 4, 4, -1, 0, 1, -1, 2, 3]))
    rows, categories = label_rows(panoptic_map, table, name="a")
    present = [i for i in range(9) if table.categories[i] >= 0 and (panoptic_map == i).any()]
    assert categories.tolist() == [table.categories[i] for i in present]
    for y, x in np.ndindex(*panoptic_map.shape):
        id_ = int(panoptic_map[y, x])
        assert rows[y, x] == (present.index(id_) if id_ in present else -1)


@pytest.mark.parametrize("unknown", [3, 8, 100])
def test_id_that_the_table_lacks_is_named(unknown: int) -> None:
    table = table_of([segment(5, 3), segment(9, 3)], {3: 0})
    with pytest.raises(InputError, match=f"the label of a.png holds segment {unknown}, which its table"):
        relabel(np.array([[5, unknown]], dtype=np.int32), table, np.zeros(3, np.int32), name="a.png")


def test_more_segments_than_a_label_map_tells_apart_are_refused() -> None:
    ids = np.arange(2**15 + 1, dtype=np.int32)
    table = SegmentTable(ids, np.append(-1, np.zeros(2**15, dtype=np.int64)))
    with pytest.raises(InputError, match="32768 segments; at most 32767 are read"):
        label_rows(ids[None], table, name="a.png")
