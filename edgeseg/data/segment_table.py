"""From segment ids to the rows of a table that losses read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.panoptic_table import SegmentRecord
from edgeseg.structures import IGNORE, InputError, Segment

MAX_ROWS = np.iinfo(np.int16).max
"""Most segments that a label map tells apart."""


class SegmentTable(NamedTuple):
    """What the ids of a panoptic map stand for.

    Attributes:
        ids: (n,) int32, ascending, the first is 0 for void.
        categories: (n,) int64 contiguous category index, -1 for void and crowds.
    """

    ids: NDArray[np.int32]
    categories: NDArray[np.int64]


def table_of(segments: Sequence[Segment | SegmentRecord], index_of: Mapping[int, int]) -> SegmentTable:
    """The table of an image's segments.

    Args:
        segments: In any order.
        index_of: Contiguous category index by category id.
    """
    rows = sorted((segment.id, IGNORE if segment.is_crowd else index_of[segment.category_id]) for segment in segments)
    ids, categories = zip((0, IGNORE), *rows, strict=True)
    return SegmentTable(np.array(ids, dtype=np.int32), np.array(categories, dtype=np.int64))


def relabel(
    panoptic_map: NDArray[np.integer], table: SegmentTable, values: NDArray[np.integer], *, name: str
) -> NDArray[np.integer]:
    """Replaces each id by its value.

    Args:
        panoptic_map: (H, W) int32 or uint8.
        table: Its ids.
        values: (n,) one for each id.
        name: Of the image, for the error.

    Returns:
        (H, W), dtype of `values`.

    Raises:
        InputError: The map holds an id that the table lacks.
    """
    index, lengths = _runs(panoptic_map, table, name)
    return np.repeat(values[index], lengths).reshape(panoptic_map.shape)


def label_rows(
    panoptic_map: NDArray[np.integer], table: SegmentTable, *, name: str
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Numbers the segments that have pixels and are not crowds, in order of their ids.

    Args:
        panoptic_map: (H, W) int32 or uint8.
        table: Its ids.
        name: Of the image, for errors.

    Returns:
        (H, W) int16 rows, -1 = void or crowd; and (M,) int64 category index of each row, each with a pixel.

    Raises:
        InputError: The map holds an id that the table lacks, or more segments than int16 counts.
    """
    index, lengths = _runs(panoptic_map, table, name)
    seen = np.zeros(len(table.ids), dtype=bool)
    seen[index] = True
    seen &= table.categories != IGNORE
    if int(seen.sum()) > MAX_ROWS:
        raise InputError(f"{name} has {int(seen.sum())} segments; at most {MAX_ROWS} are read")
    row_of = np.where(seen, np.cumsum(seen) - 1, IGNORE).astype(np.int16)
    return np.repeat(row_of[index], lengths).reshape(panoptic_map.shape), table.categories[seen]


def find_runs(
    panoptic_map: NDArray[np.integer], ids: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.integer]]:
    """Finds the runs of one id in the flattened map, which are far fewer than its pixels.

    Args:
        panoptic_map: (H, W) int32 or uint8.
        ids: (n,) int32, ascending.

    Returns:
        Place in `ids` and length of each run, and the ids of the map that `ids` lacks.
    """
    flat = panoptic_map.ravel()
    inner_ends = np.flatnonzero(flat[1:] != flat[:-1])
    ends = np.empty(len(inner_ends) + 1, dtype=np.int64)
    ends[:-1], ends[-1] = inner_ends, flat.size - 1
    lengths = ends + 1
    lengths[1:] -= lengths[:-1].copy()
    found = flat[ends]
    is_counted_up = ids[0] == 0 and ids[-1] == len(ids) - 1  # each id is its own place
    index = found.astype(np.int64) if is_counted_up else np.searchsorted(ids, found)
    return index, lengths, found[ids.take(index, mode="clip") != found]


def _runs(
    panoptic_map: NDArray[np.integer], table: SegmentTable, name: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    index, lengths, unknown = find_runs(panoptic_map, table.ids)
    if unknown.size:
        raise InputError(
            f"the label of {name} holds segment {unknown[0]}, which its table ({len(table.ids) - 1} segments) does not "
            'list; run "edgeseg data check"'
        )
    return index, lengths
