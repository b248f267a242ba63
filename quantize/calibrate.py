"""Where activations' grids come from: what flows through the network on real images."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import fx

from edgeseg.quantize.modules import ActivationQuantizer, set_phase


@torch.no_grad()
def calibrate(prepared: fx.GraphModule, batches: Iterable[torch.Tensor]) -> None:
    """Sets every grid of activations from what flows through the graph of integer weights; ends in phase `train`.

    Args:
        prepared: Result of `prepare`, or trained with free activations.
        batches: (B, 3, H, W) float32 images, 0..255.
    """
    set_phase(prepared, "free")
    quantizers = [module for module in prepared.modules() if isinstance(module, ActivationQuantizer)]
    for quantizer in quantizers:
        quantizer.set_phase("observe")
    device = next(prepared.parameters()).device
    for batch in batches:
        prepared(batch.to(device))
    for quantizer in quantizers:
        quantizer.freeze()
    set_phase(prepared, "train")
