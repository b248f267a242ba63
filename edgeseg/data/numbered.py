"""Labels as training reads them: segments numbered, nothing counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.panoptic_png import OPAQUE_VOID, IdReader, absent_segment, unlisted_segment
from edgeseg.data.panoptic_table import ImageId, SegmentRecord
from edgeseg.data.photo import LabelledPhoto
from edgeseg.data.segment_table import find_runs


class NumberedSample(NamedTuple):
    """An image with its label as training wants it.

    Attributes:
        image_id: The data set's image id.
        file_name: Image file relative to its split's folder.
        photo: The image, decoded when asked for.
        panoptic_map: (H, W) uint8, int32 from 256 segments on: 1, 2, .. in order of the segments' ids, 0 = void.
        segments: Table of these numbers.
    """

    image_id: ImageId
    file_name: str
    photo: LabelledPhoto
    panoptic_map: NDArray[np.uint8] | NDArray[np.int32]
    segments: tuple[SegmentRecord, ...]


def read_numbered_png(
    path: Path, table: Sequence[SegmentRecord], *, allow_absent: bool = False
) -> tuple[NDArray[np.uint8] | NDArray[np.int32], tuple[SegmentRecord, ...]]:
    """Reads a panoptic PNG and numbers its segments, without counting areas and boxes.

    Args:
        path: RGB PNG, id = R + 256 G + 65536 B, 0 = void.
        table: The JSON's rows for it.
        allow_absent: Leave rows without a pixel out instead of refusing them.

    Returns:
        Map and table of `NumberedSample`.

    Raises:
        InputError: Not an 8-bit RGB image, truncated, or ids differ from the table's.
    """
    ascending = sorted(table)
    ids = np.array([0, *(record.id for record in ascending)], dtype=np.int32) + OPAQUE_VOID
    opaque_map = IdReader().read(path, opaque=True)
    index, lengths, unknown = find_runs(opaque_map, ids)
    if unknown.size:
        raise unlisted_segment(path, int(unknown.min()) - OPAQUE_VOID, len(table))
    is_present = np.zeros(len(ids), dtype=bool)
    is_present[0] = is_present[index] = True
    if not (allow_absent or is_present.all()):
        absent = {record for record, is_there in zip(ascending, is_present[1:], strict=True) if not is_there}
        raise absent_segment(path, next(record.id for record in table if record in absent))
    present = [record for record, is_there in zip(ascending, is_present[1:].tolist(), strict=True) if is_there]
    numbers = (np.cumsum(is_present) - 1).astype(np.uint8 if len(present) < 256 else np.int32)
    segments = tuple(record._replace(id=number) for number, record in enumerate(present, start=1))
    return np.repeat(numbers[index], lengths).reshape(opaque_map.shape), segments
