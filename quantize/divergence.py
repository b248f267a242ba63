"""How far a network's slots are from its teacher's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from edgeseg.losses.distillation import divergence
from edgeseg.structures import Slots


def distillation_loss(student: Slots, teacher: Slots) -> torch.Tensor:
    """KL divergence from the teacher: over slots at each pixel, plus over categories in each slot.

    Both terms are means, over pixels and over slots, in nats. The pixel term is the distribution the panoptic merge
    takes its argmax of, so what it pulls together is the picture.
    """
    pixels = divergence(student.mask_logits, teacher.mask_logits, dim=1)
    slots = divergence(student.class_logits, teacher.class_logits, dim=2)
    return pixels.mean() + slots.mean()


def assignment_loss(student: Sequence[torch.Tensor], teacher: Sequence[torch.Tensor]) -> torch.Tensor:
    """KL divergence from the teacher over slots at each pixel, mean over pixels, summed over k-means layers.

    A layer assigns a pixel to its best slot, and no gradient passes that choice: without a goal of its own, what
    makes the choice stays as it was rounded, while all before it is trained.

    Args:
        student: (B, N, P) logits of each layer.
        teacher: The same numbers in any shape.
    """
    pairs = zip(student, teacher, strict=True)
    return sum((divergence(s, t.reshape(s.shape), dim=1).mean() for s, t in pairs), start=torch.zeros(()))


@contextmanager
def outputs_of(network: nn.Module, names: Sequence[str]) -> Iterator[list[torch.Tensor]]:
    """The outputs of its modules of these names, in the order of their calls."""
    outputs: list[torch.Tensor] = []
    modules = [network.get_submodule(name) for name in names]
    hooks = [module.register_forward_hook(lambda _module, _args, output: outputs.append(output)) for module in modules]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def disagreement(student: Slots, teacher: Slots) -> float:
    """Share of pixels whose best slot, or its best category, is not the teacher's; what the panoptic merge shows."""
    same_category = student.class_logits.argmax(2) == teacher.class_logits.argmax(2)  # (B, N)
    best, wanted = student.mask_logits.flatten(2).argmax(1), teacher.mask_logits.flatten(2).argmax(1)  # (B, P)
    return 1.0 - float(((best == wanted) & same_category.gather(1, wanted)).float().mean())
