"""Pictures of what each file answers, with a map of the pixels where it differs from torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edgeseg.bench.report_data import Example, Picture
from edgeseg.export.verify import equal_pixels
from edgeseg.merge import merged_to_segments
from edgeseg.structures import Category, Merged
from edgeseg.visualize import draw_panoptic, enlargement

_Kind = TypeVar("_Kind", bound=np.generic)
_DIFFERENT = (235, 30, 30)
_FADED = 0.55  # of the photo's brightness under a difference map


@dataclass(frozen=True)
class Answer:
    """What a file says about an image, and the precision of the torch model that it is held against."""

    merged: Merged
    precision: str


def compared_example(
    name: str,
    image: NDArray[np.uint8],
    torchs: Mapping[str, Merged],
    answers: Mapping[str, Answer],
    categories: Sequence[Category],
    *,
    before: Sequence[Picture] = (),
) -> Example:
    """Torch at each precision, then every file, each with a difference map where a pixel differs.

    Args:
        name: Of the photo.
        image: (H, W, 3) uint8 RGB, letterboxed: what the networks saw.
        torchs: Torch's answers by precision.
        answers: By a file's short name.
        categories: In order of their contiguous index.
        before: Pictures that stand first, such as the photo and the truth.
    """
    pictures = list(before)
    for precision, merged in torchs.items():
        pictures.append(Picture(f"torch {precision}", _overlay(image, merged, categories)))
    for file, answer in answers.items():
        is_different = ~equal_pixels(answer.merged, torchs[answer.precision])
        share = float(is_different.mean())
        note = f"{share:.2%} of the pixels differ" if share else "no pixel differs"
        pictures.append(Picture(file, _overlay(image, answer.merged, categories), note))
        if share:
            pictures.append(Picture(f"{file}: difference", difference_map(image, is_different)))
    return Example(name, tuple(pictures))


def difference_map(image: NDArray[np.uint8], is_different: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The photo in faded gray, red where a pixel differs.

    Args:
        image: (H, W, 3) uint8 RGB.
        is_different: (h, w), h and w divide H and W.

    Returns:
        (s H, s W, 3) uint8 RGB, as large as `draw_panoptic` makes it.
    """
    height, width = image.shape[:2]
    scale = enlargement(height, width)
    gray = (image.astype(np.float32).mean(axis=2, keepdims=True) * _FADED).astype(np.uint8).repeat(3, axis=2)
    picture: NDArray[np.uint8] = gray.repeat(scale, axis=0).repeat(scale, axis=1)
    picture[_enlarged(is_different, (scale * height, scale * width))] = _DIFFERENT
    return picture


def _overlay(image: NDArray[np.uint8], merged: Merged, categories: Sequence[Category]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    slot_map = _enlarged(merged.slot_map, (height, width))
    return draw_panoptic(image, *merged_to_segments(merged, slot_map, categories), categories)


def _enlarged(pixels: NDArray[_Kind], size: tuple[int, int]) -> NDArray[_Kind]:
    return pixels.repeat(size[0] // pixels.shape[0], axis=0).repeat(size[1] // pixels.shape[1], axis=1)
