"""Shapes that overlap, made into one map: the rule says which is on top.

From bottom to top: the source's own label map; then by z_order, where the format has one; then crowds below all else;
then larger segments below smaller ones; of equal ones the earlier row below the later. A segment's size is that of its
whole mask, before anything covers it. All shapes of one stuff category are one segment. What nothing covers is void, or
the background category if one is given.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from edgeseg.data.coco_panoptic import segment_geometry
from edgeseg.data.convert.records import FloorSegment, Labels, Rle, Shape, Size
from edgeseg.structures import Category, Segment

OVERLAP_RULE = (
    "where shapes overlap, the higher z_order (CVAT) is on top, then whatever is no crowd, then the smaller segment, "
    "then the later row; a stuff map lies below all"
)

_VOID = -1  # painted as void, unlike 0, which the background may fill


class Composed(NamedTuple):
    """A panoptic map with what got lost on the way.

    Attributes:
        panoptic_map: (H, W) int32, 0 = void.
        segments: Its table.
        num_hidden: Segments that others cover completely; they are not in the table.
        num_empty: Shapes without a pixel, thinner than the grid; they are not in the table.
    """

    panoptic_map: NDArray[np.int32]
    segments: tuple[Segment, ...]
    num_hidden: int
    num_empty: int


@dataclass
class _Layer:
    """Shapes that are painted at once."""

    segment_id: int
    z_order: int
    is_crowd: bool
    row: int
    rles: list[Rle]


def compose(
    labels: Labels, size: Size, categories: Sequence[Category], *, background_id: int | None = None
) -> Composed:
    """Paints a photo's labels in the order of the rule above.

    Args:
        labels: Shapes and floor of `size`.
        size: Of the photo.
        categories: Say which are stuff.
        background_id: Stuff category of the pixels that nothing covers; None leaves them void.
    """
    stuff = {category.id for category in categories if not category.is_thing}
    table = _Table(stuff)
    panoptic_map = np.zeros(size, dtype=np.int32)
    if labels.floor is not None:
        ids, dense = np.unique(labels.floor.ids, return_inverse=True)
        new = [table.id_of(labels.floor.table[old], ("floor", old)) if old else 0 for old in ids.tolist()]
        panoptic_map = np.array(new, dtype=np.int32)[dense].reshape(size)
    layers, num_empty = _layers(labels.shapes, table)
    for layer in layers:
        panoptic_map[coco_mask.decode(coco_mask.merge(layer.rles)).view(bool)] = layer.segment_id
    if background_id is not None and (panoptic_map == 0).any():
        panoptic_map[panoptic_map == 0] = table.id_of(FloorSegment(background_id, False), None)
    panoptic_map[panoptic_map == _VOID] = 0

    ids, areas, boxes = segment_geometry(panoptic_map)
    segments = []
    for segment_id, area, (x, y, width, height) in zip(ids.tolist(), areas.tolist(), boxes.tolist(), strict=True):
        if segment_id:
            category_id, is_crowd = table.rows[segment_id]
            segments.append(Segment(segment_id, category_id, area, (x, y, width, height), is_crowd))
    return Composed(panoptic_map, tuple(segments), len(table.rows) - len(segments), num_empty)


class _Table:
    """Segments of one image, numbered from 1."""

    def __init__(self, stuff: set[int]) -> None:
        self._stuff = stuff
        self._ids: dict[Hashable, int] = {}
        self.rows: dict[int, FloorSegment] = {}

    def id_of(self, segment: FloorSegment, key: Hashable) -> int:
        """The id of a segment: stuff has one for its category and is never a crowd, things have one for their key."""
        if segment.category_id in self._stuff:
            segment, key = FloorSegment(segment.category_id, False), None
        full = (segment, key)
        if full not in self._ids:
            self._ids[full] = len(self._ids) + 1
            self.rows[self._ids[full]] = segment
        return self._ids[full]


def _layers(shapes: Sequence[Shape], table: _Table) -> tuple[list[_Layer], int]:
    """Layers from bottom to top, and the number of shapes without a pixel."""
    layers: dict[Hashable, _Layer] = {}
    num_empty = 0
    for row, shape in enumerate(shapes):
        if not coco_mask.area(shape.rle):
            num_empty += 1
            continue
        if shape.category_id is None:
            segment_id, is_crowd, key = _VOID, False, ("void", row)
        else:
            name = ("row", row) if shape.group is None else ("group", shape.group)
            segment_id = table.id_of(FloorSegment(shape.category_id, shape.is_crowd), name)
            is_crowd, key = table.rows[segment_id].is_crowd, ("segment", segment_id)
        layer = layers.setdefault((key, shape.z_order), _Layer(segment_id, shape.z_order, is_crowd, row, []))
        layer.row = row
        layer.rles.append(shape.rle)

    def height(layer: _Layer) -> tuple[int, bool, int, int]:
        return layer.z_order, not layer.is_crowd, -int(coco_mask.area(coco_mask.merge(layer.rles))), layer.row

    return sorted(layers.values(), key=height), num_empty
