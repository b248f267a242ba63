"""Puts a trained checkpoint among those that come with edgeseg: its weights, without training state and data folder,
and some photos of its val split, which its bundles are proven on where no other data is given.

python -m edgeseg.engine.shipped RUN NAME
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from PIL import Image

from edgeseg.data.loader import evenly_spaced
from edgeseg.data.sets import open_dataset
from edgeseg.engine.checkpoint import SHIPPED, load_checkpoint, save_checkpoint
from edgeseg.structures import InputError

_NUM_PHOTOS = 8


def ship(source: Path, name: str, folder: Path = SHIPPED) -> Path:
    """Writes NAME.safetensors and NAME/0.png to 7.png.

    Args:
        source: Float checkpoint, or a run's folder; the last weights of a run, which its whole schedule made.
        name: What users will call it.
        folder: Where to.

    Raises:
        InputError: Not a float checkpoint, one that was never evaluated, or its data is not where it was.
    """
    checkpoint = load_checkpoint(source, prefer="last")
    if "recipe" in checkpoint.extra or not checkpoint.metrics:
        raise InputError(f"{checkpoint.path}: a float checkpoint with the metrics of its last evaluation is wanted")
    config = checkpoint.config
    if config.data.root is None:
        raise InputError(f"{checkpoint.path} does not say what it was trained on: no photos could come with it")
    val = open_dataset(config.data.root, "val", config.data.format)
    (folder / name).mkdir(exist_ok=True)
    for number, index in enumerate(evenly_spaced(_NUM_PHOTOS, len(val))):
        Image.fromarray(val[index].image).save(folder / name / f"{number}.png")
    path = folder / f"{name}.safetensors"
    save_checkpoint(
        path,
        {"weights": checkpoint.tensors["weights"]},
        config=replace(config, data=replace(config.data, root=None)),
        categories=checkpoint.categories,
        step=checkpoint.step,
        metrics=checkpoint.metrics,
    )
    return path


if __name__ == "__main__":
    print(ship(Path(sys.argv[1]), sys.argv[2]))
