"""Where activations' grids come from: what flows through the network on real images."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import fx

from edgeseg.quantize.activations import ActivationQuantizer
from edgeseg.quantize.modules import set_phase
from edgeseg.quantize.ties import avoid_ties
from edgeseg.structures import CheckError

RANDOM_RATIO = 0.8
"""Von Neumann's ratio of neighbours is 1 for noise; photographs stay below 0.1, drawn scenes too."""


@torch.no_grad()
def calibrate(prepared: fx.GraphModule, batches: Iterable[torch.Tensor]) -> None:
    """Sets every grid of activations from what flows through the graph of integer weights; ends in phase `train`.

    Args:
        prepared: Result of `prepare`, or trained with free activations.
        batches: (B, 3, H, W) float32 images, 0..255.

    Raises:
        CheckError: Values are not finite somewhere; the place is named.
    """
    set_phase(prepared, "free")
    quantizers = {name: module for name, module in prepared.named_modules() if isinstance(module, ActivationQuantizer)}
    for quantizer in quantizers.values():
        quantizer.set_phase("observe")
    device = next(prepared.parameters()).device
    for batch in batches:
        prepared(batch.to(device))
    for name, quantizer in quantizers.items():
        try:
            quantizer.freeze()
        except RuntimeError as error:
            raise CheckError(f"{name}, the grid of what leaves {name.removeprefix('grid_')}: {error}") from error
    avoid_ties(prepared)
    set_phase(prepared, "train")


def is_noise(images: torch.Tensor) -> bool:
    """Whether neighbouring pixels know nothing of each other, as in random numbers and images of one value.

    By the mean over images of von Neumann's ratio, half the mean squared difference of neighbours over the variance:
    1 where they are independent.

    Args:
        images: (B, 3, H, W) float32, 0..255.
    """
    neighbours = (images[..., 1:] - images[..., :-1]).square().mean((1, 2, 3)) / 2
    variance = images.var((2, 3)).mean(1)
    return bool((neighbours / variance.clamp_min(1e-12)).where(variance > 0, 1.0).mean() > RANDOM_RATIO)
