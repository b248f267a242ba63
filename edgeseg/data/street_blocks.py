"""Draws what lines the road: buildings, walls and hedges, each as a box in perspective."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.street_canvas import STUFF_INDEX, Canvas
from edgeseg.data.street_scene import Block, tint


def draw_block(canvas: Canvas, block: Block) -> None:
    """Paints one block into the image and the label."""
    {"building": _draw_building, "wall": _draw_wall, "vegetation": _draw_hedge}[block.category](canvas, block)


def _draw_building(canvas: Canvas, block: Block) -> None:
    rng = np.random.Generator(np.random.PCG64(block.look))
    index = STUFF_INDEX["building"]
    side, outer = math.copysign(1.0, block.x), block.x + math.copysign(block.depth, block.x)
    faces = _box_faces(block, outer)
    front, gable = faces
    normals = ((-side, 0.0, 0.0), (0.0, 0.0, -1.0))
    distances = ((block.z0 + block.z1) / 2, block.z0)
    if rng.random() < 0.5:
        tiles = tint(rng, (-0.02, 0.1) if rng.random() < 0.6 else (0.55, 0.65), (0.1, 0.6), (0.25, 0.6))
        ridge = block.height + rng.uniform(1.0, 2.5)
        middle = (block.x + outer) / 2
        slope = np.array([front[1], front[2], [middle, ridge, block.z1], [middle, ridge, block.z0]])
        canvas.fill3d([slope], canvas.light.shade(tiles, (-side * 0.6, 0.8, 0.0), distances[0]), index)
        roof_end = np.array([gable[1], gable[2], [middle, ridge, block.z0]])
        canvas.fill3d([roof_end], canvas.light.shade(block.albedo, normals[1], block.z0), index)
    for face, normal, z in zip(faces, normals, distances, strict=True):
        canvas.fill3d([face], canvas.light.shade(block.albedo, normal, z), index)
    glass = canvas.light.shade(tint(rng, (0.5, 0.65), (0.1, 0.4), (0.15, 0.45)), normals[0], distances[0])
    lamp = (250.0, 214.0, 140.0)
    floor, pitch = rng.uniform(2.6, 3.3), rng.uniform(1.6, 2.8)
    width, tall = rng.uniform(0.4, 0.7), rng.uniform(0.4, 0.65)
    lit_share = 0.45 if canvas.light.lamps else 0.0
    for face in faces if block.z0 < 40.0 else ():
        length = float(np.abs(face[3] - face[0]).max())
        windows = _windows(face, max(1, round(length / pitch)), max(1, int(block.height / floor)), width, tall)
        lit = rng.random(len(windows)) < lit_share
        canvas.fill3d(windows[~lit], glass, None)
        canvas.fill3d(windows[lit], lamp, None)


def _box_faces(block: Block, outer: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The face along the road and the one towards the camera; corners foot, top, top, foot."""
    h = block.height
    front = np.array([[block.x, 0, block.z0], [block.x, h, block.z0], [block.x, h, block.z1], [block.x, 0, block.z1]])
    gable = np.array([[block.x, 0, block.z0], [block.x, h, block.z0], [outer, h, block.z0], [outer, 0, block.z0]])
    return front, gable


def _windows(face: NDArray[np.float64], columns: int, rows: int, width: float, tall: float) -> NDArray[np.float64]:
    """A (columns * rows, 4, 3) grid of rectangles on a face."""
    along, up = face[3] - face[0], face[1] - face[0]
    s = (np.arange(columns) + 0.5 - width / 2) / columns
    t = (np.arange(rows) + 0.5 - tall / 2) / rows
    ds, dt = width / columns, tall / rows
    corner_s = (s[:, None] + np.array([0, 0, ds, ds]))[:, None, :, None]
    corner_t = (t[:, None] + np.array([0, dt, dt, 0]))[None, :, :, None]
    windows: NDArray[np.float64] = face[0] + corner_s * along + corner_t * up
    return windows.reshape(-1, 4, 3)


def _draw_wall(canvas: Canvas, block: Block) -> None:
    rng = np.random.Generator(np.random.PCG64(block.look))
    faces = _box_faces(block, block.x + math.copysign(block.depth, block.x))
    normals = ((-math.copysign(1.0, block.x), 0.0, 0.0), (0.0, 0.0, -1.0))
    for face, normal, z in zip(faces, normals, ((block.z0 + block.z1) / 2, block.z0), strict=True):
        canvas.fill3d([face], canvas.light.shade(block.albedo, normal, z), STUFF_INDEX["wall"])
    dark = (block.albedo[0] * 0.68, block.albedo[1] * 0.68, block.albedo[2] * 0.68)
    color = canvas.light.shade(dark, normals[0], block.z0 + 3.0)
    length = block.z1 - block.z0
    if rng.random() < 0.5:
        pattern = _windows(faces[0], max(2, int(length / 0.7)), 1, 0.14, 0.96)
    else:
        pattern = _windows(faces[0], 1, max(2, int(block.height / 0.28)), 1.0, 0.22)
    canvas.fill3d(pattern, color, None)
    top = faces[0].copy()
    top[[0, 3], 1] = block.height - 0.12
    bright = (min(255.0, block.albedo[0] * 1.2), min(255.0, block.albedo[1] * 1.2), min(255.0, block.albedo[2] * 1.2))
    canvas.fill3d([top], canvas.light.shade(bright, normals[0], block.z0 + 3.0), None)


def _draw_hedge(canvas: Canvas, block: Block) -> None:
    rng = np.random.Generator(np.random.PCG64(block.look))
    index = STUFF_INDEX["vegetation"]
    side = math.copysign(1.0, block.x)
    steps = 10
    z = np.linspace(block.z0, block.z1, steps)
    top = block.height * rng.uniform(0.82, 1.1, steps)
    x = np.full(steps, block.x)
    front = np.concatenate([np.stack([x, top, z], 1), [[block.x, 0, block.z1], [block.x, 0, block.z0]]])
    outer = block.x + side * block.depth
    crown = np.concatenate([np.stack([x, top, z], 1), np.stack([x * 0 + outer, top * 0.97, z], 1)[::-1]])
    end_x = np.linspace(block.x, outer, 6)
    end_top = np.concatenate([[top[0]], block.height * rng.uniform(0.85, 1.08, 5)])
    end = np.concatenate([np.stack([end_x, end_top, end_x * 0 + block.z0], 1),
                          [[outer, 0, block.z0], [block.x, 0, block.z0]]])  # fmt: skip
    canvas.fill3d([crown], canvas.light.shade(block.albedo, (0.0, 1.0, 0.0), block.z0 + 2), index)
    canvas.fill3d([front], canvas.light.shade(block.albedo, (-side, 0.0, 0.0), block.z0 + 2), index)
    canvas.fill3d([end], canvas.light.shade(block.albedo, (0.0, 0.0, -1.0), block.z0), index)
