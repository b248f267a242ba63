"""Quantized models on disk: a folder with safetensors and JSON."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import fx, nn

from edgeseg.config import config_from_dict, config_to_dict
from edgeseg.quantize.modules import set_phase
from edgeseg.quantize.prepare import prepare
from edgeseg.quantize.recipes import Recipe
from edgeseg.structures import InputError

SCHEMA = 1
WEIGHTS = "weights.safetensors"
DESCRIPTION = "quantized.json"


@dataclass(frozen=True)
class Quantized:
    """A quantized model with what it was made by.

    Attributes:
        model: Graph in phase `train`: evaluates like the deployed one.
        recipe: What became integer.
        meta: What the saver wrote about the float model (JSON values).
    """

    model: fx.GraphModule
    recipe: Recipe
    meta: dict[str, Any]


def save_quantized(folder: Path, quantized: Quantized, *, image_size: tuple[int, int]) -> None:
    """Writes `weights.safetensors` (latent float weights and grids) and `quantized.json`, each aside and then renamed.

    Args:
        folder: Made if missing; an older checkpoint in it is replaced.
        quantized: What to save; `meta` must be enough for the loader's `build`.
        image_size: (height, width) of the network's input.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.contiguous().cpu() for name, tensor in quantized.model.state_dict().items()}
    weights = save(state)
    description = {
        "schema": SCHEMA,
        "recipe": config_to_dict(quantized.recipe),
        "image_size": list(image_size),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "meta": quantized.meta,
    }
    _write(folder / WEIGHTS, weights)
    _write(folder / DESCRIPTION, (json.dumps(description, indent=2) + "\n").encode())


def load_quantized(folder: Path, build: Callable[[dict[str, Any]], nn.Module]) -> Quantized:
    """Rebuilds a quantized model from its folder.

    Args:
        folder: What `save_quantized` wrote.
        build: Makes the float model (any weights, as it was handed to `quantize`) from the saved `meta`.

    Raises:
        InputError: Files missing, damaged, changed, of a newer edgeseg, or of another model than `build` makes.
    """
    description = _read_description(folder)
    weights = _read(folder / WEIGHTS)
    if hashlib.sha256(weights).hexdigest() != description["weights_sha256"]:
        raise InputError(
            f"{folder / WEIGHTS} is not the file that {DESCRIPTION} describes (sha256 differs); quantize again"
        )
    try:
        state = load(weights)
    except SafetensorError as error:
        raise InputError(f"{folder / WEIGHTS} holds no readable tensors: {error}; quantize again") from error
    recipe = config_from_dict(Recipe, description["recipe"], where=f"{folder / DESCRIPTION}: recipe")
    height, width = description["image_size"]
    model = prepare(build(description["meta"]), recipe, torch.zeros(1, 3, height, width))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{folder} holds another model than its description builds: {reason}") from error
    set_phase(model, "train")
    return Quantized(model.requires_grad_(False), recipe, description["meta"])


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    try:
        description = json.loads(_read(path))
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}; quantize again") from error
    if not isinstance(description, dict) or description.get("schema") != SCHEMA:
        found = description.get("schema") if isinstance(description, dict) else None
        raise InputError(f"{path} has schema {found!r}, this edgeseg reads {SCHEMA}; quantize again or update edgeseg")
    if missing := {"recipe", "image_size", "weights_sha256", "meta"} - description.keys():
        raise InputError(f"{path} lacks {', '.join(sorted(missing))}; quantize again")
    return description


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"{path} does not exist; {path.parent} is not a quantized checkpoint")
    return path.read_bytes()


def _write(path: Path, content: bytes) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
