"""Places the things of a street scene where they can be seen and tell a plausible story."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgeseg.data.street_scene import BOXES, Camera, Thing, draw_seed

_MAX_THINGS = 13
"""Besides a crowd, which is one segment."""
_MIN_THINGS = 4
_MIN_HEIGHT = 0.1
"""Smallest height of a placed thing as a fraction of the image's."""
_LARGEST_COVER = 0.5
"""Largest share of a thing's box that another's may hide."""
_SMALLEST_IN_VIEW = 0.55
"""Smallest share of a thing's box inside the image."""
_CLEARANCE_M = 0.05
_CROWD_ODDS = 0.08

Range = tuple[float, float]


def place_things(
    rng: np.random.Generator, camera: Camera, road: Range, pavements: tuple[Range, Range], crossing: Range | None
) -> list[Thing]:
    """Proposes things and keeps those that are in view, collide with none and hide none.

    Args:
        rng: All randomness.
        camera: From where they must be seen.
        road: x of the road's left and right edge, metres.
        pavements: x of the inner and outer edge of the left and of the right pavement.
        crossing: z range of a crossing street, or None.
    """
    traffic = _Traffic(rng, camera, road, pavements)
    if rng.random() < _CROWD_ODDS:
        traffic.gather_crowd()
    if crossing and rng.random() < 0.6:
        heading = math.pi / 2 if rng.random() < 0.5 else -math.pi / 2
        traffic.propose(traffic.draw_vehicle(), rng.uniform(-5.0, 5.0), sum(crossing) / 2, heading)
    traffic.drive()
    if rng.random() < 0.35:
        traffic.park()
    traffic.walk()
    traffic.cycle()
    traffic.stray()
    traffic.signal()
    traffic.top_up()
    return traffic.crowd + traffic.placed


class _Traffic:
    """The things placed so far, and the ways to add more."""

    def __init__(self, rng: np.random.Generator, camera: Camera, road: Range, pavements: tuple[Range, Range]) -> None:
        self.rng, self.camera, self.road, self.pavements = rng, camera, road, pavements
        self.placed: list[Thing] = []
        self.crowd: list[Thing] = []

    def propose(self, kind: str, x: float, z: float, heading: float, *, riding: bool = False) -> bool:
        """Places a thing if it fits; True if it did."""
        scale, look = self.rng.uniform(0.9, 1.12), draw_seed(self.rng)
        thing = Thing(kind, float(x), float(z), heading, scale, look, riding=riding)
        fits = len(self.placed) < _MAX_THINGS and _fits(self.camera, thing, self.crowd + self.placed)
        if fits:
            self.placed.append(thing)
        return fits

    def draw_vehicle(self) -> str:
        return str(self.rng.choice(["car", "truck", "bus"], p=[0.44, 0.28, 0.28]))

    def drive(self) -> None:
        rng = self.rng
        for _ in range(int(rng.integers(1, 4))):
            own, kind = rng.random() < 0.5, self.draw_vehicle()
            x = self.road[1] - rng.uniform(0.9, 1.4) if own else self.road[0] + rng.uniform(1.0, 1.5)
            self.propose(kind, x, rng.uniform(5.5, 14.0) + BOXES[kind][0] / 2, 0.0 if own else math.pi)

    def park(self) -> None:
        rng, z = self.rng, self.rng.uniform(5.5, 8.0)
        edge, heading = (self.road[1], 0.0) if rng.random() < 0.5 else (self.road[0], math.pi)
        for _ in range(int(rng.integers(2, 5))):
            self.propose("car", edge + 0.6, z, heading)
            z += rng.uniform(4.9, 6.0)

    def walk(self) -> None:
        rng = self.rng
        for _ in range(int(rng.integers(1, 4))):
            low, high = sorted(self.pavements[int(rng.integers(2))] if rng.random() < 0.8 else self.road)
            x, z = rng.uniform(low + 0.3, high - 0.3), rng.uniform(3.8, 8.5)
            for _ in range(int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15]))):
                self.propose("person", x, z, 0.0)
                x, z = x + rng.uniform(0.45, 0.9) * rng.choice([-1, 1]), z + rng.uniform(-0.4, 0.6)
            if rng.random() < 0.4:
                self.propose("dog", x + rng.uniform(0.4, 1.0), z - rng.uniform(0.0, 0.8), math.pi / 2)

    def cycle(self) -> None:
        rng, wanted = self.rng, int(self.rng.choice([0, 1, 2], p=[0.3, 0.45, 0.25]))
        for _ in range(4 * wanted):
            side = int(rng.integers(2))
            outward = 2 * side - 1
            x = self.road[side] + outward * rng.uniform(-1.2, 1.5 + abs(self.pavements[side][0] - self.road[side]))
            z = rng.uniform(3.8, 7.5)
            if wanted and self.propose("bicycle", x, z, math.pi / 2):
                wanted -= 1
                if rng.random() < 0.35:
                    self.propose("person", x, z - 0.01, 0.0, riding=True)

    def stray(self) -> None:
        rng = self.rng
        for _ in range(3 if rng.random() < 0.35 else 0):
            x, z = rng.uniform(self.road[0] - 1.5, self.road[1] + 1.5), rng.uniform(4.0, 7.0)
            if self.propose("dog", x, z, math.pi / 2):
                break

    def signal(self) -> None:
        rng = self.rng
        for kind in ("traffic light", "traffic sign"):
            for inner, _ in self.pavements:
                beside = inner + math.copysign(0.4, inner)
                for _ in range(3 if rng.random() < 0.65 else 0):
                    if self.propose(kind, beside, rng.uniform(4.2, 8.5), 0.0):
                        break

    def top_up(self) -> None:
        rng = self.rng
        for _ in range(60):
            if len(self.placed) >= _MIN_THINGS:
                return
            kind = str(rng.choice(["person", "dog", "bicycle"]))
            x, z = rng.uniform(self.road[0] - 2.0, self.road[1] + 2.0), rng.uniform(4.0, 8.5)
            self.propose(kind, x, z, 0.0 if kind == "person" else math.pi / 2)

    def gather_crowd(self) -> None:
        rng = self.rng
        kind, step, heading = ("person", 0.38, 0.0) if rng.random() < 0.75 else ("bicycle", 0.5, math.pi / 2)
        count, z = int(rng.integers(8, 15)), rng.uniform(8.5, 12.5)
        middle = sum(self.pavements[int(rng.integers(2))] if rng.random() < 0.7 else self.road) / 2
        for i in range(count):
            x, depth, scale = middle + (i - count / 2) * step, z + rng.uniform(-0.7, 0.7), rng.uniform(0.9, 1.1)
            self.crowd.append(Thing(kind, x, depth, heading, scale, draw_seed(rng), crowd=0))


def _fits(camera: Camera, thing: Thing, placed: Sequence[Thing]) -> bool:
    """True if enough of the thing is in view, nothing stands in it, and neither hides the other."""
    box = _screen_box(camera, thing)
    if _overlap(box, (0.0, 0.0, camera.width, camera.height)) < _SMALLEST_IN_VIEW * _area(box):
        return False
    if box[3] - box[1] < _MIN_HEIGHT * camera.height:
        return False
    x0, z0, x1, z1 = thing.footprint
    for other in placed:
        if thing.riding and other.kind == "bicycle" and abs(thing.x - other.x) < 0.01:
            continue
        u0, w0, u1, w1 = other.footprint
        if max(x0 - u1, u0 - x1, z0 - w1, w0 - z1) < _CLEARANCE_M:
            return False
        theirs = _screen_box(camera, other)
        if _overlap(box, theirs) > _LARGEST_COVER * _area(box if thing.z > other.z else theirs):
            return False
    return True


def _screen_box(camera: Camera, thing: Thing) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of what will be labelled, in units of the shorter side."""
    x0, z0, x1, z1 = thing.footprint
    top = BOXES[thing.kind][2] * thing.scale
    foot = top - 1.4 if thing.kind in ("traffic light", "traffic sign") else 0.0
    near, far, (x, y) = camera.focal / z0, camera.focal / z1, camera.center
    left, right = x + x0 * (near if x0 < 0 else far), x + x1 * (near if x1 > 0 else far)
    up, down = camera.elevation - top, camera.elevation - foot
    return left, y + up * (near if up < 0 else far), right, y + down * (near if down > 0 else far)


def _area(box: tuple[float, float, float, float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
