"""Published backbone weights, from a file or from where they are published."""

from __future__ import annotations

import re
import urllib.error
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file

from edgeseg.models.model import SlotsModel
from edgeseg.structures import InputError

HUB = "hub"
"""Asks for the published weights instead of a file."""

_NUM_LISTED = 3


def load_pretrained(model: SlotsModel, source: str) -> None:
    """Loads weights into a model's backbone.

    Keys of parts that edgeseg leaves out (classifiers, last convolutions) are passed over; any other difference is an
    error. Files are read as tensors, never unpickled.

    Args:
        model: Changed in place.
        source: "hub", or a .safetensors or .pth file as torchvision or timm publish it.

    Raises:
        InputError: No such weights, no connection (with what to download and where to put it), no file, not tensors,
            or of another network (with the first differences).
    """
    path = _fetch(model) if source == HUB else Path(source)
    given = model.backbone.from_published(_read(path))
    wanted = model.backbone.state_dict()
    if differences := _differences(wanted, given):
        first = "; ".join(differences[:_NUM_LISTED])
        raise InputError(f"{path} is of another backbone: {len(differences)} tensors differ, first {first}")
    model.backbone.load_state_dict({key: given[key] for key in wanted})


def _differences(wanted: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]) -> list[str]:
    lines = []
    for key, tensor in wanted.items():
        if key not in given:
            lines.append(f"{key} is missing")
        elif given[key].shape != tensor.shape:
            lines.append(f"{key} is {tuple(given[key].shape)}, {tuple(tensor.shape)} wanted")
    return lines


def _read(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise InputError(f"pretrained weights {path} do not exist; give a .safetensors or .pth file, or {HUB}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        if not all(isinstance(value, torch.Tensor) for value in state.values()):
            raise TypeError("not a state dict")
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{path} holds no readable tensors ({reason}); a .safetensors file or a .pth state dict wanted"
        ) from error
    return state


def _fetch(model: SlotsModel) -> Path:
    """The published file, from torch's cache or from its address."""
    published = model.backbone.published
    if published is None:
        raise InputError(
            "nobody publishes PyTorch weights of this backbone; train from scratch, or give your own: --pretrained FILE"
        )
    _refuse_other_normalisation(model, published.mean, published.std)
    path = Path(torch.hub.get_dir()) / "checkpoints" / published.file
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        named_hash = re.search(r"-([0-9a-f]{8,})\.", published.file)
        try:
            torch.hub.download_url_to_file(published.url, str(path), named_hash and named_hash[1], progress=False)
        except (urllib.error.URLError, OSError, RuntimeError) as error:
            raise InputError(
                f"cannot fetch {published.url} ({error}); download it where there is a network, then put it at {path} "
                f"or give it with --pretrained FILE"
            ) from error
    return path


def _refuse_other_normalisation(
    model: SlotsModel, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> None:
    ours = torch.stack([model.mean.flatten(), 1.0 / model.inverse_std.flatten()])
    if not torch.allclose(ours, torch.tensor([mean, std]), atol=0.1):
        shown = [" ".join(f"{value:g}" for value in values) for values in (mean, std)]
        raise InputError(
            f"these weights were trained on images of another normalisation; give --model.mean {shown[0]} "
            f"--model.std {shown[1]}"
        )
