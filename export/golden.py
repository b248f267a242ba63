"""Golden vectors: images with torch's answers, which every runtime and every app must reproduce."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeseg.structures import Merged

_NUM_WITH_LOGITS = 1  # of the images; a full set of logits is a megabyte


@dataclass(frozen=True)
class Golden:
    """One image and what torch, followed by the numpy merge, says about it.

    Attributes:
        image: (H, W, 3) uint8 RGB, letterboxed.
        merged: Expected answer.
        mask_logits: (N, h, w) float32, or None where not kept.
        class_logits: (N, K + 1) float32, or None where not kept.
    """

    image: NDArray[np.uint8]
    merged: Merged
    mask_logits: NDArray[np.float32] | None
    class_logits: NDArray[np.float32] | None


def write_golden(folder: Path, precision: str, goldens: Sequence[Golden]) -> None:
    """Writes NNN.png once for all precisions and NNN.PRECISION.npz; logits for the first image only."""
    folder.mkdir(exist_ok=True)
    for index, golden in enumerate(goldens):
        Image.fromarray(golden.image).save(folder / f"{index:03d}.png")
        arrays = dict(golden.merged._asdict())
        if index < _NUM_WITH_LOGITS and golden.mask_logits is not None and golden.class_logits is not None:
            arrays |= {"mask_logits": golden.mask_logits, "class_logits": golden.class_logits}
        np.savez_compressed(folder / f"{index:03d}.{precision}.npz", allow_pickle=False, **arrays)


def read_golden(folder: Path, precision: str) -> list[Golden]:
    """Reads what `write_golden` wrote for a precision."""
    goldens = []
    for file in sorted(folder.glob(f"*.{precision}.npz")):
        with Image.open(folder / f"{file.name.split('.')[0]}.png") as image:
            pixels = np.array(image)
        with np.load(file, allow_pickle=False) as arrays:
            merged = Merged(arrays["slot_map"], arrays["slot_category"], arrays["slot_score"])
            logits = [arrays.get(name) for name in ("mask_logits", "class_logits")]
        goldens.append(Golden(pixels, merged, *logits))
    return goldens
