"""The picture being painted: an image, its index map, and the camera that maps metres onto both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeseg.data.street_scene import Camera, Light, Rgb

_SHIFT = 4
"""Sub-pixel bits of cv2's drawing functions."""
_STEPS = 1 << _SHIFT

STUFF_INDEX = {
    name: index + 1
    for index, name in enumerate(("sky", "road", "sidewalk", "building", "wall", "vegetation", "terrain", "water"))
}
"""Value of stuff in the index map; 0 is void, things count on from 9."""

Polygons = Sequence[NDArray[np.float64]] | NDArray[np.float64]
"""Polygons of any lengths as a list of (n, d), or of one length as (m, n, d)."""


@dataclass(frozen=True)
class Canvas:
    """Image and label, painted together; the arrays change in place.

    Attributes:
        image: (H, W, 3) uint8 RGB, drawn with smooth edges.
        index: (H, W) uint8 label, drawn with hard edges.
        camera: Maps metres to units of the shorter side.
        light: Shades what is painted.
        unit: Pixels of the shorter side.
        center: Vanishing point (x, y) in pixels.
    """

    image: NDArray[np.uint8]
    index: NDArray[np.uint8]
    camera: Camera
    light: Light
    unit: float
    center: tuple[float, float]

    @classmethod
    def blank(cls, camera: Camera, light: Light, size: tuple[int, int]) -> Canvas:
        """A black canvas of void, size (height, width)."""
        unit = float(min(size))
        center = (camera.center[0] * unit, camera.center[1] * unit)
        return cls(np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8), camera, light, unit, center)

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Maps (..., 3) metres to (..., 2) pixels."""
        return self.camera.project(points) * self.unit

    def fill3d(self, polygons: Polygons, color: Rgb, index: int | None) -> None:
        """Paints polygons of corners in metres (d = 3), all in front of the camera; else as `fill`."""
        if isinstance(polygons, np.ndarray):
            self._paint(list(self._project_fixed(polygons)), color, index)
        else:
            self._paint([self._project_fixed(polygon) for polygon in polygons], color, index)

    def fill(self, polygons: Polygons, color: Rgb, index: int | None) -> None:
        """Paints polygons of corners in pixels (d = 2); index None leaves the label as it is. Overlaps are holes."""
        if isinstance(polygons, np.ndarray):
            self._paint(list(_to_fixed(polygons)), color, index)
        else:
            self._paint([_to_fixed(polygon) for polygon in polygons], color, index)

    def label(self, polygon: NDArray[np.float64], index: int) -> None:
        """Paints an (n, 2) polygon in pixels into the label only."""
        cv2.fillPoly(self.index, [_to_fixed(polygon)], index, cv2.LINE_8, _SHIFT)

    def fill_hull(self, mask: NDArray[np.uint8], points: NDArray[np.float64], value: int) -> None:
        """Paints the convex hull of (n, 3) points in metres into another mask of the canvas' size."""
        cv2.fillConvexPoly(mask, cv2.convexHull(self._project_fixed(points)), value, cv2.LINE_8, _SHIFT)

    def _paint(self, corners: Sequence[NDArray[np.int32]], color: Rgb, index: int | None) -> None:
        if not len(corners):
            return
        cv2.fillPoly(self.image, corners, color, cv2.LINE_AA, _SHIFT)
        if index is not None:
            cv2.fillPoly(self.index, corners, index, cv2.LINE_8, _SHIFT)

    def _project_fixed(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        eye, focal, center = self._fixed_point
        return ((points[..., :2] - eye) / points[..., 2:] * focal + center).astype(np.int32)

    @cached_property
    def _fixed_point(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """`project` then `_to_fixed` in one step."""
        focal = self.camera.focal * self.unit * _STEPS
        center = np.array(self.center) * _STEPS - (_STEPS / 2 - 0.5)
        return np.array([0.0, self.camera.elevation]), np.array([focal, -focal]), center


def _to_fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Pixels as cv2's fixed-point numbers (there, whole ones are pixel centres)."""
    return (points * _STEPS - (_STEPS / 2 - 0.5)).astype(np.int32)
