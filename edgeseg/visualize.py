"""Panoptic results as pictures people can read."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from edgeseg.structures import Category, InputError, Segment

MIN_SIDE = 480
"""A picture whose shorter side is smaller is enlarged by a whole factor first, so that names stay legible."""

Color = tuple[int, int, int]

_GOLDEN = 0.618034  # multiples of it modulo 1 spread evenly however many there are
_PLASTIC = 0.754878  # the same for a second dimension (R. Kronecker's sequence on the plastic number)
_VOID_DIM = 0.35  # what is left of a void pixel's brightness
_INK, _PAPER = (245, 246, 248), (22, 24, 29)


@dataclass(frozen=True)
class _Label:
    text: str
    box: tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels of the picture
    color: Color


def enlargement(height: int, width: int) -> int:
    """Whole factor by which `draw_panoptic` enlarges an image of this size."""
    return max(1, math.ceil(MIN_SIDE / min(height, width)))


def segment_colors(segments: Sequence[Segment], categories: Sequence[Category]) -> dict[int, Color]:
    """A colour for each segment id: stuff takes its category's, things a shade of it by rank of their id.

    Raises:
        InputError: A segment's category is not in the list.
    """
    by_id = {category.id: category for category in categories}
    ranks: dict[int, int] = {}
    colors: dict[int, Color] = {}
    for segment in sorted(segments, key=lambda s: s.id):
        category = by_id.get(segment.category_id)
        if category is None:
            raise InputError(
                f"segment {segment.id} has category {segment.category_id}, but the categories are {sorted(by_id)}; "
                "draw it with the category list of its own data set"
            )
        rank = ranks.get(category.id, 0)
        ranks[category.id] = rank + 1
        colors[segment.id] = _shade(category.color, rank) if category.is_thing else category.color
    return colors


def draw_panoptic(
    image: NDArray[np.uint8],
    panoptic_map: NDArray[np.int32],
    segments: Sequence[Segment],
    categories: Sequence[Category],
    *,
    alpha: float = 0.55,
    outlines: bool = True,
    names: bool = True,
) -> NDArray[np.uint8]:
    """Lays segments over a photo: colours, borders, names; crowds hatched, void darkened.

    Args:
        image: (H, W, 3) uint8 RGB.
        panoptic_map: (H, W) segment ids, 0 = void.
        segments: Table of the map's ids; rows without a pixel draw nothing.
        categories: The data set's categories.
        alpha: Weight of the colour against the photo, 0..1.
        outlines: Draw the borders between segments.
        names: Write category names into segments that have room for them.

    Returns:
        (s H, s W, 3) uint8 RGB with s = `enlargement(H, W)`.

    Raises:
        InputError: Image and map differ in size, or the map holds an id that the table does not list.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.shape[:2] != panoptic_map.shape:
        raise InputError(f"image {image.shape} and panoptic map {panoptic_map.shape} must be (H, W, 3) and (H, W)")
    colors = segment_colors(segments, categories)
    ids, dense = np.unique(panoptic_map, return_inverse=True)
    unlisted = sorted(set(ids.tolist()) - {0} - set(colors))
    if unlisted:
        raise InputError(
            f"the panoptic map holds segment {unlisted[0]}, which its table ({len(colors)} rows) does not list"
        )

    height, width = panoptic_map.shape
    scale = enlargement(height, width)
    photo = cv2.resize(image, (width * scale, height * scale), interpolation=cv2.INTER_CUBIC) if scale > 1 else image
    index = dense.reshape(height, width).repeat(scale, axis=0).repeat(scale, axis=1)

    palette = np.array([colors.get(int(i), (0, 0, 0)) for i in ids], dtype=np.float32)
    weight = np.full(len(ids), alpha, dtype=np.float32)
    weight[ids == 0] = 1.0 - _VOID_DIM
    opacity = weight[index]  # (s H, s W)
    crowd_ids = [segment.id for segment in segments if segment.is_crowd]
    if crowd_ids:
        opacity = np.where(np.isin(ids, crowd_ids)[index], _hatching(*index.shape) * alpha, opacity)
    picture = photo * (1.0 - opacity[..., None]) + palette[index] * opacity[..., None]
    if outlines:
        _draw_outlines(picture, index, palette, void=ids == 0)
    drawn = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
    return _draw_names(drawn, panoptic_map, segments, categories, colors, scale) if names else drawn


def draw_legend(
    categories: Sequence[Category], *, width: int, with_void: bool = False, font_size: int | None = None
) -> NDArray[np.uint8]:
    """A strip of colour chips with names, things first, wrapped to the width.

    Args:
        categories: What to list.
        width: Width of the strip in pixels.
        with_void: Add a chip for void.
        font_size: In pixels; what suits a single picture of this width by default.

    Returns:
        (h, width, 3) uint8 RGB, h as the rows need.
    """
    font = _font(font_size or max(13, width // 42))
    entries = [(c.name, c.color) for c in sorted(categories, key=lambda c: not c.is_thing)]
    if with_void:
        entries.append(("void", (0, 0, 0)))
    line, pad = int(font.size * 1.7), int(font.size * 0.6)
    places: list[tuple[int, int]] = []
    x, y = pad, pad
    for name, _ in entries:
        needed = line + int(font.getlength(name)) + 2 * pad
        if x > pad and x + needed > width:
            x, y = pad, y + line
        places.append((x, y))
        x += needed
    strip = Image.new("RGB", (width, y + line + pad if entries else pad), _PAPER)
    draw = ImageDraw.Draw(strip)
    chip = int(font.size)
    for (name, color), (left, top) in zip(entries, places, strict=True):
        box = (left, top + (line - chip) // 2, left + chip, top + (line + chip) // 2)
        draw.rounded_rectangle(box, radius=chip // 4, fill=color, outline=_INK)
        draw.text((left + line * 2 // 3 + pad // 2, top + line // 2), name, font=font, fill=_INK, anchor="lm")
    return np.asarray(strip)


def overlay_with_legend(
    image: NDArray[np.uint8],
    panoptic_map: NDArray[np.int32],
    segments: Sequence[Segment],
    categories: Sequence[Category],
    *,
    alpha: float = 0.55,
) -> NDArray[np.uint8]:
    """`draw_panoptic` with a legend of the categories in the picture below it.

    Returns:
        (s H + h, s W, 3) uint8 RGB.
    """
    picture = draw_panoptic(image, panoptic_map, segments, categories, alpha=alpha)
    present = {segment.category_id for segment in segments}
    shown = [category for category in categories if category.id in present]
    legend = draw_legend(shown, width=picture.shape[1], with_void=bool((panoptic_map == 0).any()))
    return np.concatenate([picture, legend])


def _shade(color: Color, rank: int) -> Color:
    """The category's colour for rank 0, then shades that differ in lightness and a little in hue."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*(c / 255 for c in color))
    hue += 0.10 * ((rank * _PLASTIC + 0.5) % 1.0 - 0.5)
    spread = 0.44 * ((rank * _GOLDEN + 0.5) % 1.0 - 0.5)
    lightness = min(max(lightness, 0.36), 0.66) + spread if rank else lightness
    red, green, blue = colorsys.hls_to_rgb(hue % 1.0, lightness, saturation)
    return round(red * 255), round(green * 255), round(blue * 255)


def _hatching(height: int, width: int) -> NDArray[np.float32]:
    """(height, width) factor of the opacity: diagonal stripes, 5 pixels strong and 5 faint."""
    diagonal = (np.arange(height)[:, None] + np.arange(width)[None, :]) % 10
    return np.where(diagonal < 5, 1.4, 0.25).astype(np.float32)


def _draw_outlines(
    picture: NDArray[np.float32], index: NDArray[np.intp], palette: NDArray[np.float32], *, void: NDArray[np.bool_]
) -> None:
    """Draws two-pixel borders into `picture`, each side in a light or dark tone of its own segment."""
    border = np.zeros(index.shape, dtype=bool)
    down, right = index[1:] != index[:-1], index[:, 1:] != index[:, :-1]
    border[1:] |= down
    border[:-1] |= down
    border[:, 1:] |= right
    border[:, :-1] |= right
    ink = palette * 0.35 + 255 * 0.65
    ink[void] = 60
    picture[border] = ink[index[border]]


def _draw_names(
    picture: NDArray[np.uint8],
    panoptic_map: NDArray[np.int32],
    segments: Sequence[Segment],
    categories: Sequence[Category],
    colors: Mapping[int, Color],
    scale: int,
) -> NDArray[np.uint8]:
    font = _font(max(12, min(picture.shape[:2]) // 38))
    by_id = {category.id: category.name for category in categories}
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas, "RGBA")
    placed: list[_Label] = []
    for segment in sorted(segments, key=lambda s: (-s.area, s.id)):
        text = by_id[segment.category_id] + (" (crowd)" if segment.is_crowd else "")
        label = _place(text, panoptic_map == segment.id, font, scale, placed, colors[segment.id])
        if label is not None:
            placed.append(label)
    for label in placed:
        x0, y0, x1, y1 = label.box
        draw.rounded_rectangle(label.box, radius=4, fill=(12, 13, 16, 205), outline=(*label.color, 255))
        draw.text(((x0 + x1) / 2, (y0 + y1) / 2), label.text, font=font, fill=(255, 255, 255, 255), anchor="mm")
    return np.asarray(canvas)


def _place(
    text: str,
    mask: NDArray[np.bool_],
    font: ImageFont.FreeTypeFont,
    scale: int,
    placed: Sequence[_Label],
    color: Color,
) -> _Label | None:
    """Puts a label on the deepest interior point that is free of other labels; None in too small a segment."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    label_width, label_height = int(font.getlength(text)) + 10, int(font.size * 1.3) + 2
    if not rows.size or (columns[-1] - columns[0] + 1) * scale < 0.7 * label_width:
        return None
    top, left = int(rows[0]), int(columns[0])
    window = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1)  # the picture's edge is a border too
    depth = cv2.distanceTransform(window.astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    picture_height, picture_width = mask.shape[0] * scale, mask.shape[1] * scale
    for _ in range(6):
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        if depth[y, x] * scale < 0.5 * label_height:
            return None
        center_x, center_y = (left + int(x) + 0.5) * scale, (top + int(y) + 0.5) * scale
        x0 = int(min(max(center_x - label_width / 2, 0), max(picture_width - label_width, 0)))
        y0 = int(min(max(center_y - label_height / 2, 0), max(picture_height - label_height, 0)))
        box = (x0, y0, x0 + label_width, y0 + label_height)
        hit = next((grown for other in placed if _overlap(box, grown := _grown(other.box))), None)
        if hit is None:
            return _Label(text, box, color)
        # Strike out every centre whose label would touch the one that is in the way.
        strike_x = slice(*_span(hit[0] - label_width / 2, hit[2] + label_width / 2, left, scale))
        strike_y = slice(*_span(hit[1] - label_height / 2, hit[3] + label_height / 2, top, scale))
        depth[strike_y, strike_x] = 0
    return None


def _grown(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """With the gap that keeps two labels apart."""
    return box[0] - 3, box[1] - 3, box[2] + 3, box[3] + 3


def _span(start: float, stop: float, origin: int, scale: int) -> tuple[int, int]:
    return max(0, math.floor(start / scale) - origin), max(0, math.ceil(stop / scale) - origin)


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)  # Aileron, which comes inside Pillow: the same picture on every machine
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise InputError(
            'this Pillow was built without FreeType; install the wheel: pip install --force-reinstall "pillow>=10.1"'
        )
    return font
