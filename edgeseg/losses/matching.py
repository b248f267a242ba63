"""Hungarian matching of slots to segments."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment

from edgeseg.losses.targets import Targets
from edgeseg.structures import IGNORE, Slots


@torch.no_grad()
def match(slots: Slots, targets: Targets, activation: str = "softmax") -> torch.Tensor:
    """Pairs each segment with one slot: the pairs maximise dice x probability of the segment's category.

    Segments without a pixel at the targets' resolution are left out; where an image has more segments than slots, the
    pairs that score best are taken. Source: deeplab2 model/loss/matchers_ops.py.

    Args:
        slots: Logits whose masks have the targets' resolution.
        targets: Labels.
        activation: How masks are trained, "softmax" over slots or each slot's "sigmoid".

    Returns:
        (B, M) int64 slot of each segment, -1 for a segment without one.
    """
    probability = to_probability(slots.mask_logits.flatten(2).float(), activation) * targets.valid.unsqueeze(1)
    num_segments = targets.labels.shape[1]
    rows = torch.where(targets.valid, targets.rows, num_segments).unsqueeze(1).expand_as(probability)
    overlap = probability.new_zeros(*probability.shape[:2], num_segments + 1).scatter_add_(2, rows, probability)
    overlap = overlap[..., :-1]  # (B, N, M)
    dice = (2 * overlap + 1) / (probability.sum(2, keepdim=True) + targets.areas.unsqueeze(1) + 1)
    wanted = targets.labels.clamp(min=0).unsqueeze(1).expand_as(dice)
    score = (dice * slots.class_logits.float().softmax(2).gather(2, wanted)).cpu()

    score = score.nan_to_num()  # the trainer reports a loss that is not finite, and in which images
    present = ((targets.labels != IGNORE) & (targets.areas > 0)).cpu()
    slot_of = torch.full(targets.labels.shape, IGNORE, dtype=torch.int64)
    for image, (image_score, image_present) in enumerate(zip(score, present, strict=True)):
        columns = image_present.nonzero().squeeze(1)
        picked_slots, picked_columns = linear_sum_assignment(image_score[:, columns].numpy(), maximize=True)
        slot_of[image, columns[torch.as_tensor(picked_columns)]] = torch.as_tensor(picked_slots)
    return slot_of.to(targets.labels.device)


def to_probability(logits: torch.Tensor, activation: str, axis: int = 1) -> torch.Tensor:
    """Logits -> as many probabilities: their "softmax" along an axis, or the "sigmoid" of each."""
    return logits.softmax(axis) if activation == "softmax" else logits.sigmoid()
