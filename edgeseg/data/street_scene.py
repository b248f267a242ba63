"""The records of a street scene, in metres.

Nothing here knows pixels: a scene seen at another size is the same scene. X points right, Y up, Z ahead; the camera is
at X = Z = 0 and looks along the road.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Rgb = tuple[float, float, float]
"""Albedo or colour, 0..255."""

BOXES: dict[str, tuple[float, float, float]] = {
    "person": (0.56, 0.76, 2.1),
    "bicycle": (2.15, 0.6, 1.4),
    "car": (4.1, 1.8, 1.5),
    "truck": (7.0, 2.4, 3.1),
    "bus": (8.5, 2.5, 3.1),
    "dog": (1.75, 0.6, 1.3),
    "traffic light": (0.3, 0.75, 3.6),
    "traffic sign": (0.2, 1.15, 2.9),
    "tree": (0.4, 0.4, 5.0),
    "pole": (0.15, 0.15, 5.0),
    "bin": (0.6, 0.6, 1.0),
}
"""Length, width, height in metres; people, bicycles, dogs, lights and signs larger than life, for 128 pixels."""


@dataclass(frozen=True)
class Camera:
    """A pinhole above a flat ground.

    Attributes:
        width: Image width in units of its shorter side.
        height: Image height in units of its shorter side.
        center: Vanishing point of the road, in the same units.
        focal: Focal length, in the same units.
        elevation: Height above the ground in metres.
    """

    width: float
    height: float
    center: tuple[float, float]
    focal: float
    elevation: float

    @property
    def near(self) -> float:
        """Z of ground just below the image's lower edge."""
        return 0.9 * self.focal * self.elevation / (self.height - self.center[1])

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Maps (..., 3) metres to (..., 2) image coordinates (x, y) in units of the shorter side."""
        eye, center, focal = self._constants
        return (points[..., :2] - eye) / points[..., 2:] * focal + center

    @cached_property
    def _constants(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        return np.array([0.0, self.elevation]), np.array(self.center), np.array([self.focal, -self.focal])


@dataclass(frozen=True)
class Light:
    """Sun, sky and air.

    Attributes:
        sun: Unit vector towards the sun.
        ambient: Light on every face, per channel.
        direct: Additional light on a face that looks at the sun.
        shadow: Darkening inside a cast shadow, 0..1.
        sky: Colours at the zenith and at the horizon.
        clouds: Cover, 0..1.
        haze_m: Distance in metres after which 1/e of an object's own colour is left.
        lamps: True where windows and headlights are on.
    """

    sun: tuple[float, float, float]
    ambient: Rgb
    direct: Rgb
    shadow: float
    sky: tuple[Rgb, Rgb]
    clouds: float
    haze_m: float
    lamps: bool

    def shade(self, albedo: Rgb, normal: tuple[float, float, float], z: float) -> Rgb:
        """Colour of a face with that outward normal at distance z in metres."""
        facing = max(0.0, normal[0] * self.sun[0] + normal[1] * self.sun[1] + normal[2] * self.sun[2])
        clear = math.exp(-z / self.haze_m)
        veil, (r, g, b), (red, green, blue) = 1.0 - clear, self.sky[1], albedo
        return (
            min(255.0, red * (self.ambient[0] + self.direct[0] * facing)) * clear + r * veil,
            min(255.0, green * (self.ambient[1] + self.direct[1] * facing)) * clear + g * veil,
            min(255.0, blue * (self.ambient[2] + self.direct[2] * facing)) * clear + b * veil,
        )


@dataclass(frozen=True)
class Strip:
    """A band of ground along (or across) the road, from x0 to x1 and z0 to z1 in metres."""

    category: str
    x0: float
    x1: float
    z0: float
    z1: float
    albedo: Rgb


@dataclass(frozen=True)
class Block:
    """What stands along the road's side: its front at `x`, reaching outwards by `depth`, from z0 to z1."""

    category: Literal["building", "wall", "vegetation"]
    x: float
    z0: float
    z1: float
    height: float
    depth: float
    albedo: Rgb
    look: int


@dataclass(frozen=True)
class Thing:
    """An object on the ground.

    Attributes:
        kind: Key of BOXES; a thing category's name, or an unlabelled prop.
        x: Right of the camera, metres.
        z: Ahead of the camera, metres.
        heading: Angle of its front from +Z towards +X, radians.
        scale: Size relative to BOXES.
        look: Seed of its appearance.
        crowd: Number of the crowd it belongs to, or None.
        riding: True for a person on a bicycle.
    """

    kind: str
    x: float
    z: float
    heading: float
    scale: float
    look: int
    crowd: int | None = None
    riding: bool = False

    @cached_property
    def corners(self) -> NDArray[np.float64]:
        """The (8, 3) corners of its box, the four on the ground first."""
        length, width, height = (self.scale * side for side in BOXES[self.kind])
        sin, cos = math.sin(self.heading), math.cos(self.heading)
        ground = [
            (self.x + a * length * sin + c * width * cos, max(self.z + a * length * cos - c * width * sin, 0.5))
            for a, c in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))
        ]
        return np.array([(x, up, z) for up in (0.0, height) for x, z in ground])

    @cached_property
    def footprint(self) -> tuple[float, float, float, float]:
        """x0, z0, x1, z1 of its box on the ground."""
        (x0, _, z0), (x1, _, z1) = self.corners[:4].min(axis=0).tolist(), self.corners[:4].max(axis=0).tolist()
        return x0, z0, x1, z1


@dataclass(frozen=True)
class Scene:
    """Everything there is to draw.

    Attributes:
        camera: Where from.
        light: Under which sky.
        road: x of the road's left and right edge.
        crossing: z range of a crossing street, or None.
        strips: Ground, in painting order.
        markings: Road paint as x0, x1, z0, z1.
        backdrop: Category along the horizon.
        blocks: Fronts along the road, farthest first.
        things: Things and props, farthest first.
        bonnet: Height of the camera's own car at the lower edge, fraction of the image; 0 = not in view.
        mirrored: True where the picture is to be flipped left-right (traffic on the other side).
        look: Seed of textures.
    """

    camera: Camera
    light: Light
    road: tuple[float, float]
    crossing: tuple[float, float] | None
    strips: tuple[Strip, ...]
    markings: tuple[tuple[float, float, float, float], ...]
    backdrop: str
    blocks: tuple[Block, ...]
    things: tuple[Thing, ...]
    bonnet: float
    mirrored: bool
    look: int


def tint(
    rng: np.random.Generator, hue: tuple[float, float], saturation: tuple[float, float], value: tuple[float, float]
) -> Rgb:
    """A random RGB colour out of ranges of hue, saturation and value in 0..1."""
    red, green, blue = colorsys.hsv_to_rgb(rng.uniform(*hue) % 1.0, rng.uniform(*saturation), rng.uniform(*value))
    return red * 255.0, green * 255.0, blue * 255.0


def draw_seed(rng: np.random.Generator) -> int:
    """A seed for something's own randomness, so that drawing it differently changes nothing else."""
    return int(rng.integers(2**32))
