"""Draws cars, trucks and buses as extruded side views, seen in perspective."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.street_canvas import Canvas
from edgeseg.data.street_scene import Rgb, Thing, tint

_DARK: Rgb = (26.0, 26.0, 28.0)
_TAIL: Rgb = (200.0, 30.0, 28.0)
_HEAD: Rgb = (235.0, 232.0, 215.0)
_ANGLES = np.arange(12) * math.tau / 12


class Body:
    """Pen for a vehicle: coordinates are metres along its length (front positive), across (right positive) and up."""

    def __init__(self, canvas: Canvas, thing: Thing, index: int) -> None:
        """Sets the pen at the thing's place on the ground."""
        self.canvas, self.index, self.scale = canvas, index, thing.scale
        self.origin = np.array([thing.x, 0.0, thing.z])
        sin, cos = math.sin(thing.heading), math.cos(thing.heading)
        self.axes = np.array([[sin, 0.0, cos], [cos, 0.0, -sin], [0.0, 1.0, 0.0]])  # along, across, up
        eye = np.array([0.0, canvas.camera.elevation, 0.0]) - self.origin
        self.eye = self.axes @ eye / thing.scale
        self.distance = thing.z

    def quad(
        self, points: NDArray[np.float64], albedo: Rgb, normal: NDArray[np.float64], *, label: bool = True
    ) -> None:
        """Paints a polygon of (n, 3) vehicle coordinates with an outward normal in the same axes."""
        world = self.origin + (points * self.scale) @ self.axes
        world[:, 2] = np.maximum(world[:, 2], 0.5)
        facing = normal @ self.axes
        color = self.canvas.light.shade(albedo, (facing[0], facing[1], facing[2]), self.distance)
        self.canvas.fill3d([world], color, self.index if label else None)

    def prism(self, profile: NDArray[np.float64], half: NDArray[np.float64], paint: Rgb, glass: dict[int, Rgb]) -> None:
        """Paints the visible faces of a side view swept across.

        Args:
            profile: (n, 2) along and up, clockwise seen from the right, starting at the rear's foot.
            half: (n,) half width at each corner.
            paint: Albedo of all faces but those in `glass`.
            glass: Albedo of edges (by the index of their first corner) that are windows.
        """
        left = np.column_stack([profile[:, 0], -half, profile[:, 1]])
        right = np.column_stack([profile[:, 0], half, profile[:, 1]])
        faces = []
        for i in range(len(profile)):
            j = (i + 1) % len(profile)
            corners = np.array([left[i], left[j], right[j], right[i]])
            step = profile[j] - profile[i]
            normal = np.array([-step[1], 0.0, step[0]]) / math.hypot(*step)
            gaze = self.eye - corners.mean(axis=0)
            if normal @ gaze > 0:
                faces.append((-float(gaze @ gaze), i, corners, normal))
        for _, i, corners, normal in sorted(faces, key=lambda face: face[0]):
            self.quad(corners, paint if i not in glass else _mix(paint, glass[i], 0.25), normal)
            if i in glass:
                middle = corners.mean(axis=0)
                self.quad(middle + (corners - middle) * [0.88, 0.84, 0.88], glass[i], normal, label=False)
        side = self.side
        if side:
            self.quad(right if side > 0 else left, paint, np.array([0.0, side, 0.0]))

    @property
    def side(self) -> float:
        """Side that the camera sees: 1 right, -1 left."""
        return 1.0 if self.eye[1] > 0 else -1.0

    @property
    def end(self) -> float:
        """End that the camera sees: 1 front, -1 rear."""
        return 1.0 if self.eye[0] > 0 else -1.0

    def on_side(self, a0: float, a1: float, u0: float, u1: float, half: float, albedo: Rgb) -> None:
        """A rectangle on the visible side at that half width, if the camera is outside of it."""
        if abs(self.eye[1]) > half:
            y = self.side * half
            points = np.array([[a0, y, u0], [a1, y, u0], [a1, y, u1], [a0, y, u1]])
            self.quad(points, albedo, np.array([0.0, self.side, 0.0]), label=False)

    def on_end(self, reach: float, w0: float, w1: float, u0: float, u1: float, albedo: Rgb) -> None:
        """A rectangle on the visible end that lies `reach` from the middle, if the camera is outside of it."""
        if abs(self.eye[0]) > reach:
            x = self.end * reach
            points = np.array([[x, w0, u0], [x, w1, u0], [x, w1, u1], [x, w0, u1]])
            self.quad(points, albedo, np.array([self.end, 0.0, 0.0]), label=False)

    def underside(self, reach: float, half: float, top: float) -> None:
        """The dark block of axles and tyres that is seen under the body from its ends."""
        x = self.end * reach
        for w0, w1 in ((-half, -half * 0.72), (half * 0.72, half), (-half * 0.72, half * 0.72)):
            foot = 0.0 if abs(w0 + w1) > half else 0.5 * top
            points = np.array([[x, w0, foot], [x, w1, foot], [x, w1, top], [x, w0, top]])
            self.quad(points, _DARK, np.array([self.end, 0.0, 0.0]))

    def wheel(self, along: float, radius: float, half: float, hub: Rgb) -> None:
        """A wheel on the visible side."""
        if abs(self.eye[1]) <= half:
            return
        circle = np.column_stack([np.cos(_ANGLES), np.zeros(12), np.sin(_ANGLES)])
        center, normal = np.array([along, self.side * half, radius]), np.array([0.0, self.side, 0.0])
        self.quad(center + circle * radius * 1.18, _DARK, normal, label=False)
        self.quad(center + circle * radius, (38.0, 38.0, 40.0), normal)
        self.quad(center + circle * radius * 0.58, hub, normal, label=False)


def _mix(a: Rgb, b: Rgb, share: float) -> Rgb:
    return tuple(x + (y - x) * share for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def _paint(rng: np.random.Generator) -> Rgb:
    if rng.random() < 0.4:
        return tint(rng, (0.0, 1.0), (0.0, 0.08), (0.1, 0.98))
    return tint(rng, (0.0, 1.0), (0.35, 0.9), (0.25, 0.9))


def _draw_car(body: Body, rng: np.random.Generator) -> None:
    paint, glass, hub = (
        _paint(rng),
        tint(rng, (0.5, 0.65), (0.1, 0.35), (0.12, 0.4)),
        tint(rng, (0, 1), (0, 0.05), (0.4, 0.8)),
    )
    belt, roof, nose = rng.uniform(0.88, 0.98), rng.uniform(1.4, 1.62), rng.uniform(0.62, 0.78)
    saloon, estate = rng.random() < 0.34, rng.random() < 0.5
    window = [(-1.53, belt), (-0.9, roof)] if saloon else [(-2.0, belt), (-1.75 if estate else -1.55, roof)]
    hood = [(0.25, roof), (1.0, belt), (1.95, nose), (2.05, 0.28)]
    profile = np.array([(-2.05, 0.28), (-2.05, belt - 0.06), *window, *hood])
    half = np.array([0.9, 0.9, 0.86, 0.68, 0.68, 0.86, 0.88, 0.88])
    body.underside(1.7, 0.82, 0.42)
    body.prism(profile, half, paint, {2: glass, 4: glass})
    slope = (roof - belt) * 0.86
    y = body.side
    if abs(body.eye[1]) > 0.8:
        normal = np.array([0.0, y * 0.95, 0.3])
        rear, front = profile[2] + (0.12, 0.04), profile[5] - (0.12, -0.04)
        top_rear, top_front = profile[3] + (0.05, -0.1), profile[4] + (0.0, -0.1)
        pillar = (rear[0] + front[0]) / 2 + 0.05
        behind = np.array([rear, (pillar - 0.05, rear[1]), (pillar - 0.05, top_rear[1]), top_rear])
        ahead = np.array([(pillar + 0.05, front[1]), front, top_front, (pillar + 0.05, top_front[1])])
        for corners in (behind, ahead):
            width = 0.87 - 0.18 * (corners[:, 1] - belt) / max(slope, 0.1)
            body.quad(np.column_stack([corners[:, 0], y * width, corners[:, 1]]), glass, normal, label=False)
        body.on_side(-2.0, 2.0, 0.28, 0.4, 0.9, _mix(paint, _DARK, 0.6))
        body.on_side(-0.42, -0.39, 0.42, belt, 0.9, _mix(paint, _DARK, 0.5))
    for along in (-1.3, 1.3):
        body.wheel(along, 0.34, 0.9, hub)
    lamps = body.canvas.light.lamps
    if body.end < 0:
        for w in (-0.86, 0.56):
            body.on_end(2.05, w, w + 0.3, 0.62, 0.82, _TAIL if not lamps else (255.0, 60.0, 50.0))
        body.on_end(2.05, -0.28, 0.28, 0.5, 0.63, (225.0, 222.0, 205.0))
        body.on_end(2.05, -0.88, 0.88, 0.28, 0.42, _mix(paint, _DARK, 0.6))
    else:
        for w in (-0.84, 0.5):
            body.on_end(2.03, w, w + 0.34, 0.5, nose - 0.03, _HEAD)
        body.on_end(2.04, -0.42, 0.42, 0.45, nose - 0.1, _DARK)
        body.on_end(2.05, -0.28, 0.28, 0.3, 0.42, (225.0, 222.0, 205.0))


def _slab(rear: float, front: float, foot: float, top: float, lean: float) -> NDArray[np.float64]:
    return np.array([(rear, foot), (rear, top), (front - lean, top), (front, (foot + top) / 2 - 0.1), (front, foot)])


def _draw_truck(body: Body, rng: np.random.Generator) -> None:
    paint, box = _paint(rng), _paint(rng)
    if rng.random() < 0.4:
        box = tint(rng, (0.0, 1.0), (0.0, 0.1), (0.7, 0.95))
    glass = tint(rng, (0.5, 0.65), (0.1, 0.3), (0.12, 0.35))
    height = rng.uniform(2.75, 3.2)
    body.underside(3.3, 1.1, 0.75)
    if abs(body.eye[1]) > 1.1:
        body.quad(np.array([[a, body.side * 1.0, u] for a, u in ((-3.3, 0.45), (3.2, 0.45), (3.2, 0.8), (-3.3, 0.8))]),
                  _DARK, np.array([0.0, body.side, 0.0]))  # fmt: skip

    def cab() -> None:
        profile = _slab(1.75, 3.5, 0.42, 2.35, 0.25)
        body.prism(profile, np.full(5, 1.12), paint, {2: glass})
        body.on_side(2.2, 3.2, 1.35, 2.15, 1.12, glass)
        if body.end > 0:
            body.on_end(3.5, -0.7, 0.7, 0.65, 1.05, _DARK)
            for w in (-1.05, 0.75):
                body.on_end(3.5, w, w + 0.3, 0.6, 0.85, _HEAD)

    def cargo() -> None:
        profile = np.array([(-3.5, 0.75), (-3.5, height), (1.55, height), (1.55, 0.75)])
        body.prism(profile, np.full(4, 1.2), box, {})
        groove = _mix(box, _DARK, 0.35)
        for along in (-2.6, -1.8, -1.0, -0.2, 0.6):
            body.on_side(along, along + 0.07, 0.8, height - 0.08, 1.2, groove)
        body.on_side(-3.5, 1.55, 0.75, 0.9, 1.2, groove)
        if body.end < 0:
            body.on_end(3.5, -0.04, 0.04, 0.8, height - 0.1, groove)
            for w in (-1.12, 1.06):
                body.on_end(3.5, w, w + 0.06, 0.8, height - 0.1, groove)
            body.on_end(3.5, -1.15, 1.15, 0.76, 0.9, _DARK)
            for w in (-1.12, 0.8):
                body.on_end(3.5, w, w + 0.32, 0.62, 0.78, _TAIL)

    for part in (cab, cargo) if body.end < 0 else (cargo, cab):
        part()
    for along in (-2.6, -1.7, 2.6):
        body.wheel(along, 0.48, 1.16, (120.0, 120.0, 122.0))


def _draw_bus(body: Body, rng: np.random.Generator) -> None:
    paint, band = _paint(rng), _paint(rng)
    glass = tint(rng, (0.5, 0.65), (0.1, 0.3), (0.12, 0.38))
    if body.canvas.light.lamps:
        glass = (220.0, 190.0, 130.0)
    height = rng.uniform(2.9, 3.2)
    body.underside(4.1, 1.15, 0.5)
    profile = np.array([(-4.25, 0.35), (-4.25, height), (4.1, height), (4.25, 1.1), (4.25, 0.35)])
    body.prism(profile, np.full(5, 1.25), paint, {})
    body.on_side(-4.2, 4.2, 0.5, 0.95, 1.25, band)
    body.on_side(-4.1, 4.1, 1.3, 2.45, 1.25, _mix(glass, _DARK, 0.55))
    for along in np.arange(-4.0, 3.6, 1.15):
        body.on_side(float(along), float(along) + 1.0, 1.36, 2.4, 1.25, glass)
    body.on_side(2.3, 3.1, 0.45, 2.4, 1.25, _mix(glass, _DARK, 0.3))
    body.on_end(4.27, -1.12, 1.12, 1.25 if body.end > 0 else 1.55, 2.5, glass)
    body.on_end(4.27, -0.8, 0.8, 2.6, height - 0.08, (250.0, 190.0, 60.0) if body.end > 0 else _DARK)
    if body.end > 0:
        body.on_end(4.27, -0.02, 0.02, 1.25, 2.5, _DARK)
        lights = _HEAD
    else:
        body.on_end(4.27, -0.85, 0.85, 0.65, 1.15, _mix(paint, _DARK, 0.6))
        lights = _TAIL
    for w in (-1.15, 0.85):
        body.on_end(4.27, w, w + 0.3, 0.55, 0.85, lights)
    for along in (-2.7, 2.9):
        body.wheel(along, 0.48, 1.25, (130.0, 130.0, 132.0))


VEHICLES: dict[str, Callable[[Body, np.random.Generator], None]] = {
    "car": _draw_car,
    "truck": _draw_truck,
    "bus": _draw_bus,
}
"""How to draw each kind of vehicle."""
