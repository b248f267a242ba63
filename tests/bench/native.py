"""The C++ runner, built once and kept in the cache, and how tests ask it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeseg.bench.native_build import build, missing
from edgeseg.bench.worker import Request

SPEC = Path(__file__).parents[2] / "apps" / "spec"
BUNDLE = SPEC / "tiny.edgeseg"


@cache
def built(preset: str) -> Path:
    """Folder of a preset's programs; skips where the machine cannot build them."""
    if reason := missing(preset):
        pytest.skip(reason)
    return build(preset)


def program(preset: str, name: str) -> list[str]:
    """How a program of a preset is started, without a shell."""
    folder = built(preset)
    loader = json.loads((folder / "build.json").read_text(encoding="utf-8"))["loader"]
    return [str(folder / loader), "--library-path", str(folder / "lib"), str(folder / "bin" / name)]


def to_json(request: Request, path: Path) -> Path:
    table = asdict(request) | {"path": str(request.path)}
    path.write_text(json.dumps(table), encoding="utf-8")
    return path


def run(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def noise_images(count: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """Noise of several coarsenesses at the tiny bundle's size: flat areas and none."""
    generator = np.random.default_rng(seed)
    images = []
    for index in range(count):
        side = (2, 4, 8, 64)[index % 4]
        cells = generator.integers(0, 256, (side, side, 3), dtype=np.uint8)
        images.append(np.kron(cells, np.ones((64 // side, 64 // side, 1), dtype=np.uint8)))
    return np.stack(images)
