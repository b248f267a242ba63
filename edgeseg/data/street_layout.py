"""Lays out a street scene: the ground, what lines it, the light; edgeseg.data.street_traffic adds the things."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from edgeseg.data.street_scene import Block, Camera, Light, Scene, Strip, Thing, draw_seed, tint
from edgeseg.data.street_traffic import place_things

_FAR_M = 60.0
"""Where fronts along the road end; from there on the haze and the backdrop do."""
_ENDLESS_M = 900.0
_PLACES = ("city", "suburb", "park", "waterfront")
_FRONTS: tuple[Literal["building", "wall", "vegetation"], ...] = ("building", "wall", "vegetation")
_FRONT_ODDS = {
    "city": (0.54, 0.3, 0.08, 0.08),
    "suburb": (0.28, 0.44, 0.14, 0.14),
    "park": (0.08, 0.3, 0.27, 0.35),
    "waterfront": (0.54, 0.3, 0.08, 0.08),
}
"""Shares of _FRONTS, then of gaps with a tree."""
_FRONT_LENGTHS_M = {"building": (7.0, 17.0), "wall": (8.0, 17.0), "vegetation": (4.0, 10.0)}


def lay_out(rng: np.random.Generator, *, size: tuple[int, int]) -> Scene:
    """Draws a scene.

    Args:
        rng: All randomness; the same state and aspect ratio give the same scene.
        size: Image (height, width); only its aspect ratio matters.
    """
    camera = _camera(rng, size)
    road = (-rng.uniform(3.0, 4.4), rng.uniform(1.5, 2.5))
    start = rng.uniform(10.0, 17.0)
    crossing = (start, start + rng.uniform(5.0, 7.0)) if rng.random() < 0.4 else None
    place = str(rng.choice(_PLACES, p=[0.26, 0.26, 0.2, 0.28]))
    left, right = _Side(rng, place, -1, road[0], crossing), _Side(rng, place, 1, road[1], crossing)
    asphalt = tint(rng, (0.0, 1.0), (0.0, 0.09), (0.26, 0.46))
    roads = [Strip("road", road[0], road[1], 0.0, 300.0, asphalt)]
    if crossing:
        roads.append(Strip("road", -_ENDLESS_M, _ENDLESS_M, *crossing, asphalt))
    things = place_things(rng, camera, road, (left.pavement, right.pavement), crossing)
    props = [p for p in left.props + right.props if all(abs(p.x - t.x) > 1.0 or abs(p.z - t.z) > 1.0 for t in things)]
    backdrop = {"city": "building", "waterfront": "terrain"}.get(place, "vegetation")
    return Scene(
        camera=camera,
        light=_light(rng),
        road=road,
        crossing=crossing,
        strips=(*left.strips, *right.strips, *roads),
        markings=_markings(rng, road, crossing),
        backdrop=backdrop if rng.random() < 0.7 else "vegetation",
        blocks=tuple(sorted(left.blocks + right.blocks, key=lambda block: -block.z0)),
        things=tuple(sorted(things + props, key=lambda thing: -thing.z)),
        bonnet=rng.uniform(0.04, 0.09) if rng.random() < 0.3 else 0.0,
        mirrored=bool(rng.random() < 0.5),
        look=draw_seed(rng),
    )


class _Side:
    """One side of the road, laid from the road's edge outwards."""

    def __init__(
        self, rng: np.random.Generator, place: str, sign: int, edge: float, crossing: tuple[float, float] | None
    ) -> None:
        self.rng, self.place, self.sign, self.crossing = rng, place, sign, crossing
        self.strips: list[Strip] = []
        self.blocks: list[Block] = []
        self.props: list[Thing] = []
        verge_odds = {"city": 0.1, "waterfront": 0.3}.get(place, 0.6)
        verge = rng.uniform(0.8, 2.0) if rng.random() < verge_odds else 0.0
        inner = edge + sign * verge
        self.pavement = (inner, inner + sign * rng.uniform(2.0, 3.8))
        at_water = place == "waterfront" and sign == -1
        self._lay_ground(edge, at_water)
        if not at_water:
            self._line_up()
        elif rng.random() < 0.3:
            end = crossing[0] if crossing else _FAR_M
            self.blocks.append(_block(rng, "wall", self.pavement[1], 1.0, end, height=rng.uniform(0.7, 1.1)))
        self._furnish()

    def _lay_ground(self, edge: float, at_water: bool) -> None:
        rng, (inner, outer), horizon = self.rng, self.pavement, self.sign * _ENDLESS_M
        paving = tint(rng, (0.0, 0.7), (0.02, 0.22), (0.56, 0.86))
        grass = tint(rng, (0.1, 0.34), (0.25, 0.6), (0.32, 0.66))
        water = tint(rng, (0.45, 0.62), (0.2, 0.55), (0.3, 0.6))
        beyond = ("water", water) if at_water else ("sidewalk", paving) if self.place == "city" else ("terrain", grass)
        self.strips.append(Strip(beyond[0], outer, horizon, 0.0, 300.0, beyond[1]))
        if self.place == "park" and rng.random() < 0.45:
            shore = outer + self.sign * rng.uniform(2.5, 5.0)
            self.strips.append(Strip("water", shore, horizon, rng.uniform(4.0, 8.0), 60.0, water))
        self.strips.append(Strip("sidewalk", inner, outer, 0.0, 300.0, paving))
        if inner != edge:
            self.strips.append(Strip("terrain", edge, inner, 0.0, 300.0, grass))

    def _line_up(self) -> None:
        """Puts buildings, walls, hedges and gaps with trees in a row, leaving a crossing street free."""
        rng, z = self.rng, self.rng.uniform(0.8, 3.0)
        x = self.pavement[1] + self.sign * (rng.uniform(1.5, 5.0) if self.place in ("suburb", "park") else 0.0)
        while z < _FAR_M:
            if self.crossing and self.crossing[0] - 3.5 < z < self.crossing[1] + 1.5:
                z = self.crossing[1] + 1.5
            choice = int(rng.choice(4, p=_FRONT_ODDS[self.place]))
            if choice == len(_FRONTS):
                scale, back = rng.uniform(0.9, 1.6), self.sign * rng.uniform(0.5, 3.0)
                self.props.append(Thing("tree", x + back, z + 1.0, 0.0, scale, draw_seed(rng)))
                z += rng.uniform(3.0, 7.0)
                continue
            end = z + rng.uniform(*_FRONT_LENGTHS_M[_FRONTS[choice]])
            if self.crossing and z < self.crossing[0]:
                end = min(end, self.crossing[0] - 1.5)
            self.blocks.append(_block(rng, _FRONTS[choice], x, z, end, height=None))
            z = end + (rng.uniform(0.0, 1.5) if self.place != "city" else 0.0)

    def _furnish(self) -> None:
        """Stands trees, lamp posts and bins along the pavement."""
        rng, (inner, outer) = self.rng, self.pavement
        places = {"tree": outer + self.sign * 0.3, "pole": inner + self.sign * 0.4, "bin": outer - self.sign * 0.5}
        for z in np.arange(rng.uniform(4.5, 9.0), 34.0, rng.uniform(7.0, 13.0)):
            kind = str(rng.choice([*places, ""], p=[0.4, 0.14, 0.12, 0.34]))
            if kind and not (self.crossing and self.crossing[0] - 1.0 < z < self.crossing[1] + 1.0):
                self.props.append(Thing(kind, places[kind], float(z), 0.0, rng.uniform(0.8, 1.25), draw_seed(rng)))


def _block(
    rng: np.random.Generator,
    category: Literal["building", "wall", "vegetation"],
    x: float,
    z0: float,
    z1: float,
    *,
    height: float | None,
) -> Block:
    if category == "building":
        hue = (-0.02, 0.14) if rng.random() < 0.7 else (0.5, 0.7)
        albedo = tint(rng, hue, (0.04, 0.55), (0.4, 0.92))
        return Block("building", x, z0, z1, rng.uniform(4.0, 15.0), rng.uniform(6, 12), albedo, draw_seed(rng))
    if category == "wall":
        albedo = tint(rng, (-0.03, 0.14) if rng.random() < 0.7 else (0.3, 0.7), (0.08, 0.5), (0.35, 0.85))
        return Block("wall", x, z0, z1, height or rng.uniform(2.6, 4.4), 0.3, albedo, draw_seed(rng))
    albedo = tint(rng, (0.18, 0.4), (0.35, 0.7), (0.25, 0.52))
    return Block("vegetation", x, z0, z1, rng.uniform(1.4, 3.2), rng.uniform(1.5, 3.0), albedo, draw_seed(rng))


def _camera(rng: np.random.Generator, size: tuple[int, int]) -> Camera:
    side = min(size)
    height, width = size[0] / side, size[1] / side
    center = (width * rng.uniform(0.3, 0.7), height * rng.uniform(0.36, 0.5))
    return Camera(width, height, center, focal=rng.uniform(1.0, 1.25), elevation=rng.uniform(2.6, 4.0))


def _light(rng: np.random.Generator) -> Light:
    mood = rng.choice(["day", "dusk", "overcast"], p=[0.55, 0.2, 0.25])
    azimuth = rng.uniform(0.0, 2.0 * math.pi)
    low, high = {"day": (30, 65), "dusk": (18, 30), "overcast": (40, 70)}[str(mood)]
    elevation = math.radians(rng.uniform(low, high))
    flat = math.cos(elevation)
    sun = (flat * math.cos(azimuth), math.sin(elevation), flat * math.sin(azimuth))
    if mood == "day":
        zenith = tint(rng, (0.55, 0.63), (0.35, 0.75), (0.6, 0.95))
        horizon = tint(rng, (0.52, 0.6), (0.05, 0.2), (0.85, 0.98))
        return Light(sun, (0.62, 0.63, 0.67), (0.62, 0.58, 0.5), rng.uniform(0.4, 0.58), (zenith, horizon),
                     rng.uniform(0.0, 0.8), rng.uniform(110, 400), False)  # fmt: skip
    if mood == "dusk":
        zenith = tint(rng, (0.6, 0.75), (0.3, 0.6), (0.3, 0.55))
        horizon = tint(rng, (0.02, 0.11), (0.25, 0.6), (0.7, 0.95))
        return Light(sun, (0.42, 0.4, 0.46), (0.5, 0.36, 0.22), rng.uniform(0.3, 0.45), (zenith, horizon),
                     rng.uniform(0.2, 0.8), rng.uniform(70, 200), True)  # fmt: skip
    zenith = tint(rng, (0.55, 0.65), (0.0, 0.12), (0.55, 0.8))
    horizon = tint(rng, (0.55, 0.65), (0.0, 0.08), (0.75, 0.92))
    return Light(sun, (0.72, 0.73, 0.75), (0.15, 0.15, 0.15), rng.uniform(0.1, 0.2), (zenith, horizon),
                 rng.uniform(0.4, 1.0), rng.uniform(60, 200), bool(rng.random() < 0.2))  # fmt: skip


def _markings(
    rng: np.random.Generator, road: tuple[float, float], crossing: tuple[float, float] | None
) -> tuple[tuple[float, float, float, float], ...]:
    middle = (road[0] + road[1]) / 2
    marks: list[tuple[float, float, float, float]] = []
    dash, gap = (300.0, 1.0) if rng.random() < 0.25 else (rng.uniform(2, 4), rng.uniform(2, 5))
    z = rng.uniform(0.5, 3.0)
    while z < 80.0:
        marks.append((middle - 0.08, middle + 0.08, z, min(z + dash, 80.0)))
        z += dash + gap
    if rng.random() < 0.4:
        marks += [(x - 0.06, x + 0.06, 0.5, 80.0) for x in (road[0] + 0.35, road[1] - 0.35)]
    if crossing:
        marks = [m for m in marks if m[3] < crossing[0] - 3.2 or m[2] > crossing[1]]
    if crossing and rng.random() < 0.7:
        stripes = np.arange(road[0] + 0.3, road[1] - 0.5, 1.0)
        marks += [(float(x), float(x) + 0.5, crossing[0] - 2.9, crossing[0] - 0.6) for x in stripes]
    return tuple(marks)
