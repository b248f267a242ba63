"""The records that travel through the house."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # the command line reads this file before it knows whether it needs torch
    import torch

TaskName = Literal["panoptic", "instance", "semantic"]
"""What can be asked of slots (edgeseg.tasks)."""

VOID_SLOT = 255
"""Value of a slot map's pixel that belongs to no slot."""

IGNORE = -1
"""Value of a label map's pixel that no loss may look at (void and crowd)."""


class InputError(ValueError):
    """What the user handed over cannot be used; the command line prints it as one line and exits with 2."""


class CheckError(RuntimeError):
    """A check that ran to its end failed; the command line prints it as one line and exits with 1."""


@dataclass(frozen=True)
class Category:
    """One entry of a data set's category list.

    Attributes:
        id: The data set's own id (need not be contiguous).
        name: Name shown to people.
        is_thing: True for countable categories, False for stuff.
        color: RGB, 0..255.
    """

    id: int
    name: str
    is_thing: bool
    color: tuple[int, int, int]


@dataclass(frozen=True)
class Segment:
    """One row of an image's segment table.

    Attributes:
        id: Value of the segment's pixels in the panoptic map, 1 .. 2**24 - 1 (0 is void).
        category_id: The data set's category id.
        area: Number of pixels.
        bbox: x, y, width, height in pixels.
        is_crowd: True where the segment holds several things that nobody told apart.
        score: Confidence in 0..1; 1 for ground truth.
    """

    id: int
    category_id: int
    area: int
    bbox: tuple[int, int, int, int]
    is_crowd: bool = False
    score: float = 1.0


@dataclass(frozen=True)
class Sample:
    """An image with its panoptic label.

    Attributes:
        image_id: The data set's image id.
        file_name: Image file relative to its split's folder.
        image: (H, W, 3) uint8 RGB.
        panoptic_map: (H, W) int32 segment ids, 0 = void.
        segments: Table of the ids in the map.
        sequence: Name of the video that the image is a frame of; a segment id then means the same thing in all frames.
        frame: Number of the frame in it.
    """

    image_id: int | str
    file_name: str
    image: NDArray[np.uint8]
    panoptic_map: NDArray[np.int32]
    segments: tuple[Segment, ...]
    sequence: str | None = None
    frame: int | None = None


class Slots(NamedTuple):
    """What every model answers: N candidate segments for each image.

    Attributes:
        class_logits: (B, N, K + 1) float32, the last column is void.
        mask_logits: (B, N, h, w) float32; a pixel belongs to slots by softmax over N.
    """

    class_logits: torch.Tensor
    mask_logits: torch.Tensor


class Prediction(NamedTuple):
    """Slots of one depth of a mask decoder with what only the losses need.

    Attributes:
        slots: Class and mask logits at this depth's stride.
        embedding: (B, D, h, w) float32 pixel embedding, not normalised.
        semantic_logits: (B, K + 1, h, w) float32 of the training-only semantic head, or None at the final depth.
    """

    slots: Slots
    embedding: torch.Tensor
    semantic_logits: torch.Tensor | None


class DenseMaps(NamedTuple):
    """What Panoptic-DeepLab predicts for each cell of stride 4.

    Attributes:
        things: (B, T, h, w) semantic logits of the thing categories, ascending.
        stuff: (B, S, h, w) semantic logits of the stuff categories, ascending.
        centre: (B, 1, h, w) heat, about 1 at the centre of a thing and 0 elsewhere.
        offset: (B, 2, h, w) cells (down, right) from here to the centre of the own thing.
    """

    things: torch.Tensor
    stuff: torch.Tensor
    centre: torch.Tensor
    offset: torch.Tensor


class CentreMaps(NamedTuple):
    """What MaskConver predicts for each cell of stride 4.

    Attributes:
        heat: (B, K, h, w) logits of being the centre of a segment of the category.
        masks_at: (cells (B, M) int64, their categories (B, M, K) float32, one-hot or mixed) -> (B, M, h, w) mask logits
            of the segments that have their centres there.
    """

    heat: torch.Tensor
    masks_at: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Merged(NamedTuple):
    """Slots after the panoptic merge (docs/merge.md), one image.

    Attributes:
        slot_map: (h, w) uint8 slot index of each pixel, 255 = void.
        slot_category: (N,) int32 contiguous category index, -1 = empty slot.
        slot_score: (N,) float32 confidence in 0..1.
    """

    slot_map: NDArray[np.uint8]
    slot_category: NDArray[np.int32]
    slot_score: NDArray[np.float32]


@dataclass(frozen=True)
class Batch:
    """Training input; labels travel as one id map and a table per image.

    Attributes:
        image: (B, 3, H, W) uint8 RGB.
        label_map: (B, H, W) int16 row of the image's table, -1 = void, crowd or padding.
        categories: Per image (M,) int64 contiguous category index of each row.
        image_ids: Per image, for messages.
    """

    image: torch.Tensor
    label_map: torch.Tensor
    categories: list[torch.Tensor]
    image_ids: list[int | str]
