"""From segment ids to the rows of a table that losses read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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


def table_of(segments: Sequence[Segment], index_of: Mapping[int, int]) -> SegmentTable:
    """The table of an image's segments.

    Args:
        segments: In any order.
        index_of: Contiguous category index by category id.
    """
    rows = sorted((segment.id, IGNORE if segment.is_crowd else index_of[segment.category_id]) for segment in segments)
    ids, categories = zip((0, IGNORE), *rows, strict=True)
    return SegmentTable(np.array(ids, dtype=np.int32), np.array(categories, dtype=np.int64))


def relabel(
    panoptic_map: NDArray[np.int32], table: SegmentTable, values: NDArray[np.integer], *, name: str
) -> NDArray[np.integer]:
    """Replaces each id by its value.

    Args:
        panoptic_map: (H, W) int32.
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
    panoptic_map: NDArray[np.int32], table: SegmentTable, *, name: str
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Numbers the segments that have pixels and are not crowds, in order of their ids.

    Args:
        panoptic_map: (H, W) int32.
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


def _runs(
    panoptic_map: NDArray[np.int32], table: SegmentTable, name: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Place in the table and length of each run of one id in the flattened map: far fewer than pixels."""
    flat = panoptic_map.ravel()
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    found = flat[starts]
    index = np.searchsorted(table.ids, found).clip(max=len(table.ids) - 1)
    unknown = found[table.ids[index] != found]
    if unknown.size:
        raise InputError(
            f"the label of {name} holds segment {unknown[0]}, which its table ({len(table.ids) - 1} segments) does not "
            'list; run "edgeseg data check"'
        )
    return index, np.diff(starts, append=flat.size)
