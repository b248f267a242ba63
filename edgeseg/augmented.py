"""Pictures of what augmentation makes of a data set."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeseg.config import DataConfig
from edgeseg.data.loader import Samples, TrainItem, TrainSet
from edgeseg.structures import Category, InputError, Segment
from edgeseg.visualize import draw_panoptic

_GAP, _PAPER = 8, 22  # pixels between pictures, and their grey
_COLUMNS = 2  # pairs side by side
_SIDE = 400  # longest side of a picture on the sheet


def augmented_sheet(
    samples: Samples, categories: Sequence[Category], config: DataConfig, *, seed: int, num: int
) -> NDArray[np.uint8]:
    """The first pictures of a training, each beside its label.

    Args:
        samples: Data set.
        categories: Its categories.
        config: The augmentation to look at.
        seed: Of the training.
        num: Pictures to show.

    Returns:
        (H, W, 3) uint8 RGB: pairs of photo and label, two in a row.

    Raises:
        InputError: num is not positive, or what TrainSet refuses.
    """
    if num < 1:
        raise InputError(f"{num} pictures are none; give at least 1")
    train_set = TrainSet(samples, categories, config, seed=seed)
    ordered = sorted(categories, key=lambda category: category.id)
    pairs = [_pair(train_set[index], ordered) for index in range(num)]
    height, width = pairs[0].shape[:2]
    num_rows = -(-num // _COLUMNS)
    sheet = np.full((num_rows * (height + _GAP) + _GAP, _COLUMNS * (width + _GAP) + _GAP, 3), _PAPER, dtype=np.uint8)
    for place, pair in enumerate(pairs):
        row, column = divmod(place, _COLUMNS)
        top, left = _GAP + row * (height + _GAP), _GAP + column * (width + _GAP)
        sheet[top : top + height, left : left + width] = pair
    return sheet


def _pair(item: TrainItem, categories: Sequence[Category]) -> NDArray[np.uint8]:
    """The augmented photo, and the same under its segments; ignored pixels are dark."""
    image = np.ascontiguousarray(item.image.transpose(1, 2, 0))
    areas = np.bincount(item.label_map[item.label_map >= 0], minlength=len(item.categories))
    segments = [
        Segment(row + 1, categories[category].id, int(areas[row]), (0, 0, 0, 0))
        for row, category in enumerate(item.categories.tolist())
    ]
    drawn = draw_panoptic(image, item.label_map.astype(np.int32) + 1, segments, categories)
    scale = _SIDE / max(image.shape[:2])
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    return np.hstack([cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in (image, drawn)]).astype(
        np.uint8, copy=False
    )
