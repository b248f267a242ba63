"""The file that an interrupted quantization continues from."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edgeseg.config import config_to_dict
from edgeseg.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgeseg.quantize.fine_tune import Saving, Snapshot
from edgeseg.quantize.recipes import Recipe
from edgeseg.structures import InputError


def partial_path(out: Path) -> Path:
    """Where the training of `out` is kept while it lasts."""
    return out.with_suffix(".partial")


def open_partial(out: Path, teacher: Checkpoint, recipe: Recipe, data: Path, *, resume: bool) -> Saving:
    """Snapshots beside the result, as often as the float training saved.

    Args:
        out: The result's path.
        teacher: The float checkpoint.
        recipe: What it becomes.
        data: Folder of the images.
        resume: Continue from the file.

    Raises:
        InputError: Nothing to continue, something that would be overwritten, or of another training.
    """
    path = partial_path(out)
    identity = {
        "recipe": config_to_dict(recipe),
        "teacher": hashlib.sha256(teacher.path.read_bytes()).hexdigest(),
        "data": str(data.resolve()),
        "seed": teacher.config.train.seed,
    }

    def save(snapshot: Snapshot) -> None:
        save_checkpoint(
            path,
            {group: tensors for group, tensors in snapshot.tensors.items() if tensors},
            config=teacher.config,
            categories=teacher.categories,
            step=snapshot.step,
            metrics={},
            extra=identity | {"best": snapshot.best},
        )

    if not resume:
        if path.exists():
            raise InputError(
                f"{path} holds {load_checkpoint(path).step} of {recipe.qat_steps} steps; continue with --resume, "
                "or delete it to begin again"
            )
        return Saving(teacher.config.train.save_every, save)
    if not path.exists():
        raise InputError(f"{path} does not exist: nothing to resume; leave --resume out to begin")
    stopped = load_checkpoint(path)
    if changed := [key for key, value in identity.items() if stopped.extra.get(key) != value]:
        raise InputError(f"{path} is of another {' and '.join(changed)}; resume with the same, or delete it")
    best = stopped.extra["best"]
    return Saving(
        teacher.config.train.save_every, save, Snapshot(stopped.step, stopped.tensors, tuple(best) if best else None)
    )
