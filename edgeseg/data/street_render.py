"""Draws a street scene's image with its label in one pass, back to front."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeseg.data.street_blocks import draw_block
from edgeseg.data.street_canvas import STUFF_INDEX, Canvas
from edgeseg.data.street_layout import lay_out
from edgeseg.data.street_scene import Rgb, Scene, Thing, tint
from edgeseg.data.street_things import draw_thing

_GRAIN = {"road": 0.16, "sidewalk": 0.12, "terrain": 0.42}
"""Amplitude of the perspective ground texture, relative to the local brightness."""
_LEAF = {"vegetation": 0.34, "building": 0.05, "wall": 0.1, "road": 0.05, "terrain": 0.12, "sidewalk": 0.05}
"""Amplitude of the fine upright texture."""
_RIPPLE = {"water": 0.3}
_PATCH = {
    "vegetation": 0.16,
    "building": 0.07,
    "wall": 0.08,
    "road": 0.12,
    "sidewalk": 0.1,
    "terrain": 0.18,
    "water": 0.1,
}
"""Amplitude of large stains."""


def render_scene(
    rng: np.random.Generator, *, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[tuple[str, bool]]]:
    """Draws one scene.

    Args:
        rng: All randomness.
        size: Image (height, width).

    Returns:
        The (H, W, 3) uint8 RGB image; the (H, W) uint8 index map, 0 = void, 1..8 = STUFF_INDEX, 9.. = things; and for
        each thing's index in order its category name and whether it is a crowd.
    """
    scene = lay_out(rng, size=size)
    canvas = Canvas.blank(scene.camera, scene.light, size)
    texture = np.random.Generator(np.random.PCG64(scene.look))
    _draw_sky(canvas, texture)
    _draw_backdrop(canvas, scene, texture)
    _draw_ground(canvas, scene, texture)
    for block in scene.blocks:
        draw_block(canvas, block)
    _apply_texture(canvas, scene, texture)
    names: list[tuple[str, bool]] = []
    crowds: dict[int, int] = {}
    blurred = False
    for thing in scene.things:
        if not blurred and thing.z < 16.0:
            _blur_distance(canvas)
            blurred = True
        draw_thing(canvas, thing, _index_of(thing, names, crowds))
    if not blurred:
        _blur_distance(canvas)
    _draw_bonnet(canvas, scene, texture)
    image, index = _expose(canvas, texture), canvas.index
    if scene.mirrored:
        image, index = np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(index[:, ::-1])
    return image, index, names


def _index_of(thing: Thing, names: list[tuple[str, bool]], crowds: dict[int, int]) -> int:
    if thing.kind == "tree":
        return STUFF_INDEX["vegetation"]
    if thing.kind in ("pole", "bin"):
        return 0
    if thing.crowd in crowds:
        return crowds[thing.crowd]
    names.append((thing.kind, thing.crowd is not None))
    index = len(STUFF_INDEX) + len(names)
    if thing.crowd is not None:
        crowds[thing.crowd] = index
    return index


def _draw_sky(canvas: Canvas, rng: np.random.Generator) -> None:
    light = canvas.light
    rows = int(canvas.center[1]) + 2
    height = np.linspace(1.0, 0.0, 48)[:, None, None]
    sky = np.array(light.sky[1]) + (np.array(light.sky[0]) - np.array(light.sky[1])) * height**0.7
    noise = (
        _noise(rng, (10, 8), (96, 48)) + 0.5 * _noise(rng, (22, 14), (96, 48)) + 0.25 * _noise(rng, (48, 30), (96, 48))
    )
    cover = np.clip((noise + 1.6 * light.clouds - 1.0) * 1.1, 0.0, 0.85)[..., None]
    cloud = np.minimum(np.array(light.sky[1]) * 0.6 + 100.0, 255.0)
    sky = sky * (1.0 - cover) + cloud * (1.0 - 0.12 * noise[..., None]) * cover
    small = np.clip(sky, 0.0, 255.0).astype(np.uint8)
    canvas.image[:rows] = cv2.resize(small, (canvas.image.shape[1], rows), interpolation=cv2.INTER_LINEAR)
    canvas.index[:rows] = STUFF_INDEX["sky"]


def _draw_backdrop(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    """A silhouette along the horizon, far away in the haze."""
    width, foot = scene.camera.width, scene.camera.center[1] + 0.012
    if scene.backdrop == "building":
        edges = np.sort(rng.uniform(0.0, width, 14))
        x = np.repeat(np.concatenate([[-0.1], edges, [width + 0.1]]), 2)[1:-1]
        top = np.repeat(rng.uniform(0.01, 0.12, 15), 2)
    else:
        x = np.linspace(-0.1, width + 0.1, 40)
        waves = sum(np.sin(x * f + rng.uniform(0, 6)) / f**0.5 for f in (3.0, 7.0, 19.0, 41.0))
        top = 0.05 + 0.022 * np.asarray(waves)
    outline = np.concatenate(
        [np.stack([x, scene.camera.center[1] - np.maximum(top, 0.004)], 1), [[x[-1], foot], [x[0], foot]]]
    )
    albedo = {
        "building": tint(rng, (0.0, 0.7), (0.02, 0.15), (0.4, 0.7)),
        "vegetation": tint(rng, (0.2, 0.42), (0.3, 0.55), (0.2, 0.45)),
        "terrain": tint(rng, (0.1, 0.36), (0.25, 0.5), (0.35, 0.6)),
    }[scene.backdrop]
    color = canvas.light.shade(albedo, (0.0, 0.4, -0.9), 0.6 * canvas.light.haze_m)
    canvas.fill([outline * canvas.unit], color, STUFF_INDEX[scene.backdrop])


def _draw_ground(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    near = scene.camera.near
    up = (0.0, 1.0, 0.0)
    for strip in scene.strips:
        corners = _flat(strip.x0, strip.x1, max(strip.z0, near), strip.z1)
        middle = max(strip.z0, 8.0) if strip.z1 > 100 else (strip.z0 + strip.z1) / 2
        canvas.fill3d([corners], canvas.light.shade(strip.albedo, up, middle), STUFF_INDEX[strip.category])
        if strip.category == "sidewalk" and strip.z1 > 100 and abs(strip.x1) < 50:
            _draw_paving(canvas, strip.x0, strip.x1, near, strip.albedo)
    if scene.crossing:
        road = next(s for s in reversed(scene.strips) if s.category == "road")
        canvas.fill3d([_flat(*scene.road, scene.crossing[0] - 1, scene.crossing[1] + 1)],
                      canvas.light.shade(road.albedo, up, scene.crossing[0]), STUFF_INDEX["road"])  # fmt: skip
    for edge in scene.road:
        color = canvas.light.shade((188.0, 186.0, 180.0), up, 8.0)
        pieces = [(near, 80.0)] if not scene.crossing else [(near, scene.crossing[0]), (scene.crossing[1], 80.0)]
        kerbs = [_flat(edge, edge + math.copysign(0.14, edge), z0, z1) for z0, z1 in pieces if z1 > z0]
        canvas.fill3d(kerbs, color, STUFF_INDEX["sidewalk"])
    worn = rng.uniform(0.6, 1.0)
    paint = canvas.light.shade((225.0 * worn, 222.0 * worn, 210.0 * worn), up, 10.0)
    marks = [_flat(x0, x1, max(z0, near), z1) for x0, x1, z0, z1 in scene.markings if z1 > near]
    canvas.fill3d(marks, paint, STUFF_INDEX["road"])


def _draw_paving(canvas: Canvas, x0: float, x1: float, near: float, albedo: Rgb) -> None:
    joints = [_flat(x0, x1, z, z + 0.05) for z in np.arange(math.ceil(near), 15.0, 1.1)]
    middle = (x0 + x1) / 2
    joints.append(_flat(middle - 0.03, middle + 0.03, near, 25.0))
    dark = (albedo[0] * 0.72, albedo[1] * 0.72, albedo[2] * 0.72)
    canvas.fill3d(joints, canvas.light.shade(dark, (0.0, 1.0, 0.0), 8.0), None)


def _flat(x0: float, x1: float, z0: float, z1: float) -> NDArray[np.float64]:
    return np.array([[x0, 0.0, z0], [x1, 0.0, z0], [x1, 0.0, z1], [x0, 0.0, z1]])


def _apply_texture(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    """Multiplies shadow, stains and the texture of each kind of stuff into the picture so far."""
    shape = (canvas.image.shape[1], canvas.image.shape[0])
    gain = 1.0 + _amplitude(canvas, _LEAF) * _noise(rng, (72, 72), shape)
    gain += _amplitude(canvas, _PATCH) * _noise(rng, (14, 14), shape)
    if any(strip.category == "water" for strip in scene.strips):
        gain += _amplitude(canvas, _RIPPLE) * _noise(rng, (9, 80), shape)
    top = int(canvas.center[1]) + 2
    gain[top:] += _amplitude(canvas, _GRAIN)[top:] * _ground_grain(canvas, rng, top)
    gain *= 1.0 - _shadow(canvas, scene)
    factor = cv2.convertScaleAbs(np.maximum(gain, 0.0), alpha=100.0)
    canvas.image[...] = cv2.multiply(canvas.image, cv2.merge([factor] * 3), scale=0.01)


def _amplitude(canvas: Canvas, of: dict[str, float]) -> NDArray[np.float32]:
    table = np.zeros(256, np.float32)
    for name, value in of.items():
        table[STUFF_INDEX[name]] = value
    return np.asarray(cv2.LUT(canvas.index, table), np.float32)


def _noise(rng: np.random.Generator, grid: tuple[int, int], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Smooth noise of about -1..1; both arguments are (columns, rows)."""
    coarse = rng.random((grid[1], grid[0]), dtype=np.float32) * 2.4 - 1.2
    return np.asarray(cv2.resize(coarse, shape, interpolation=cv2.INTER_LINEAR))


def _ground_grain(canvas: Canvas, rng: np.random.Generator, top: int) -> NDArray[np.float32]:
    """Noise that lies on the ground in perspective, for the rows from `top` down; it fades with distance."""
    rows, columns = canvas.image.shape[:2]
    tile = rng.random((64, 64), dtype=np.float32) * 2.0 - 1.0
    camera = canvas.camera
    v = (np.arange(top, rows, dtype=np.float32) + 0.5 - canvas.center[1])[:, None]
    z = np.float32(camera.focal * camera.elevation * canvas.unit) / v
    u = (np.arange(columns, dtype=np.float32) + 0.5 - canvas.center[0])[None]
    x = u * z / np.float32(camera.focal * canvas.unit)
    texels_per_m = np.float32(7.0)
    grain = cv2.remap(tile, x * texels_per_m, np.broadcast_to(z * texels_per_m, x.shape).copy(),
                      cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)  # fmt: skip
    return np.asarray(grain * np.minimum(1.0, 5.0 / z), np.float32)


def _shadow(canvas: Canvas, scene: Scene) -> NDArray[np.float32]:
    """Darkening of the ground, 0..1: cast shadows of blocks and things, and contact shadows under things."""
    mask = np.zeros(canvas.index.shape, np.uint8)
    sun = scene.light.sun
    lean = np.array([-sun[0], 0.0, -sun[2]]) / max(sun[1], 0.45)
    cast = round(255 * scene.light.shadow)
    for block in scene.blocks:
        foot = _flat(block.x, block.x, block.z0, block.z1)
        tip = foot + lean * block.height
        _stamp(canvas, mask, np.concatenate([foot, tip]), cast)
    close = [thing for thing in scene.things if thing.z < 35.0]
    for thing in close:
        corners = thing.corners
        if thing.kind == "tree":
            crown = np.array([[math.cos(a), 0.0, math.sin(a)] for a in np.linspace(0, 6.28, 10)]) * 1.4 * thing.scale
            _stamp(canvas, mask, corners[4:].mean(axis=0) * [1, 0, 1] + crown + lean * 3.8 * thing.scale, cast)
        tall = corners[4:] * [1, 0, 1] + lean * corners[4, 1] * (0.9 if thing.kind != "tree" else 0.5)
        _stamp(canvas, mask, np.concatenate([corners[:4], tall]), cast)
    for thing in close:
        if thing.kind not in ("traffic light", "traffic sign", "pole"):
            _stamp(canvas, mask, thing.corners[:4], max(cast, 130))
    sigma = 0.005 * canvas.unit
    soft = cv2.GaussianBlur(mask, (0, 0), sigma).astype(np.float32) * np.float32(1 / 255)
    return soft * _amplitude(canvas, {"road": 1.0, "sidewalk": 1.0, "terrain": 1.0, "water": 0.5})


def _stamp(canvas: Canvas, mask: NDArray[np.uint8], points: NDArray[np.float64], value: int) -> None:
    points = points.copy()
    points[:, 2] = np.maximum(points[:, 2], 0.5 * canvas.camera.near)
    canvas.fill_hull(mask, points, value)


def _blur_distance(canvas: Canvas) -> None:
    """Softens what is near the vanishing point, in place: there, distance from it goes with 1 / Z."""
    radius = 0.24 * canvas.unit
    (x, y), (rows, columns) = canvas.center, canvas.index.shape
    left, right = max(0, int(x - radius)), min(columns, int(x + radius))
    top, bottom = max(0, int(y - radius)), min(rows, int(y + radius))
    part = canvas.image[top:bottom, left:right]
    u = np.arange(left, right, dtype=np.float32)[None] + 0.5 - x
    v = np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5 - y
    share = np.clip(1.2 - np.sqrt(u * u + v * v) / np.float32(radius) * 1.2, 0.0, 1.0)[..., None]
    soft = cv2.GaussianBlur(part, (0, 0), 0.0055 * canvas.unit)
    part[...] = (part + (soft.astype(np.float32) - part) * share).astype(np.uint8)


def _draw_bonnet(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    if not scene.bonnet:
        return
    camera = scene.camera
    paint = tint(rng, (0.0, 1.0), (0.0, 0.6), (0.08, 0.5))
    x = np.linspace(0.1, 0.9, 16)
    bow = scene.bonnet * (1.0 - 0.45 * (2.0 * (x - 0.5) / 0.8) ** 2)

    def outline(share: float) -> NDArray[np.float64]:
        top = np.stack([x * camera.width, (1.0 - bow * share) * camera.height], 1)
        foot = np.array([[0.95 * camera.width, camera.height + 0.1], [0.05 * camera.width, camera.height + 0.1]])
        return np.concatenate([top, foot]) * canvas.unit

    canvas.fill([outline(1.0)], canvas.light.shade(paint, (0.0, 0.9, -0.4), 0.0), 0)
    glossy = tuple(0.6 * c + 0.4 * s for c, s in zip(paint, canvas.light.sky[0], strict=True))
    canvas.fill([outline(0.62)], canvas.light.shade((glossy[0], glossy[1], glossy[2]), (0.0, 1.0, 0.0), 0.0), 0)


def _expose(canvas: Canvas, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The camera's part: exposure, white balance, contrast and sensor noise."""
    gain = rng.uniform(0.96, 1.04, 3) * rng.uniform(0.92, 1.14)
    level = np.linspace(0.0, 1.0, 256)[:, None] * gain
    curve = np.clip(level ** rng.uniform(0.72, 0.95), 0.0, 1.0) * 255.0
    picture = cv2.LUT(canvas.image, np.rint(curve).astype(np.uint8)[:, None])
    grain = np.frombuffer(rng.bytes(picture.size), np.uint8).reshape(picture.shape)
    strength = rng.uniform(1.5, 7.0)
    return np.asarray(cv2.addWeighted(picture, 1.0, grain, 2.0 * strength / 255.0, -strength), np.uint8)
