"""Golden vectors: images with torch's answers, which every runtime and every app must reproduce."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeseg.export.bundle import GOLDEN, Bundle, GoldenFiles
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


def write_golden(folder: Path, goldens: Mapping[str, Sequence[Golden]]) -> tuple[GoldenFiles, ...]:
    """Writes golden/NNN.png once for all precisions and golden/NNN.PRECISION.npz; logits for the first image only.

    Args:
        folder: The bundle's.
        goldens: By precision; the same images in each.

    Returns:
        What bundle.json says about them.
    """
    (folder / GOLDEN).mkdir()
    listed = []
    for index, same_image in enumerate(zip(*goldens.values(), strict=True)):
        image = f"{GOLDEN}/{index:03d}.png"
        Image.fromarray(same_image[0].image).save(folder / image)
        answers = {precision: f"{GOLDEN}/{index:03d}.{precision}.npz" for precision in goldens}
        for golden, file in zip(same_image, answers.values(), strict=True):
            arrays = dict(golden.merged._asdict())
            if index < _NUM_WITH_LOGITS and golden.mask_logits is not None and golden.class_logits is not None:
                arrays |= {"mask_logits": golden.mask_logits, "class_logits": golden.class_logits}
            np.savez_compressed(folder / file, allow_pickle=False, **arrays)
        listed.append(GoldenFiles(image, answers))
    return tuple(listed)


def read_golden(bundle: Bundle, precision: str) -> list[Golden]:
    """Images and answers of a bundle for a precision, in the order of bundle.json."""
    goldens = []
    for files in bundle.goldens:
        if precision not in files.answers:
            continue
        with Image.open(bundle.path / files.image) as image:
            pixels = np.array(image)
        with np.load(bundle.path / files.answers[precision], allow_pickle=False) as arrays:
            merged = Merged(arrays["slot_map"], arrays["slot_category"], arrays["slot_score"])
            logits = [arrays.get(name) for name in ("mask_logits", "class_logits")]
        goldens.append(Golden(pixels, merged, *logits))
    return goldens
