"""Checkpoints: one safetensors file, tensors and a JSON header, replaced as a whole."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from edgeseg.config import Config, config_from_dict, config_to_dict, nearest
from edgeseg.full_disk import FULL_DISK, not_written
from edgeseg.models import SlotsModel, build_model
from edgeseg.structures import Category, InputError

FORMAT = "edgeseg-checkpoint-1"

SHIPPED = Path(__file__).parent.parent / "weights"
"""Checkpoints that come with edgeseg, NAME.safetensors; README.md there says what they are."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        path: The file.
        config: The experiment.
        categories: In order of their contiguous index.
        step: Optimiser steps done.
        metrics: Last evaluation, {} before the first.
        extra: What the writer added: training state, or the recipe of a quantized network.
        tensors: By group ("weights" are those to evaluate and export) and name.
    """

    path: Path
    config: Config
    categories: tuple[Category, ...]
    step: int
    metrics: dict[str, Any]
    extra: dict[str, Any]
    tensors: dict[str, dict[str, torch.Tensor]]

    def model(self) -> SlotsModel:
        """The float network in eval mode with the weights to evaluate."""
        if "recipe" in self.extra:
            recipe = self.extra["recipe"]["name"]
            raise InputError(f"{self.path} is quantized already, by recipe {recipe!r}; give the float checkpoint")
        model = build_model(self.config.model, [c.is_thing for c in self.categories], self.config.data.image_size)
        load_weights(model, self.tensors["weights"], self.path)
        return model.eval()


def save_checkpoint(
    path: Path,
    tensors: dict[str, dict[str, torch.Tensor]],
    *,
    config: Config,
    categories: Sequence[Category],
    step: int,
    metrics: dict[str, Any],
    extra: dict[str, Any] | None = None,
) -> None:
    """Writes a checkpoint aside, syncs it to the disk and puts it in place in one rename.

    Args:
        path: File to write or replace.
        tensors: By group and name; the group "weights" must hold the network to evaluate and export.
        config: The experiment.
        categories: In order of their contiguous index.
        step: Optimiser steps done.
        metrics: Last evaluation.
        extra: Plain values kept in the header.

    Raises:
        InputError: The disk is full; what was at `path` stays.
    """
    header = {
        "format": FORMAT,
        "config": config_to_dict(config),
        "categories": [asdict(category) for category in categories],
        "step": step,
        "metrics": metrics,
        "extra": extra or {},
    }
    flat = {
        f"{group}/{name}": t.detach().cpu().contiguous() for group, part in tensors.items() for name, t in part.items()
    }
    content = save(flat, metadata={"edgeseg": json.dumps(header)})  # save_file makes files that only the owner can read
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        if error.errno in FULL_DISK:
            raise not_written(path, error) from error
        raise
    finally:
        aside.unlink(missing_ok=True)


def load_checkpoint(path: Path, *, prefer: str = "best") -> Checkpoint:
    """Reads a checkpoint.

    Args:
        path: A checkpoint file; a run's folder: then `prefer`.safetensors in it, or the other one; or the name of one
            that comes with edgeseg.
        prefer: "best" or "last".

    Raises:
        InputError: Missing, damaged, or not a checkpoint of edgeseg.
    """
    file = path
    if path.is_dir():
        names = [prefer, *({"best", "last"} - {prefer})]
        found = [path / f"{name}.safetensors" for name in names if (path / f"{name}.safetensors").is_file()]
        if not found:
            raise InputError(
                f"{path} holds neither best.safetensors nor last.safetensors; train first, or name the file"
            )
        file = found[0]
    if str(path) in (shipped := shipped_checkpoints()) and not path.exists():
        file = shipped[str(path)]
    if not file.is_file():
        raise InputError(f"checkpoint {file} does not exist{nearest(str(path), list(shipped))}")
    tensors: dict[str, dict[str, torch.Tensor]] = {}
    try:
        with safe_open(file, framework="pt") as handle:
            header = json.loads((handle.metadata() or {}).get("edgeseg", "null"))
            for key in handle.keys():  # noqa: SIM118 - not a dict
                group, _, name = key.partition("/")
                tensors.setdefault(group, {})[name] = handle.get_tensor(key)
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise InputError(f"checkpoint {file} is damaged ({error}); take another copy or train again") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise InputError(f"{file} is a safetensors file but not an edgeseg checkpoint ({FORMAT})")
    return Checkpoint(
        path=file,
        config=config_from_dict(Config, header["config"], where=str(file)),
        categories=tuple(Category(**{**entry, "color": tuple(entry["color"])}) for entry in header["categories"]),
        step=header["step"],
        metrics=header["metrics"],
        extra=header["extra"],
        tensors=tensors,
    )


def shipped_checkpoints() -> dict[str, Path]:
    """Those that come with edgeseg, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.safetensors"))}


def shipped_photos(checkpoint: Checkpoint) -> list[Path]:
    """Photos that come with one of edgeseg's own checkpoints, from its val split; none with any other checkpoint."""
    if checkpoint.path.parent != SHIPPED:
        return []
    return sorted(checkpoint.path.with_suffix("").glob("*.*"))


def beside(checkpoint: Checkpoint, name: str) -> Path:
    """Where something made of a checkpoint goes unless told otherwise.

    Raises:
        InputError: The checkpoint is edgeseg's own.
    """
    if checkpoint.path.parent == SHIPPED:
        raise InputError(f"{checkpoint.path.stem} comes with edgeseg; say where to write with --out")
    return checkpoint.path.with_name(name)


def load_weights(model: torch.nn.Module, weights: dict[str, torch.Tensor], path: Path) -> None:
    """Loads a state dict that must fit exactly.

    Raises:
        InputError: Names or shapes differ.
    """
    wanted = model.state_dict()
    wrong = sorted(set(wanted) ^ set(weights)) or [n for n, t in wanted.items() if t.shape != weights[n].shape]
    if wrong:
        raise InputError(f"checkpoint {path} is of another model: {len(wrong)} tensors differ, first {wrong[0]!r}")
    model.load_state_dict(weights)


def pack_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The tensors of an AdamW state by "parameter index.name"."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": torch.as_tensor(value) for index, part in state.items() for name, value in part.items()}


def unpack_optimizer(optimizer: torch.optim.Optimizer, packed: dict[str, torch.Tensor]) -> None:
    """Puts back what `pack_optimizer` gave, in place.

    Moments get their parameter's memory format: a fused optimizer walks both in memory order without a look at strides.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in packed.items():
        index, _, name = key.partition(".")
        like = parameters[int(index)]
        laid_out = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
        state.setdefault(int(index), {})[name] = laid_out.detach()
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
