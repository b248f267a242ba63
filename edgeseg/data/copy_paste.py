"""Panoptic copy-paste: things and stuff of a second image laid over the first.

Source: kMaX-DeepLab (Yu et al., arXiv 2207.04044), as bytedance/kmax-deeplab's panoptic_kmaxdeeplab_dataset_mapper.py
does it: every thing is pasted, of all segments a random number in random order, void and crowds never; the second image
is zoomed half as far as the first; stuff of one category is one segment afterwards.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeseg.data.augment import View
from edgeseg.data.segment_table import SegmentTable, relabel
from edgeseg.structures import IGNORE

GUEST_ZOOM = 0.5
"""Zoom of the second image against the first's range."""

_GUEST_OFFSET = 1 << 24
"""Added to the second image's ids: larger than any id of three bytes."""


def copy_paste(
    host: View,
    host_table: SegmentTable,
    guest: View,
    guest_table: SegmentTable,
    rng: np.random.Generator,
    *,
    is_thing: NDArray[np.bool_],
    guest_name: str,
) -> SegmentTable:
    """Pastes part of the guest into the host's image and map, in place.

    Args:
        host: Receives.
        host_table: Its ids.
        guest: Gives, of the same size.
        guest_table: Its ids.
        rng: Decides which stuff comes along.
        is_thing: (K,) by category index.
        guest_name: For errors.

    Returns:
        The table of the host's map as it is now; segments that were covered are still listed.
    """
    pasted_ids, added = _choose(host_table, guest_table, rng, is_thing)
    pasted = relabel(guest.panoptic_map, guest_table, pasted_ids, name=guest_name)
    mask = (pasted != 0).view(np.uint8)
    for plane, giver in zip((*host.image, host.panoptic_map), (*guest.image, pasted), strict=True):
        cv2.copyTo(giver, mask, plane)
    return SegmentTable(
        np.concatenate([host_table.ids, guest_table.ids[added] + _GUEST_OFFSET]),
        np.concatenate([host_table.categories, guest_table.categories[added]]),
    )


def _choose(
    host: SegmentTable, guest: SegmentTable, rng: np.random.Generator, is_thing: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Id in the host's map of each segment of the guest, 0 where it is not pasted; and which of them are new there."""
    labelled = guest.categories != IGNORE
    thing = labelled & is_thing[guest.categories]  # -1 reads the last category; `labelled` strikes it out
    place = np.zeros(len(guest.ids), dtype=np.int64)
    place[rng.permutation(np.flatnonzero(labelled))] = np.arange(int(labelled.sum()))
    taken = thing | (labelled & (place < rng.integers(int(labelled.sum()), endpoint=True)))
    stuff_of_host = {
        int(category): int(id_)
        for id_, category in zip(host.ids, host.categories, strict=True)
        if category != IGNORE and not is_thing[category]
    }
    ids = np.where(taken, guest.ids + _GUEST_OFFSET, 0).astype(np.int32)
    for row in np.flatnonzero(taken & ~thing):
        ids[row] = stuff_of_host.get(int(guest.categories[row]), int(ids[row]))
    return ids, taken & (ids > _GUEST_OFFSET)
