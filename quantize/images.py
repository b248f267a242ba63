"""Images that quantization calibrates and trains on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from edgeseg.data.loader import CachedSamples, Samples, evenly_spaced, train_loader
from edgeseg.data.sets import open_dataset
from edgeseg.data.transforms import letterbox
from edgeseg.engine.checkpoint import Checkpoint
from edgeseg.engine.evaluate import require_same_categories
from edgeseg.quantize.calibrate import is_noise
from edgeseg.structures import Batch, InputError

CALIBRATION_IMAGES = 64
LEAST_CALIBRATION_IMAGES = 32


def data_root(checkpoint: Checkpoint, data: Path | None) -> Path:
    """The folder that was given, or the one the checkpoint was trained on.

    Raises:
        InputError: Neither is known.
    """
    if (root := data or checkpoint.config.data.root) is None:
        raise InputError(f"{checkpoint.path} does not say what it was trained on; give --data FOLDER")
    return root


def open_splits(checkpoint: Checkpoint, data: Path | None, data_format: str | None) -> tuple[Samples, Samples]:
    """Train and val split of a data set, or of what a checkpoint was trained on."""
    root = data_root(checkpoint, data)
    layout = data_format or ("auto" if data else checkpoint.config.data.format)
    train, val = (open_dataset(root, split, layout) for split in ("train", "val"))
    require_same_categories(checkpoint.categories, train.categories, str(root))
    return train, val


def calibration_batches(
    samples: Samples, size: tuple[int, int], source: Path, *, force: bool = False
) -> list[torch.Tensor]:
    """Evenly spaced images as the deployed network will see them: letterboxed, not augmented.

    Args:
        samples: Train split.
        size: (height, width) of the network's input.
        source: Named in errors.
        force: Take few images and noise too.

    Raises:
        InputError: Too few images, or noise instead of images.
    """
    if len(samples) < LEAST_CALIBRATION_IMAGES and not force:
        raise InputError(
            f"{source} has {len(samples)} train images; ranges of activations measured on fewer than "
            f"{LEAST_CALIBRATION_IMAGES} do not hold for others: give more, or say --force"
        )
    count = min(CALIBRATION_IMAGES, len(samples))
    images = [letterbox(samples[i].image, size)[0] for i in evenly_spaced(count, len(samples))]
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    if not force and is_noise(stacked):
        raise InputError(
            f"{source}: neighbouring pixels of its train images have nothing in common, as in random numbers; ranges "
            "of activations measured on them do not hold for photos: give photos, or say --force"
        )
    return [stacked[i : i + 8] for i in range(0, count, 8)]


def training_batches(checkpoint: Checkpoint, samples: Samples, *, first: int, steps: int) -> Iterable[Batch]:
    """The augmented batches of the float training's next steps.

    Args:
        checkpoint: Float; says how images are augmented, and at which step it was.
        samples: Train split.
        first: Steps of quantization that are done.
        steps: Steps of quantization in all.
    """
    config = checkpoint.config
    return train_loader(
        CachedSamples(samples),
        checkpoint.categories,
        config.data,
        seed=config.train.seed,
        start_step=checkpoint.step + first,
        num_steps=steps - first,
    )
