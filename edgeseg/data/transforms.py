"""Geometry between a photo and the network's input."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Integer = TypeVar("Integer", bound=np.integer)


def fitted_size(original_size: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """The largest (height, width) of the original's aspect ratio inside `size`, at least 1; halves round up."""
    (height, width), (max_height, max_width) = original_size, size
    if height * max_width >= width * max_height:  # the height touches first
        return max_height, max(1, (2 * width * max_height + height) // (2 * height))
    return max(1, (2 * height * max_width + width) // (2 * width)), max_width


def letterbox(image: NDArray[np.uint8], size: tuple[int, int]) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Scales an image to fit, puts it top-left and pads right and below with zeros.

    Args:
        image: (H, W, 3) uint8.
        size: (height, width) of the network's input.

    Returns:
        (height, width, 3) uint8, and the (height, width) that the image fills.
    """
    fitted = fitted_size((image.shape[0], image.shape[1]), size)
    padded = np.zeros((*size, 3), dtype=np.uint8)
    padded[: fitted[0], : fitted[1]] = _resize(image, fitted)
    return padded, fitted


def unletterbox_map(
    slot_map: NDArray[Integer], fitted: tuple[int, int], network_size: tuple[int, int], original_size: tuple[int, int]
) -> NDArray[Integer]:
    """Brings a map of the network back to the photo: each pixel takes the nearest map pixel inside the fitted part.

    Args:
        slot_map: (h, w), an integer factor smaller than `network_size` or equal to it.
        fitted: What `letterbox` returned.
        network_size: (height, width) of the network's input.
        original_size: (H, W) of the photo.

    Returns:
        (H, W), dtype of `slot_map`.

    Raises:
        ValueError: The map is not `network_size` over one integer.
    """
    factor = network_size[0] // slot_map.shape[0]
    if (slot_map.shape[0] * factor, slot_map.shape[1] * factor) != tuple(network_size):
        raise ValueError(f"map {slot_map.shape} is not the network's {network_size} over an integer")
    rows = _nearest_source(original_size[0], fitted[0], factor)
    columns = _nearest_source(original_size[1], fitted[1], factor)
    return slot_map[rows].take(columns, axis=1)


def _resize(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Averages where the image shrinks, bilinear where it grows."""
    if image.shape[:2] == size:
        return image
    mode = cv2.INTER_AREA if size[0] < image.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(image, (size[1], size[0]), interpolation=mode).astype(np.uint8, copy=False)


def _nearest_source(out_length: int, in_length: int, factor: int) -> NDArray[np.int64]:
    """Index below each output pixel's centre, in a line of `in_length` pixels stored `factor` times coarser."""
    return (2 * np.arange(out_length) + 1) * in_length // (2 * out_length * factor)
