"""Random geometry and colour, the same for a photo and its label."""

from __future__ import annotations

from typing import NamedTuple, TypeVar, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from edgeseg.config import DataConfig
from edgeseg.data.photo import REDUCTIONS, LabelledPhoto
from edgeseg.data.transforms import fitted_size
from edgeseg.structures import InputError

Pixel = TypeVar("Pixel", bound=np.integer)

SHRINKAGE_LEFT = 1.5
"""How far a photo must still shrink after it was decoded to a fraction of its size.

So it differs from the photo that was decoded in full and then shrunk by less than the antialiased filter does from
INTER_AREA (docs/data-loading.md).
"""

_FLIP_CODES = {(False, False): None, (True, False): 1, (False, True): 0, (True, True): -1}
"""cv2's, by (left to right, up to down)."""


class View(NamedTuple):
    """One look at a sample, of the network's size.

    Attributes:
        image: (3, h, w) uint8 RGB; padding is 0.
        panoptic_map: (h, w) int32 or uint8 segment ids; padding is 0 like void.
    """

    image: NDArray[np.uint8]
    panoptic_map: NDArray[np.integer]


def check_augmentation(config: DataConfig) -> None:
    """Refuses numbers that mean nothing.

    Raises:
        InputError: A scale is not positive or the smallest is above the largest; a share or a strength is not in 0..1;
            the image size has no pixel.
    """
    if min(config.image_size) < 1:
        raise InputError(f"data.image_size = {list(config.image_size)} has no pixel; give height and width in pixels")
    if not 0 < config.min_scale <= config.max_scale < float("inf"):
        raise InputError(
            f"data.min_scale = {config.min_scale} and data.max_scale = {config.max_scale} are no range of zooms; "
            "give 0 < min_scale <= max_scale, 1 fits the image into the network's input"
        )
    for name in ("color_jitter", "copy_paste", "balance"):
        value = getattr(config, name)
        if not 0 <= value <= 1:
            raise InputError(f"data.{name} = {value} is outside 0 .. 1; 0 switches it off")


class Look(NamedTuple):
    """One way of looking at a photo and its label.

    Attributes:
        rows: Of the photo that are shown; they start at a multiple of `reduction`.
        columns: Likewise.
        size: (height, width) that they fill in the canvas.
        canvas: (height, width) of the network's input.
        is_turned: Whether photo and label are turned by 90 degrees, before they are resized.
        mirror: cv2's flip code, None for no mirror.
        light: Change of the colours.
        reduction: 1, 2, 4 or 8; to this fraction the photo may be decoded, as it shrinks further than that.
    """

    rows: slice
    columns: slice
    size: tuple[int, int]
    canvas: tuple[int, int]
    is_turned: bool
    mirror: int | None
    light: _ColorChange | None
    reduction: int


def draw_look(
    photo_size: tuple[int, int], rng: np.random.Generator, config: DataConfig, *, relative_zoom: float = 1.0
) -> Look:
    """Draws zoom (large-scale jitter), crop, flips, turns and colour.

    Turns by 90 degrees come with `flip_vertical`, and only where the input is square.

    Args:
        photo_size: (height, width).
        rng: All randomness.
        config: image_size, flip, flip_vertical, min_scale, max_scale, color_jitter.
        relative_zoom: Factor of the range of zooms.
    """
    canvas = config.image_size
    zoom = relative_zoom * rng.uniform(config.min_scale, config.max_scale)
    fitted = fitted_size(photo_size, canvas)
    zoomed = max(1, round(fitted[0] * zoom)), max(1, round(fitted[1] * zoom))
    shrinkage = min(photo_size[0] / zoomed[0], photo_size[1] / zoomed[1]) / SHRINKAGE_LEFT
    reduction = max(factor for factor in (1, *REDUCTIONS) if factor <= max(1, shrinkage))
    height, rows = _window(photo_size[0], zoomed[0], canvas[0], rng, step=reduction)
    width, columns = _window(photo_size[1], zoomed[1], canvas[1], rng, step=reduction)
    light = _draw_color(rng, config.color_jitter)
    left_right = config.flip and rng.random() < 0.5
    up_down = config.flip_vertical and rng.random() < 0.5
    is_turned = bool(config.flip_vertical and canvas[0] == canvas[1] and rng.random() < 0.5)
    size = (width, height) if is_turned else (height, width)
    return Look(rows, columns, size, canvas, is_turned, _FLIP_CODES[left_right, up_down], light, reduction)


def augment(
    photo: NDArray[np.uint8] | LabelledPhoto,
    panoptic_map: NDArray[np.integer],
    rng: np.random.Generator,
    config: DataConfig,
    *,
    relative_zoom: float = 1.0,
) -> View:
    """Photo and label under a look that is drawn for them.

    Args:
        photo: (H, W, 3) uint8 RGB, or where it lies.
        panoptic_map: (H, W) int32 or uint8, as that of the view will be.
        rng: All randomness.
        config: As in `draw_look`.
        relative_zoom: As in `draw_look`.

    Raises:
        InputError: The photo cannot be read.
    """
    height, width = panoptic_map.shape
    look = draw_look((height, width), rng, config, relative_zoom=relative_zoom)
    view = View(np.empty((3, *look.canvas), np.uint8), np.empty(look.canvas, panoptic_map.dtype))
    paint_photo(photo, look, into=view.image)
    lay_label(cut_label(panoptic_map, look), look, into=view.panoptic_map, padding=0)
    return view


def paint_photo(photo: NDArray[np.uint8] | LabelledPhoto, look: Look, *, into: NDArray[np.uint8]) -> None:
    """Shows the photo as `look` says.

    The crop is cut out before it is resized, at whole pixels of the photo: photo and label show exactly the same part,
    and nothing is computed that no one sees. Padding stays right and below, as in `letterbox`: the network meets it
    where it will meet it later.

    Args:
        photo: (H, W, 3) uint8 RGB, or where it lies.
        look: Drawn for its size.
        into: (3, h, w) uint8 of the canvas's size, written.

    Raises:
        InputError: The photo cannot be read.
    """
    if isinstance(photo, LabelledPhoto):
        picture, reduction = photo.part(look.rows, look.columns, reduction=look.reduction)
    else:
        picture, reduction = photo[look.rows, look.columns], 1
    span = (look.rows.stop - look.rows.start) / reduction, (look.columns.stop - look.columns.start) / reduction
    height, width = look.size
    # Shrink first, grow last: what lies between has the fewest pixels. Shrink before turning: the last row and column
    # count in part, wherever a turn takes them.
    upright_size = (width, height) if look.is_turned else look.size
    if upright_size[0] < span[0]:
        picture = _shrunk(picture, upright_size, span)
    if look.is_turned:
        picture = _turned(picture)
    for plane, colored in zip(into, _colored(picture, look), strict=True):
        cv2.resize(colored, (width, height), plane[:height, :width], interpolation=cv2.INTER_LINEAR)
    into[:, height:] = 0
    into[:, :height, width:] = 0


def cut_label(panoptic_map: NDArray[Pixel], look: Look) -> NDArray[Pixel]:
    """What `look` shows of a map, not yet mirrored and enlarged: no pixel is lost on the way to `lay_label`.

    Args:
        panoptic_map: (H, W) of the photo.
        look: Drawn for its size.
    """
    label = panoptic_map[look.rows, look.columns]
    if look.is_turned:
        label = _turned(label)
    height, width = look.size
    if height < label.shape[0] or width < label.shape[1]:
        return cast("NDArray[Pixel]", cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST_EXACT))
    return label


def lay_label(label: NDArray[Pixel], look: Look, *, into: NDArray[Pixel], padding: int) -> None:
    """Mirrors and enlarges what `cut_label` gave.

    Args:
        label: Its result, or as many pixels with other values.
        look: The same.
        into: (h, w) of the canvas's size, written.
        padding: Value of the pixels beside the photo.
    """
    height, width = look.size
    if look.mirror is not None:
        label = cast("NDArray[Pixel]", cv2.flip(label, look.mirror))
    cv2.resize(label, (width, height), into[:height, :width], interpolation=cv2.INTER_NEAREST_EXACT)
    into[height:] = padding
    into[:height, width:] = padding


def _shrunk(image: NDArray[np.uint8], size: tuple[int, int], span: tuple[float, float]) -> NDArray[np.uint8]:
    """Antialiased bilinear, as torchvision does it: a third of the time of the INTER_AREA that `letterbox` uses.

    On photos the two differ by 0.4 grey levels on average at 0.9 of the size and by 2.5 at 0.15. The operator is the
    one behind `torch.nn.functional.interpolate`, which does not take a span: the (height, width) in pixels of `image`
    that is shown, whose last row and column may count in part.
    """
    pixels = torch.from_numpy(np.require(image, requirements="W")).permute(2, 0, 1)[None]
    scales = size[0] / span[0], size[1] / span[1]
    small: torch.Tensor = torch.ops.aten._upsample_bilinear2d_aa(pixels, list(size), False, *scales)
    return small[0].permute(1, 2, 0).numpy()


def _turned(pixels: NDArray[Pixel]) -> NDArray[Pixel]:
    return cast("NDArray[Pixel]", cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE))


def _colored(picture: NDArray[np.uint8], look: Look) -> NDArray[np.uint8]:
    """(h, w, 3) to (3, h, w), mirrored and with its colours changed."""
    planes = np.empty((3, *picture.shape[:2]), dtype=np.uint8)
    cv2.split(picture, list(planes))  # making its own arrays, it takes ten times as long
    if look.mirror is not None:
        for plane in planes:
            cv2.flip(plane, look.mirror, plane)  # a tenth of the time that it takes with colours side by side
    if look.light is not None:
        contrast, gains = look.light
        mean = np.mean(cv2.mean(picture[::8])[:3])  # of every eighth row: it need not be exact
        for plane, gain in zip(planes, gains, strict=True):
            cv2.addWeighted(plane, contrast * gain, plane, 0, (1 - contrast) * mean * gain, plane)
    return planes


def _window(length: int, zoomed: int, wanted: int, rng: np.random.Generator, *, step: int) -> tuple[int, slice]:
    """Along one axis: pixels that are shown, and the random part of the photo's `length` pixels they are made from.

    The part starts at a multiple of `step`.
    """
    shown = min(zoomed, wanted)
    source = max(1, round(length * shown / zoomed))
    start = int(rng.integers(length - source + 1))
    start -= start % step
    return shown, slice(start, start + source)


class _ColorChange(NamedTuple):
    """Contrast about the image's mean, then a gain for each channel."""

    contrast: float
    gains: NDArray[np.float64]


def _draw_color(rng: np.random.Generator, strength: float) -> _ColorChange | None:
    if strength == 0:
        return None
    brightness, contrast = 1 + rng.uniform(-strength, strength, size=2)
    return _ColorChange(float(contrast), brightness * (1 + rng.uniform(-strength, strength, size=3)))
