"""How far a network's slots are from its teacher's."""

from __future__ import annotations

import torch

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


@torch.no_grad()
def disagreement(student: Slots, teacher: Slots) -> float:
    """Share of pixels whose best slot, or its best category, is not the teacher's; what the panoptic merge shows."""
    same_category = student.class_logits.argmax(2) == teacher.class_logits.argmax(2)  # (B, N)
    best, wanted = student.mask_logits.flatten(2).argmax(1), teacher.mask_logits.flatten(2).argmax(1)  # (B, P)
    return 1.0 - float(((best == wanted) & same_category.gather(1, wanted)).float().mean())
