"""Draws the things and props of a street scene."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.street_canvas import Canvas
from edgeseg.data.street_scene import Rgb, Thing, tint
from edgeseg.data.street_vehicles import VEHICLES, Body

_CIRCLE = np.stack([np.cos(np.arange(14) * math.tau / 14), np.sin(np.arange(14) * math.tau / 14)], axis=1)
_FRONT = (0.0, 0.3, -0.95)
"""Normal of what faces the camera."""

Points = Sequence[tuple[float, float]]


def draw_thing(canvas: Canvas, thing: Thing, index: int) -> None:
    """Paints one thing into the image and, as `index`, into the label."""
    rng = np.random.Generator(np.random.PCG64(thing.look))
    if thing.kind in VEHICLES:
        VEHICLES[thing.kind](Body(canvas, thing, index), rng)
    else:
        _FIGURES[thing.kind](_Figure(canvas, thing, index, facing=1.0 if rng.random() < 0.5 else -1.0), rng)


class _Figure:
    """Pen for flat figures that face the camera; coordinates are metres right of and above the thing's foot."""

    def __init__(self, canvas: Canvas, thing: Thing, index: int, *, facing: float) -> None:
        self.canvas, self.index, self.z, self.riding = canvas, index, thing.z, thing.riding
        self.foot = canvas.project(np.array([thing.x, 0.0, thing.z]))
        pixels_per_m = canvas.camera.focal * canvas.unit / thing.z * thing.scale
        self.scale = np.array([facing * pixels_per_m, -pixels_per_m])
        sun = canvas.light.sun[0] * facing
        self.lit_side = 1.0 if sun > 0 else -1.0

    def polygon(
        self, points: Points | NDArray[np.float64], albedo: Rgb, *, label: bool = True, void: bool = False
    ) -> None:
        color = self.canvas.light.shade(albedo, _FRONT, self.z)
        index = 0 if void else self.index if label else None
        self.canvas.fill([self.foot + np.asarray(points) * self.scale], color, index)

    def polygons(self, points: NDArray[np.float64], albedo: Rgb) -> None:
        """Many at once, (m, n, 2), into the image only."""
        self.canvas.fill(self.foot + points * self.scale, self.canvas.light.shade(albedo, _FRONT, self.z), None)

    def ellipse(self, x: float, y: float, rx: float, ry: float, albedo: Rgb, *, label: bool = True) -> None:
        self.polygon(_CIRCLE * (rx, ry) + (x, y), albedo, label=label)

    def box(
        self, x0: float, x1: float, y0: float, y1: float, albedo: Rgb, *, label: bool = True, void: bool = False
    ) -> None:
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], albedo, label=label, void=void)

    def limb(
        self, start: tuple[float, float], end: tuple[float, float], widths: tuple[float, float], albedo: Rgb
    ) -> None:
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = math.hypot(dx, dy) or 1.0
        nx, ny = -dy / length / 2, dx / length / 2
        a, b = widths
        self.polygon(
            [
                (start[0] + nx * a, start[1] + ny * a),
                (start[0] - nx * a, start[1] - ny * a),
                (end[0] - nx * b, end[1] - ny * b),
                (end[0] + nx * b, end[1] + ny * b),
            ],
            albedo,
        )

    def glow(self, x: float, y: float, radius: float, color: Rgb) -> None:
        """A light of its own: not shaded."""
        self.canvas.fill([self.foot + (_CIRCLE * radius + (x, y)) * self.scale], color, None)


def _times(albedo: Rgb, factor: float) -> Rgb:
    return min(255.0, albedo[0] * factor), min(255.0, albedo[1] * factor), min(255.0, albedo[2] * factor)


def _draw_person(pen: _Figure, rng: np.random.Generator) -> None:
    skin = tint(rng, (0.03, 0.09), (0.3, 0.6), (0.35, 0.95))
    shirt = tint(rng, (0.0, 1.0), (0.0, 0.85), (0.2, 0.95))
    trousers = tint(rng, (0.0, 1.0) if rng.random() < 0.3 else (0.55, 0.7), (0.05, 0.6), (0.12, 0.6))
    hair = tint(rng, (0.02, 0.12), (0.1, 0.7), (0.05, 0.6))
    shoes = tint(rng, (0.0, 1.0), (0.0, 0.5), (0.08, 0.8))
    lift = 0.32 if pen.riding else 0.0
    stride, wide, swing = rng.uniform(0.02, 0.26), rng.uniform(0.85, 1.2), rng.uniform(-0.2, 0.2)
    skirt = rng.random() < 0.25
    if pen.riding:
        stride, skirt = 0.24, False
    hip, neck = 0.86 + lift, 1.46 + lift
    for sign, shade in ((-1, 0.75), (1, 1.0)):
        ankle = (sign * stride, 0.07 + lift * (1.2 if sign < 0 else 0.6))
        pen.limb((sign * 0.07, hip), ankle, (0.2 * wide, 0.13), _times(skin if skirt else trousers, shade))
        pen.box(ankle[0] - 0.06, ankle[0] + 0.16, ankle[1] - 0.07, ankle[1] + 0.03, _times(shoes, shade))
    pen.limb((-0.16 * wide, neck - 0.08), (-0.2 * wide - swing, hip + 0.02), (0.13, 0.1), _times(shirt, 0.7))
    body = np.array(
        [(-0.17, hip - 0.06), (0.17, hip - 0.06), (0.23, neck - 0.05), (0.1, neck), (-0.1, neck), (-0.23, neck - 0.05)]
    )
    pen.polygon(body * (wide, 1.0), shirt)
    half = np.array([(0.0, hip - 0.06), (0.17, hip - 0.06), (0.23, neck - 0.05), (0.1, neck), (0.0, neck)])
    pen.polygon(half * (-wide * pen.lit_side, 1.0), _times(shirt, 0.78), label=False)
    if skirt:
        pen.polygon([(-0.15, hip + 0.1), (0.15, hip + 0.1), (0.28, 0.45), (-0.28, 0.45)], _times(shirt, 0.9))
    if rng.random() < 0.3:
        bag = tint(rng, (0.0, 1.0), (0.1, 0.8), (0.15, 0.7))
        pen.box(-0.36, -0.12, hip + 0.12, neck - 0.1, bag)
    hand = (0.2 * wide + swing, hip + 0.0) if not pen.riding else (0.48, hip + 0.14)
    pen.limb((0.17 * wide, neck - 0.07), hand, (0.13, 0.1), _times(shirt, 0.92))
    pen.ellipse(*hand, 0.055, 0.06, skin)
    pen.box(-0.05, 0.05, neck - 0.03, neck + 0.08, _times(skin, 0.8))
    pen.ellipse(0.0, neck + 0.17, 0.115, 0.15, skin)
    pen.polygon(
        [
            (-0.125, neck + 0.12),
            (-0.06, neck + 0.2),
            (0.1, neck + 0.23),
            (0.1, neck + 0.3),
            (0, neck + 0.345),
            (-0.1, neck + 0.3),
        ],
        hair,
    )


def _draw_bicycle(pen: _Figure, rng: np.random.Generator) -> None:
    frame = tint(rng, (0.0, 1.0), (0.2, 0.9), (0.2, 0.9))
    tyre = tint(rng, (0.0, 1.0), (0.0, 0.1), (0.08, 0.22))
    radius, reach = 0.36, 0.56
    for x in (-reach, reach):
        center = pen.foot + np.array([x, radius]) * pen.scale
        size = abs(pen.scale[1]) * radius
        _veil(pen.canvas, center, size * 0.9, pen.canvas.light.shade((150.0, 150.0, 152.0), _FRONT, pen.z), 0.4)
        ring = np.concatenate([_CIRCLE, _CIRCLE[:1], _CIRCLE[:1] * 0.82, _CIRCLE[::-1] * 0.82])
        pen.polygon(ring * radius + (x, radius), tyre, label=False)
        pen.canvas.label(center + _CIRCLE * size, pen.index)
        pen.ellipse(x, radius, 0.05, 0.05, (170.0, 170.0, 170.0))
    crank, saddle, head = (-0.08, 0.33), (-0.2, 0.82), (0.42, 0.86)
    width = (0.075, 0.065)
    for start, end in (
        ((-reach, radius), crank),
        ((-reach, radius), saddle),
        (crank, saddle),
        (crank, head),
        (saddle, head),
    ):
        pen.limb(start, end, width, frame)
    pen.limb(head, (reach, radius), width, _times(frame, 0.85))
    pen.limb(head, (0.38, 1.02), (0.06, 0.06), (60.0, 60.0, 60.0))
    pen.limb((0.28, 1.04), (0.52, 1.0), (0.07, 0.07), (40.0, 40.0, 42.0))
    pen.limb((-0.34, 0.9), (-0.06, 0.9), (0.1, 0.07), (40.0, 36.0, 34.0))
    pen.ellipse(*crank, 0.1, 0.1, (70.0, 70.0, 72.0))
    if rng.random() < 0.3:
        pen.box(0.46, 0.76, 0.74, 0.98, tint(rng, (0.05, 0.12), (0.3, 0.6), (0.3, 0.6)))


def _veil(canvas: Canvas, center: NDArray[np.float64], radius: float, color: Rgb, share: float) -> None:
    """Blends a disc over the picture: spokes that the pixels cannot show one by one."""
    x0, y0 = (max(0, int(c - radius)) for c in center)
    x1, y1 = int(center[0] + radius) + 1, int(center[1] + radius) + 1
    part = canvas.image[y0:y1, x0:x1] if x1 > 0 and y1 > 0 else canvas.image[:0, :0]
    if part.size:
        u = np.arange(x0, x0 + part.shape[1]) + 0.5 - center[0]
        v = np.arange(y0, y0 + part.shape[0])[:, None] + 0.5 - center[1]
        inside = (u * u + v * v < radius * radius)[..., None] * share
        part[...] = (part * (1.0 - inside) + np.array(color) * inside).astype(np.uint8)


def _draw_dog(pen: _Figure, rng: np.random.Generator) -> None:
    coat = tint(rng, (0.04, 0.12), (0.05, 0.75), (0.12, 0.95))
    mark = tint(rng, (0.04, 0.12), (0.0, 0.6), (0.08, 0.95))
    step = rng.uniform(0.02, 0.12)
    for x, shade in ((-0.3, 0.7), (0.28, 0.7), (-0.36, 1.0), (0.34, 1.0)):
        pen.limb((x, 0.42), (x + (step if shade < 1 else -step), 0.0), (0.14, 0.09), _times(coat, shade))
    pen.limb((-0.4, 0.55), (-0.62, 0.55 + rng.uniform(0.0, 0.3)), (0.09, 0.04), coat)
    pen.ellipse(0.0, 0.48, 0.46, 0.18, coat)
    pen.ellipse(rng.uniform(-0.25, 0.15), 0.54, 0.18, 0.1, mark, label=False)
    pen.ellipse(0.0, 0.37, 0.36, 0.07, _times(coat, 0.7), label=False)
    pen.limb((0.32, 0.52), (0.5, 0.72), (0.22, 0.18), coat)
    pen.ellipse(0.52, 0.74, 0.14, 0.13, coat)
    pen.limb((0.56, 0.71), (0.74, 0.66), (0.14, 0.09), _times(coat, 0.9))
    pen.ellipse(0.74, 0.68, 0.035, 0.035, (20.0, 18.0, 18.0))
    pen.polygon([(0.4, 0.82), (0.48, 0.84), (0.42, 0.62), (0.36, 0.64)], _times(mark, 0.7))


def _draw_traffic_light(pen: _Figure, rng: np.random.Generator) -> None:
    steel = tint(rng, (0.0, 1.0), (0.0, 0.15), (0.25, 0.6))
    housing = (
        tint(rng, (0.1, 0.15), (0.6, 0.9), (0.6, 0.9))
        if rng.random() < 0.3
        else tint(rng, (0, 1), (0, 0.3), (0.08, 0.25))
    )
    pen.box(-0.07, 0.07, 0.0, 2.3, steel, void=True)
    pen.polygon(
        [(-0.36, 2.3), (-0.3, 2.22), (0.3, 2.22), (0.36, 2.3), (0.36, 3.55), (0.3, 3.63), (-0.3, 3.63), (-0.36, 3.55)],
        housing,
    )
    pen.box(-0.3, 0.3, 2.28, 3.57, _times(housing, 0.6), label=False)
    on = int(rng.integers(3))
    for place, (y, lamp) in enumerate(
        ((3.35, (250.0, 50.0, 40.0)), (2.93, (255.0, 190.0, 40.0)), (2.51, (50.0, 235.0, 120.0)))
    ):
        if place == on:
            pen.glow(0.0, y, 0.2, _times(lamp, 0.75))
            pen.glow(0.0, y, 0.14, lamp)
        else:
            pen.ellipse(0.0, y, 0.17, 0.17, _times(lamp, 0.22), label=False)


def _draw_traffic_sign(pen: _Figure, rng: np.random.Generator) -> None:
    steel = tint(rng, (0.0, 1.0), (0.0, 0.1), (0.4, 0.7))
    y, white = 2.3, (240.0, 240.0, 236.0)
    red, blue, yellow = (205.0, 32.0, 36.0), (36.0, 84.0, 180.0), (244.0, 196.0, 40.0)
    pen.box(-0.05, 0.05, 0.0, y, steel, void=True)
    kind = int(rng.integers(6))
    triangle = np.array([(-0.62, -0.45), (0.62, -0.45), (0.0, 0.62)])
    octagon = np.array([(math.cos(a), math.sin(a)) for a in (np.arange(8) + 0.5) * math.tau / 8]) * 0.58
    diamond = np.array([(-0.66, 0.0), (0.0, -0.66), (0.66, 0.0), (0.0, 0.66)])
    if kind == 0:
        pen.polygon(triangle + np.array((0.0, y)), red)
        pen.polygon(triangle * 0.62 + (0, y - 0.03), white, label=False)
        pen.box(-0.05, 0.05, y - 0.2, y + 0.15, (30.0, 30.0, 30.0), label=False)
    elif kind == 1:
        pen.ellipse(0.0, y, 0.55, 0.55, red)
        pen.ellipse(0.0, y, 0.4, 0.4, white, label=False)
        pen.box(-0.22, -0.04, y - 0.18, y + 0.18, (30.0, 30.0, 30.0), label=False)
        pen.box(0.05, 0.22, y - 0.18, y + 0.18, (30.0, 30.0, 30.0), label=False)
    elif kind == 2:
        pen.ellipse(0.0, y, 0.55, 0.55, blue)
        pen.polygon(
            [(-0.08, y - 0.32), (0.08, y - 0.32), (0.08, y), (0.24, y), (0, y + 0.34), (-0.24, y), (-0.08, y)],
            white,
            label=False,
        )
    elif kind == 3:
        pen.polygon(octagon + np.array((0.0, y)), red)
        pen.box(-0.42, 0.42, y - 0.11, y + 0.11, white, label=False)
    elif kind == 4:
        pen.polygon(diamond + np.array((0.0, y)), white)
        pen.polygon(diamond * 0.78 + (0, y), yellow, label=False)
    else:
        pen.box(-0.5, 0.5, y - 0.55, y + 0.6, blue)
        pen.polygon([(-0.36, y - 0.35), (0.36, y - 0.35), (0, y + 0.38)], white, label=False)


def _draw_tree(pen: _Figure, rng: np.random.Generator) -> None:
    bark = tint(rng, (0.04, 0.1), (0.2, 0.5), (0.2, 0.45))
    leaf = tint(rng, (0.03, 0.14) if rng.random() < 0.22 else (0.2, 0.4), (0.35, 0.75), (0.32, 0.68))
    pen.limb((0.0, 0.0), (rng.uniform(-0.15, 0.15), 2.6), (0.34, 0.2), bark)
    angle = np.arange(40) * math.tau / 40
    lobes = (
        1.0
        + 0.13 * np.sin(angle * rng.integers(4, 7) + rng.uniform(0, 6))
        + 0.07 * np.sin(angle * 11 + rng.uniform(0, 6))
    )
    crown = np.stack([np.cos(angle) * rng.uniform(1.1, 1.5), np.sin(angle) * rng.uniform(1.1, 1.5)], 1) * lobes[:, None]
    pen.polygon(crown + np.array((0.0, 3.7)), _times(leaf, 0.66))
    pen.polygon(crown[::-1] * 0.78 + (0.2 * pen.lit_side, 3.88), leaf, label=False)
    radius, turn = np.sqrt(rng.random(44)) * 1.15, rng.random(44) * math.tau
    spots = np.stack([radius * np.cos(turn), radius * np.sin(turn)], 1)
    bright = spots[:, 0] * pen.lit_side + spots[:, 1] > 0.1
    leaves = spots[:, None] + _CIRCLE[::2] * rng.uniform(0.07, 0.2, (44, 1, 1)) + (0.0, 3.7)
    pen.polygons(leaves[bright], _times(leaf, 1.28))
    pen.polygons(leaves[~bright], _times(leaf, 0.5))


def _draw_pole(pen: _Figure, rng: np.random.Generator) -> None:
    steel = tint(rng, (0.0, 1.0), (0.0, 0.2), (0.2, 0.55))
    pen.limb((0.0, 0.0), (0.0, 5.0), (0.14, 0.09), steel)
    pen.limb((0.0, 5.0), (0.8, 5.15), (0.08, 0.07), steel)
    pen.box(0.6, 1.1, 5.1, 5.22, _times(steel, 0.8))
    if pen.canvas.light.lamps:
        pen.glow(0.85, 5.08, 0.16, (255.0, 232.0, 170.0))


def _draw_bin(pen: _Figure, rng: np.random.Generator) -> None:
    paint = tint(rng, (0.0, 1.0), (0.1, 0.7), (0.2, 0.6))
    pen.polygon([(-0.24, 0.0), (0.24, 0.0), (0.3, 0.85), (-0.3, 0.85)], paint)
    pen.box(-0.34, 0.34, 0.85, 1.0, _times(paint, 0.7))
    pen.box(-0.18, 0.18, 0.25, 0.6, _times(paint, 1.4))


_FIGURES: dict[str, Callable[[_Figure, np.random.Generator], None]] = {
    "person": _draw_person,
    "bicycle": _draw_bicycle,
    "dog": _draw_dog,
    "traffic light": _draw_traffic_light,
    "traffic sign": _draw_traffic_sign,
    "tree": _draw_tree,
    "pole": _draw_pole,
    "bin": _draw_bin,
}
