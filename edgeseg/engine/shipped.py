"""Puts a trained checkpoint among those that come with edgeseg: its weights, without training state and data folder.

python -m edgeseg.engine.shipped RUN NAME
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from edgeseg.engine.checkpoint import SHIPPED, load_checkpoint, save_checkpoint
from edgeseg.structures import InputError


def ship(source: Path, name: str, folder: Path = SHIPPED) -> Path:
    """Writes NAME.safetensors.

    Args:
        source: Float checkpoint, or a run's folder; the last weights of a run, which its whole schedule made.
        name: What users will call it.
        folder: Where to.

    Raises:
        InputError: Not a float checkpoint, or one that was never evaluated.
    """
    checkpoint = load_checkpoint(source, prefer="last")
    if "recipe" in checkpoint.extra or not checkpoint.metrics:
        raise InputError(f"{checkpoint.path}: a float checkpoint with the metrics of its last evaluation is wanted")
    path = folder / f"{name}.safetensors"
    config = checkpoint.config
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
