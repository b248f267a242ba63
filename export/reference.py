"""The torch network of a bundle, built again from its config and weights, and what it says."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import nn

from edgeseg.config import Config, MergeConfig, config_from_dict
from edgeseg.engine.checkpoint import load_weights
from edgeseg.export.bundle import WEIGHTS, Bundle
from edgeseg.export.golden import Golden, read_golden
from edgeseg.export.plan import FLOAT
from edgeseg.export.verify import compare, faults
from edgeseg.merge import merge_slots
from edgeseg.models import build_model
from edgeseg.quantize.deploy import deploy_again
from edgeseg.quantize.fold import fold
from edgeseg.quantize.integer_reference import integer_reference
from edgeseg.quantize.recipes import RECIPES, Recipe
from edgeseg.structures import CheckError, InputError


@dataclass(frozen=True)
class Reference:
    """What torch says in one precision of a bundle.

    Attributes:
        goldens: As stored; with logits of the rebuilt network where none were kept and the two agree.
        network: As export traced it, or None where it could not be built.
        problems: Of the golden answers, one line each.
        apart: In what the golden answers differ from those of the network; empty where they do not.
        why_no_network: One line; empty where there is one.
    """

    goldens: Sequence[Golden]
    network: nn.Module | None
    problems: tuple[str, ...] = ()
    apart: str = ""
    why_no_network: str = ""


def read_reference(bundle: Bundle, precision: str) -> Reference:
    """Golden answers, held against their own logits in numpy and against the bundle's weights in torch."""
    try:
        stored = read_golden(bundle, precision)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        return Reference((), None, (f"golden answers of {precision} cannot be read ({first_line(error)})",))
    if not stored:
        return Reference((), None, (f"there are no golden answers of {precision}",))
    is_thing = [category.is_thing for category in bundle.categories]
    problems = []
    for index, golden in enumerate(stored):
        apart = ""
        if golden.mask_logits is not None:
            apart = _difference([golden], [golden], FLOAT, bundle.merge, is_thing)
        if apart:
            problems.append(f"stale golden: answer {index} of {precision} does not follow from its own logits: {apart}")
    try:
        network = torch_network(bundle, precision)
    except InputError as error:
        return Reference(stored, None, tuple(problems), why_no_network=str(error))
    again = torch_answers(network, [golden.image for golden in stored], config=bundle.merge, is_thing=is_thing)
    apart = _difference(stored, again, precision, bundle.merge, is_thing)
    return Reference(stored if apart else _with_logits(stored, again), network, tuple(problems), apart)


def torch_network(bundle: Bundle, precision: str) -> nn.Module:
    """What an artifact of this precision was converted from, as export traced it.

    Args:
        bundle: Gives config and weights.
        precision: Of an artifact; one that is no recipe's name is made of the float32 network.

    Returns:
        float32 (1, 3, H, W) RGB in 0..255 -> Slots, in eval mode, on the CPU.

    Raises:
        InputError: The config names a part that this edgeseg does not have, or the weights are not this network's.
    """
    recipe = _recipe(bundle, precision)
    source = recipe.name if recipe else FLOAT
    config = config_from_dict(Config, dict(bundle.config), where=f"{bundle.path}: config")
    example = torch.zeros(1, 3, *bundle.image_size)
    model = build_model(config.model, [c.is_thing for c in bundle.categories], bundle.image_size).deployable()
    stored = _stored_weights(bundle, source)
    if recipe is None:
        network = fold(model, example)
        load_weights(network, stored, bundle.path / WEIGHTS)
        return network.eval().requires_grad_(False)
    try:
        return deploy_again(model, recipe, example, stored)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{bundle.path / WEIGHTS} is of another network: {first_line(error)}") from error


def _recipe(bundle: Bundle, precision: str) -> Recipe | None:
    """What a precision's network was quantized by; None for the float one and what runtimes make of it."""
    made = bundle.provenance.get("checkpoints", {}).get(precision, {})
    if "recipe" in made:
        return config_from_dict(Recipe, made["recipe"], where=f"{bundle.path}: recipe of {precision}")
    return RECIPES.get(precision)


@torch.inference_mode()
def torch_logits(network: nn.Module, pixels: torch.Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One image, float32 (1, 3, H, W), to class logits (N, K + 1) and mask logits (N, h, w)."""
    slots = network(pixels)
    return slots[0][0].numpy(), slots[1][0].numpy()


def to_pixels(image: NDArray[np.uint8]) -> torch.Tensor:
    """(H, W, 3) uint8 to what a network takes: float32 (1, 3, H, W), still 0..255."""
    return torch.from_numpy(image).permute(2, 0, 1)[None].float()


def torch_answers(
    network: nn.Module, images: Sequence[NDArray[np.uint8]], *, config: MergeConfig, is_thing: Sequence[bool]
) -> list[Golden]:
    """What torch, followed by the numpy merge, says about images, logits included."""
    goldens, network = [], integer_reference(network)
    for image in images:
        class_logits, mask_logits = torch_logits(network, to_pixels(image))
        merged = merge_slots(class_logits, mask_logits, config=config, is_thing=is_thing)
        goldens.append(Golden(image, merged, mask_logits, class_logits))
    return goldens


def first_line(error: Exception) -> str:
    """An exception as one short line."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:160]}" if text else type(error).__name__


def _difference(
    stored: Sequence[Golden], again: Sequence[Golden], precision: str, config: MergeConfig, is_thing: Sequence[bool]
) -> str:
    """Golden answers against logits, judged as an artifact of this precision would be; empty where they agree."""
    queue = iter(again)

    def predict(image: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        golden = next(queue)
        assert golden.mask_logits is not None
        assert golden.class_logits is not None
        return {"mask_logits": golden.mask_logits[None], "class_logits": golden.class_logits[None]}

    try:
        found = faults(compare(predict, stored, config=config, is_thing=is_thing, engine="torch"), precision)
    except (CheckError, ValueError) as error:
        found = [str(error)]
    return "; ".join(found)


def _with_logits(stored: Sequence[Golden], recomputed: Sequence[Golden]) -> list[Golden]:
    return [
        old if old.mask_logits is not None else replace(old, mask_logits=new.mask_logits, class_logits=new.class_logits)
        for old, new in zip(stored, recomputed, strict=True)
    ]


def _stored_weights(bundle: Bundle, source: str) -> dict[str, torch.Tensor]:
    try:
        with safe_open(bundle.path / WEIGHTS, framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(f"{source}.")]  # noqa: SIM118 - not a dict
            return {name.removeprefix(f"{source}."): file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{bundle.path / WEIGHTS} cannot be read ({error}); export the bundle again") from error
