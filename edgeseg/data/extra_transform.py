"""A user's own torchvision transform behind ours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision import tv_tensors

from edgeseg.data.augment import View
from edgeseg.data.segment_table import SegmentTable
from edgeseg.structures import IGNORE, InputError

Extra = Callable[[tv_tensors.Image, tv_tensors.Mask], tuple[torch.Tensor, torch.Tensor]]
"""Such as a torchvision.transforms.v2 transform: (3, h, w) uint8 image and (h, w) int32 mask to the same again.

The mask holds 1 + the label's row, and 0 where pixels are ignored: the zeros that torchvision fills in are right.
"""


def apply_extra(
    extra: Extra, image: NDArray[np.uint8], rows: NDArray[np.int16], categories: NDArray[np.int64], *, seed: int
) -> tuple[View, SegmentTable]:
    """Runs the transform with torch's random stream set for this sample alone.

    Args:
        extra: The transform.
        image: (3, h, w) uint8.
        rows: (h, w) int16, -1 = ignored.
        categories: (M,) of the rows.
        seed: The stream's; the caller's stream is left as it was.

    Returns:
        The view with ids 1 .. M, and their table.

    Raises:
        InputError: The transform changed sizes or types, or invented a label.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        picture, mask = extra(
            tv_tensors.Image(torch.from_numpy(image)), tv_tensors.Mask(torch.from_numpy(rows.astype(np.int32) + 1))
        )
    for name, found, shape, dtype in (
        ("image", picture, image.shape, torch.uint8),
        ("mask", mask, rows.shape, torch.int32),
    ):
        if found.shape != shape or found.dtype != dtype:
            raise InputError(
                f"the extra transform turned the {name} into {tuple(found.shape)} {found.dtype}; it must stay "
                f"{tuple(shape)} {dtype}: end it with a crop or resize to data.image_size"
            )
    ids = mask.numpy()
    if ids.min() < 0 or ids.max() > len(categories):
        raise InputError(
            f"the extra transform made labels {ids.min()} .. {ids.max()} out of 0 .. {len(categories)}; "
            "masks are moved, never blended: let it see tv_tensors.Mask"
        )
    table = SegmentTable(np.arange(len(categories) + 1, dtype=np.int32), np.append(IGNORE, categories))
    return View(picture.numpy(), ids), table
