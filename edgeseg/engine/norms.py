"""Statistics of batch norms: for weights that no training step ever saw, and for the end of a training."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from edgeseg.models import SlotsModel


@torch.no_grad()
def settle_norms(model: SlotsModel, images: Iterable[torch.Tensor]) -> None:
    """Puts the means over a few batches in the place of the norms' running statistics; leaves the model in eval mode.

    Running statistics trail the weights by some hundred steps (momentum 0.01), and an average of weights has statistics
    of its own, which an average of statistics is not (Izmailov et al., arXiv 1803.05407, section 3.2).

    Args:
        model: Changed in place, its statistics alone. With many processes the statistics are those of all.
        images: (B, 3, H, W) float32 RGB in 0..255 on the model's device.
    """
    norms = batch_norms(model)
    momenta = [norm.momentum for norm in norms]
    model.train()
    for count, image in enumerate(images, start=1):
        for norm in norms:
            norm.momentum = 1.0 / count  # the running mean over all batches so far
        model.forward_training(image)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


def batch_norms(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The batch norms of any number of axes, in the order of the modules."""
    return [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
