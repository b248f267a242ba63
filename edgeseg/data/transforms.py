"""Geometry and colour between a photo and the network's input."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeseg.config import DataConfig
from edgeseg.structures import IGNORE

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


def augment(
    image: NDArray[np.uint8], label_map: NDArray[np.int16], rng: np.random.Generator, config: DataConfig
) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """Random zoom, crop, flips, turns and colour, the same for photo and label.

    Turns by 90 degrees come with `flip_vertical`, and only where the network's input is square. Padding stays right and
    below, as in `letterbox`, so that the network meets it where it will meet it later.

    Args:
        image: (H, W, 3) uint8 RGB.
        label_map: (H, W) int16.
        rng: All randomness.
        config: image_size, flip, flip_vertical, min_scale, max_scale, color_jitter.

    Returns:
        (h, w, 3) uint8 and (h, w) int16 at config.image_size; padding is 0 and IGNORE.
    """
    zoom = rng.uniform(config.min_scale, config.max_scale)
    fitted = fitted_size((image.shape[0], image.shape[1]), config.image_size)
    zoomed = max(1, round(fitted[0] * zoom)), max(1, round(fitted[1] * zoom))
    height, width = min(zoomed[0], config.image_size[0]), min(zoomed[1], config.image_size[1])
    top, left = int(rng.integers(zoomed[0] - height + 1)), int(rng.integers(zoomed[1] - width + 1))
    picture = _resize(image, zoomed)[top : top + height, left : left + width]
    rows = _nearest_source(zoomed[0], image.shape[0], 1)[top : top + height]
    columns = _nearest_source(zoomed[1], image.shape[1], 1)[left : left + width]
    label = label_map[rows].take(columns, axis=1)
    if config.color_jitter > 0:
        picture = _jitter_color(picture, rng, config.color_jitter)
    if config.flip and rng.random() < 0.5:
        picture, label = picture[:, ::-1], label[:, ::-1]
    if config.flip_vertical and rng.random() < 0.5:
        picture, label = picture[::-1], label[::-1]
    if config.flip_vertical and config.image_size[0] == config.image_size[1] and rng.random() < 0.5:
        picture, label = np.rot90(picture), np.rot90(label)
    out_image = np.zeros((*config.image_size, 3), dtype=np.uint8)
    out_label = np.full(config.image_size, IGNORE, dtype=np.int16)
    out_image[: picture.shape[0], : picture.shape[1]] = picture
    out_label[: label.shape[0], : label.shape[1]] = label
    return out_image, out_label


def _jitter_color(image: NDArray[np.uint8], rng: np.random.Generator, strength: float) -> NDArray[np.uint8]:
    """Brightness, contrast about the image's mean and a gain for each channel, as one table of 256 x 3 entries."""
    brightness, contrast = 1 + rng.uniform(-strength, strength, size=2)
    gains = brightness * (1 + rng.uniform(-strength, strength, size=3))
    image = np.ascontiguousarray(image)
    mean = np.mean(cv2.mean(image)[:3])
    levels = np.arange(256)[:, None]
    table = np.clip(((levels - mean) * contrast + mean) * gains + 0.5, 0, 255).astype(np.uint8)
    return cv2.LUT(image, table[None]).astype(np.uint8, copy=False)


def _resize(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Averages where the image shrinks, bilinear where it grows."""
    if image.shape[:2] == size:
        return image
    mode = cv2.INTER_AREA if size[0] < image.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(image, (size[1], size[0]), interpolation=mode).astype(np.uint8, copy=False)


def _nearest_source(out_length: int, in_length: int, factor: int) -> NDArray[np.int64]:
    """Index below each output pixel's centre, in a line of `in_length` pixels stored `factor` times coarser."""
    return (2 * np.arange(out_length) + 1) * in_length // (2 * out_length * factor)
