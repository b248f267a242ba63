"""What a training starts from: published weights of the backbone, or a trained checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open

from edgeseg.config import Config, config_to_dict
from edgeseg.engine.checkpoint import Checkpoint, load_checkpoint, shipped_checkpoints
from edgeseg.engine.evaluate import meanings
from edgeseg.models import SlotsModel, build_model
from edgeseg.models.pretrained import HUB, load_pretrained
from edgeseg.structures import Category, InputError

_FREE = ("num_queries", "centre_threshold", "kmeans_update")
"""What of a network may differ from the one it starts from; the norms behind a sum or mean are measured in training."""


def start_from(model: SlotsModel, source: str, config: Config, categories: Sequence[Category]) -> str:
    """Gives a fresh model the weights to start from.

    Args:
        model: Changed in place.
        source: "hub"; a file of backbone weights; or a checkpoint of edgeseg: its file, its run's folder, or the name
            of one that comes with edgeseg.
        config: The model's.
        categories: The model's, in order of their contiguous index.

    Returns:
        What was taken, for people.

    Raises:
        InputError: Not there, not readable, or of another network.
    """
    if not is_checkpoint(source):
        load_pretrained(model, source)
        return f"the backbone starts from {source}"
    checkpoint = load_checkpoint(Path(source))
    fresh = take_over(model, checkpoint, config, categories)
    parts = sorted({name.rpartition(".")[0] or name for name in fresh})
    return f"starting from {checkpoint.path}" + (f"; fresh are {', '.join(parts)}" if fresh else ", all of it")


def is_checkpoint(source: str) -> bool:
    """Whether this is edgeseg's own, and not a file of backbone weights."""
    path = Path(source)
    if source == HUB:
        return False
    if path.is_dir() or (not path.exists() and source in shipped_checkpoints()):
        return True
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as handle:
            return "edgeseg" in (handle.metadata() or {})
    except (SafetensorError, OSError):
        return False  # the reader of weights says what is wrong with it


def take_over(model: SlotsModel, checkpoint: Checkpoint, config: Config, categories: Sequence[Category]) -> list[str]:
    """Loads every tensor of a checkpoint that means the same here.

    What depends on the categories stays fresh where they are others, and so do queries of another number.

    Returns:
        Names of the tensors that stay as they were.

    Raises:
        InputError: The checkpoint is quantized, or of another network.
    """
    ours, theirs = config_to_dict(config.model), config_to_dict(checkpoint.config.model)
    if options := [_option(key, theirs[key]) for key in ours if ours[key] != theirs[key] and key not in _FREE]:
        raise InputError(f"{checkpoint.path} is of another network; start from it with {' '.join(options)}")
    fresh_state, state = model.state_dict(), checkpoint.model().state_dict()
    fresh = {name for name, tensor in fresh_state.items() if state[name].shape != tensor.shape}
    if meanings(categories) != meanings(checkpoint.categories):
        fresh |= _of_categories(model, config, categories)
    model.load_state_dict({name: fresh_state[name] if name in fresh else state[name] for name in fresh_state})
    return sorted(fresh)


def _of_categories(model: SlotsModel, config: Config, categories: Sequence[Category]) -> set[str]:
    """Tensors that have another shape with one category more."""
    more = build_model(config.model, [*(c.is_thing for c in categories), True], config.data.image_size).state_dict()
    return {name for name, tensor in model.state_dict().items() if more[name].shape != tensor.shape}


def _option(key: str, value: object) -> str:
    """As the command line takes it."""
    name = key.replace("_", "-")
    if isinstance(value, bool):
        return f"--model.{name}" if value else f"--model.no-{name}"
    return f"--model.{name} {' '.join(map(str, value)) if isinstance(value, list) else value}"
