"""What a network learns from another one's answer to the same image.

Source: Liu et al., "BPKD: Boundary Privileged Knowledge Distillation for Semantic Segmentation", arXiv 2306.08075: the
boundary's cells have a mean of their own beside the body's, so that the few of them are not drowned. Its training code
was not published; what differs here: masks instead of categories compete for a cell, and slots of the two networks,
which may differ in number and meaning, are paired through the labelled segment that each of them shows.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from edgeseg.config import LossConfig
from edgeseg.losses.kmax import mean_where, resize, size_of
from edgeseg.losses.matching import match
from edgeseg.losses.targets import Targets, pad_labels, targets_at, widened
from edgeseg.structures import IGNORE, Batch, Slots

LOWEST_LOG_PROBABILITY = -30.0  # of the rest where every slot shows a segment


def distillation_terms(student: Slots, teacher: Slots, batch: Batch, config: LossConfig) -> dict[str, torch.Tensor]:
    """Divergence of the student from the teacher over masks and over categories.

    A segment teaches if the slot that the teacher has for it says its category: what the teacher did not see would
    contradict the label.

    Args:
        student: Its slots, with gradient.
        teacher: Slots of any number, masks of any size; the same categories.
        batch: Labels.
        config: Weights and temperature.

    Returns:
        Weighted scalar terms "distill_mask" and "distill_class".
    """
    size = size_of(student.mask_logits)
    teacher = Slots(teacher.class_logits, resize(widened(teacher.mask_logits), size))
    targets = targets_at(batch.label_map, pad_labels(batch.categories), size)
    taught_by, learnt_by = match(teacher, targets), match(student, targets)
    teaches = (learnt_by != IGNORE) & shown(teacher, taught_by, targets)
    masks = mask_divergence(
        student.mask_logits,
        teacher.mask_logits,
        torch.where(teaches, learnt_by, IGNORE),
        torch.where(teaches, taught_by, IGNORE),
        config.distill_temperature,
    )
    cells = targets.valid & teaches.gather(1, targets.rows.clamp(min=0))
    boundary = on_boundary(targets.rows, size)
    body, edge = mean_where(masks, cells & ~boundary), mean_where(masks, cells & boundary)
    classes = divergence(
        _slots(widened(student.class_logits), learnt_by) / config.distill_temperature,
        _slots(widened(teacher.class_logits), taught_by) / config.distill_temperature,
        dim=2,
    )
    scale = config.distill_temperature**2  # keeps the gradient's size (Hinton et al., arXiv 1503.02531)
    return {
        "distill_mask": config.distill_mask_weight * scale * (body + config.distill_boundary_weight * edge),
        "distill_class": config.distill_class_weight * scale * mean_where(classes, teaches),
    }


def divergence(student: torch.Tensor, teacher: torch.Tensor, *, dim: int) -> torch.Tensor:
    """KL(teacher || student) of logits along one axis, which the result lacks, in nats."""
    wanted, found = teacher.log_softmax(dim), student.log_softmax(dim)
    return (wanted.exp() * (wanted - found)).sum(dim)


def mask_divergence(
    student: torch.Tensor, teacher: torch.Tensor, learnt_by: torch.Tensor, taught_by: torch.Tensor, temperature: float
) -> torch.Tensor:
    """KL(teacher || student) at each cell over the paired segments, all other slots of each network taken as one.

    Args:
        student: (B, N, h, w) mask logits.
        teacher: (B, N', h, w) mask logits.
        learnt_by: (B, M) the student's slot of each segment, -1 for one that is not paired.
        taught_by: (B, M) the teacher's.
        temperature: Divides the logits.

    Returns:
        (B, h w).
    """
    paired = (learnt_by != IGNORE).unsqueeze(2)  # (B, M, 1)
    found, found_rest = _log_probabilities(student, learnt_by, temperature)
    wanted, wanted_rest = _log_probabilities(teacher, taught_by, temperature)
    of_segments = (wanted.exp() * (wanted - found)).masked_fill(~paired, 0).sum(1)
    return of_segments + wanted_rest.exp() * (wanted_rest - found_rest)


def shown(slots: Slots, slot_of: torch.Tensor, targets: Targets) -> torch.Tensor:
    """(B, M) whether a segment has a slot whose likeliest category is the segment's."""
    return (slot_of != IGNORE) & (_slots(slots.class_logits, slot_of).argmax(2) == targets.labels)


def on_boundary(rows: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(B, h w) rows -> whether one of a cell's eight neighbours is of another segment, or void."""
    maps = rows.reshape(-1, 1, *size).float()
    highest, lowest = F.max_pool2d(maps, 3, 1, 1), -F.max_pool2d(-maps, 3, 1, 1)
    return (highest != lowest).flatten(1)


def _log_probabilities(
    mask_logits: torch.Tensor, slot_of: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, M, P) of the segments' slots, and (B, P) of all slots that have none."""
    log_probability = (widened(mask_logits).flatten(2) / temperature).log_softmax(1)
    taken = torch.zeros(len(slot_of), log_probability.shape[1] + 1, dtype=torch.bool, device=slot_of.device)
    taken.scatter_(1, torch.where(slot_of == IGNORE, log_probability.shape[1], slot_of), True)
    others = log_probability.masked_fill(taken[:, :-1].unsqueeze(2), 2 * LOWEST_LOG_PROBABILITY)
    index = slot_of.clamp(min=0).unsqueeze(2).expand(-1, -1, log_probability.shape[2])
    return log_probability.gather(1, index), others.logsumexp(1).clamp(min=LOWEST_LOG_PROBABILITY)


def _slots(class_logits: torch.Tensor, slot_of: torch.Tensor) -> torch.Tensor:
    """(B, N, K + 1), (B, M) -> (B, M, K + 1) of each segment's slot; any slot's where it has none."""
    return class_logits.gather(1, slot_of.clamp(min=0).unsqueeze(2).expand(-1, -1, class_logits.shape[2]))
