"""Polygons, boxes, ellipses, run lengths as masks.

Polygons are filled by pycocotools, so that masks are those that COCO's own tools compute: a pixel belongs to a polygon
if its centre does, to a fifth of a pixel. Coordinates count from the image's top left corner, so its lower right corner
is (width, height).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from edgeseg.data.convert.records import Rle, Size
from edgeseg.structures import InputError

OUTSIDE_PIXELS = 1.0
"""A point this far outside the image is rounding of the labelling tool and moved onto the edge; farther is refused."""


def polygon_rle(polygons: Iterable[Sequence[float]], size: Size, where: str) -> Rle:
    """The union of polygons.

    Args:
        polygons: Each x0, y0, x1, y1, ... in pixels.
        size: Of the image.
        where: Named in errors.

    Raises:
        InputError: A polygon has fewer than 3 points, half a point, or a point that is no number or outside the image.
    """
    parts = []
    for polygon in polygons:
        if len(polygon) % 2 or len(polygon) < 6:
            raise InputError(
                f"{where}: a polygon of {len(polygon)} numbers; 3 points (6 numbers) or more are wanted: redraw it"
            )
        points = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
        parts.append(_inside(points, size, where).ravel().tolist())
    if not parts:
        raise InputError(f"{where}: no polygon; draw one, or remove the row")
    rle: Rle = coco_mask.merge(coco_mask.frPyObjects(parts, *size))
    return rle


def box_rle(corners: tuple[float, float, float, float], size: Size, where: str, *, degrees: float = 0.0) -> Rle:
    """A rectangle x0, y0, x1, y1, turned clockwise about its centre.

    Raises:
        InputError: A corner is outside the image.
    """
    x0, y0, x1, y1 = corners
    center = np.array([x0 + x1, y0 + y1]) / 2
    points = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) - center
    return polygon_rle([(points @ _turn(degrees) + center).ravel().tolist()], size, where)


def ellipse_rle(
    center: tuple[float, float], radii: tuple[float, float], size: Size, where: str, *, degrees: float = 0.0
) -> Rle:
    """An ellipse, turned clockwise about its centre.

    The part outside the image is cut off: labelling tools let people draw so.

    Raises:
        InputError: A number is not finite, a radius not positive, or the centre is outside the image.
    """
    if not all(map(math.isfinite, (*center, *radii, degrees))) or min(radii) <= 0:
        raise InputError(f"{where}: an ellipse with radii {radii[0]:g}, {radii[1]:g}; positive numbers are wanted")
    _inside(np.array([center], dtype=np.float64), size, where)
    y, x = np.mgrid[: size[0], : size[1]]
    offset = np.stack([x + 0.5 - center[0], y + 0.5 - center[1]], axis=-1) @ _turn(degrees).T
    return mask_rle(((offset / np.array(radii)) ** 2).sum(axis=-1) <= 1)


def mask_rle(mask: NDArray[np.bool_]) -> Rle:
    """A (H, W) mask of the whole image."""
    rle: Rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return rle


def patch_rle(patch: NDArray[np.bool_], left: int, top: int, size: Size, where: str) -> Rle:
    """A mask of a part of the image.

    Raises:
        InputError: It reaches outside the image.
    """
    height, width = patch.shape
    if left < 0 or top < 0 or top + height > size[0] or left + width > size[1]:
        raise InputError(
            f"{where}: a mask at x {left} .. {left + width}, y {top} .. {top + height} reaches outside the image "
            f"({size[1]} wide, {size[0]} high); redraw it"
        )
    mask = np.zeros(size, dtype=bool)
    mask[top : top + height, left : left + width] = patch
    return mask_rle(mask)


def runs_mask(runs: Sequence[int], size: Size, where: str, *, by_columns: bool = True) -> NDArray[np.bool_]:
    """Run lengths, the first one of zeros, as a mask.

    Args:
        runs: Lengths that sum up to height x width.
        size: Of the mask.
        where: Named in errors.
        by_columns: COCO's order; CVAT runs along rows.

    Raises:
        InputError: A run is negative, or the sum is another.
    """
    if any(type(run) is not int or run < 0 for run in runs) or sum(runs) != size[0] * size[1]:
        raise InputError(
            f"{where}: run lengths must be whole numbers that sum up to {size[0]} x {size[1]} = {size[0] * size[1]}; "
            "export it again"
        )
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(size, order="F" if by_columns else "C")


def decompress_runs(text: str, where: str) -> list[int]:
    """COCO's compressed run lengths as numbers.

    A character holds 5 bits, low ones first, and whether more follow; from the fourth on, a number is the difference to
    the run before last. Source: the format of cocoapi's maskApi.c (rleFrString), whose C code trusts its input.

    Raises:
        InputError: A character that the format does not have, or the text ends within a number.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise InputError(f"{where}: run lengths hold {character!r} where it cannot stand; export it again")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise InputError(f"{where}: run lengths end within a number; export it again")
    return runs


def _turn(degrees: float) -> NDArray[np.float64]:
    """Right factor that turns row vectors clockwise (y points down)."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cosine, sine], [-sine, cosine]])


def _inside(points: NDArray[np.float64], size: Size, where: str) -> NDArray[np.float64]:
    """The points, at most `OUTSIDE_PIXELS` of rounding moved onto the edge."""
    limit = np.array([size[1], size[0]], dtype=np.float64)
    is_far = ~((points >= -OUTSIDE_PIXELS) & (points <= limit + OUTSIDE_PIXELS)).all(axis=1)  # NaN is far, too
    if is_far.any():
        x, y = points[is_far][0]
        raise InputError(
            f"{where}: point ({x:g}, {y:g}) is outside the image ({size[1]} wide, {size[0]} high); redraw it"
        )
    return np.clip(points, 0, limit)
