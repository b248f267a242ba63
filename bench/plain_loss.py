"""The kMaX and ReMaX losses one image, slot and segment at a time, as their equations read.

What edgeseg.losses.kmax computes in a few tensor operations, and is timed against (bench/train_speed.py): sources and
symbols are named there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch.nn import functional as F

from edgeseg.config import LossConfig
from edgeseg.losses import kmax
from edgeseg.structures import IGNORE, Batch, Prediction


@dataclass(frozen=True)
class Truth:
    """One image's labels at one resolution.

    Attributes:
        labels: Category index of each segment.
        masks: (P,) bool cells of each segment.
        valid: (P,) bool cells that are labelled.
    """

    labels: list[int]
    masks: list[torch.Tensor]
    valid: torch.Tensor


def plain_loss(
    predictions: Sequence[Prediction], batch: Batch, generators: Sequence[torch.Generator], config: LossConfig
) -> torch.Tensor:
    """The total of `KMaxLoss` with softmax masks and the published gate, without weights for small things.

    Args:
        predictions: One per depth, the final one first.
        batch: Labels.
        generators: One per image.
        config: Weights and switches.
    """
    total = torch.zeros(())
    for image, generator in enumerate(generators):
        slot_of = match(predictions[0], image, truth_at(batch, image, kmax.size_of(predictions[0].slots.mask_logits)))
        for prediction in predictions:
            total = total + mask_terms(prediction, image, batch, slot_of, config)
            own = truth_at(batch, image, kmax.size_of(prediction.embedding))
            total = total + config.discrimination_weight * discrimination(
                prediction.embedding[image].flatten(1), own, config.discrimination_pixels, generator
            )
            if prediction.semantic_logits is not None:
                logits = prediction.semantic_logits[image].flatten(1)
                total = total + config.semantic_weight * semantic(logits, own)
    return total / len(generators)


def truth_at(batch: Batch, image: int, size: tuple[int, int]) -> Truth:
    """Labels under the centres of the cells."""
    stride = batch.label_map.shape[1] // size[0]
    rows = batch.label_map[image, stride // 2 :: stride, stride // 2 :: stride].flatten()
    labels: list[int] = batch.categories[image].tolist()
    return Truth(labels, [rows == row for row in range(len(labels))], rows != IGNORE)


def match(final: Prediction, image: int, truth: Truth) -> dict[int, int]:
    """Segment -> slot, the pairs of the largest sum of dice times class probability."""
    masks = final.slots.mask_logits[image].detach().flatten(1).softmax(0)
    probability = final.slots.class_logits[image].detach().softmax(1)
    present = [segment for segment, mask in enumerate(truth.masks) if mask.any()]
    score = torch.zeros(len(masks), len(present))
    for slot in range(len(masks)):
        for column, segment in enumerate(present):
            similarity = dice(masks[slot], truth.masks[segment], truth.valid)
            score[slot, column] = similarity * probability[slot, truth.labels[segment]]
    slots, columns = linear_sum_assignment(score.numpy(), maximize=True)
    return {present[column]: int(slot) for slot, column in zip(slots, columns, strict=True)}


def dice(probability: torch.Tensor, mask: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Dice of a slot and a segment with smoothing 1 over labelled cells."""
    return (2 * (probability * mask).sum() + 1) / ((probability * valid).sum() + mask.sum() + 1)


def mask_terms(
    prediction: Prediction, image: int, batch: Batch, slot_of: dict[int, int], config: LossConfig
) -> torch.Tensor:
    """Class, dice and mask-id terms of one image at one depth."""
    height, width = batch.label_map.shape[1:]
    h, w = kmax.size_of(prediction.slots.mask_logits)
    size = max(h, height // kmax.COARSEST_LOSS_STRIDE), max(w, width // kmax.COARSEST_LOSS_STRIDE)
    truth = truth_at(batch, image, size)
    class_logits = prediction.slots.class_logits[image]
    plain = kmax.resize(prediction.slots.mask_logits[image : image + 1], size)[0].flatten(1)
    logits = plain
    if config.remask and prediction.semantic_logits is not None:
        semantics = kmax.resize(prediction.semantic_logits[image : image + 1], size)[0].flatten(1)
        logits = torch.stack([gated(plain[n], class_logits[n], semantics) for n in range(len(plain))])
    log_masks = logits.log_softmax(0)
    covering = plain.detach().softmax(0)

    segment_of = {slot: segment for segment, slot in slot_of.items()}
    void = class_logits.shape[1] - 1
    class_term, dice_term = torch.zeros(()), torch.zeros(())
    for slot in range(len(class_logits)):
        segment = segment_of.get(slot)
        label = void if segment is None else truth.labels[segment]
        log_classes = class_logits[slot].log_softmax(0)
        wanted = F.one_hot(torch.tensor(label), void + 1).float()
        if config.reclass:
            wanted = softened(wanted, covering[slot], truth, config.reclass_eta)
        mask = log_masks[slot].exp()
        if segment is None:
            weight = kmax.NEGATIVE_WEIGHT * (mask * truth.valid).sum().detach() / mask.sum().detach()
        else:
            similarity = dice(mask, truth.masks[segment], truth.valid)
            weight = kmax.POSITIVE_WEIGHT * similarity.detach().clamp(min=config.min_weight)
            dice_term = dice_term + (1 - similarity) * log_classes[label].exp().detach().clamp(min=config.min_weight)
        class_term = class_term - (wanted * log_classes).sum() * weight
    picked = [log_masks[slot][truth.masks[segment]] for segment, slot in slot_of.items()]
    mask_id = -torch.cat(picked).mean() if picked else torch.zeros(())
    return (
        config.class_weight * class_term / len(class_logits)
        + config.dice_weight * kmax.POSITIVE_WEIGHT * dice_term / len(class_logits)
        + config.mask_id_weight * mask_id
    )


def gated(mask_logits: torch.Tensor, class_logits: torch.Tensor, semantics: torch.Tensor) -> torch.Tensor:
    """ReMask for one slot, category by category."""
    gate = torch.zeros_like(mask_logits)
    for category in range(len(class_logits)):
        gate = gate + class_logits[category].sigmoid().detach() * semantics[category].sigmoid().detach()
    return mask_logits + gate * mask_logits


def softened(wanted: torch.Tensor, mask: torch.Tensor, truth: Truth, eta: float) -> torch.Tensor:
    """ReClass for one slot, category by category."""
    soft = wanted.clone()
    for category in set(truth.labels):
        cells = torch.zeros_like(truth.valid)
        for segment, label in enumerate(truth.labels):
            if label == category:
                cells = cells | truth.masks[segment]
        share = (mask * cells).sum() / (cells.sum() + 1e-5)
        soft[category] = eta * share + (1 - eta * share) * wanted[category]
    return soft


def discrimination(embedding: torch.Tensor, truth: Truth, num_pixels: int, generator: torch.Generator) -> torch.Tensor:
    """Contrast over a sample of one image's pixels."""
    area = torch.ones(embedding.shape[1])
    row = torch.full((embedding.shape[1],), IGNORE)
    for segment, mask in enumerate(truth.masks):
        area[mask], row[mask] = mask.sum().float(), segment
    noise = torch.rand(embedding.shape[1], generator=generator)
    gumbel = -(-noise.clamp(min=1e-9).log()).clamp(min=1e-9).log()
    order = kmax.SAMPLING_TEMPERATURE * (embedding.shape[1] / area).log() + gumbel
    order[~truth.valid] = float("-inf")
    picked = order.topk(min(num_pixels, len(order))).indices
    picked = picked[truth.valid[picked]]
    if not len(picked):
        return torch.zeros(())
    features = F.normalize(embedding[:, picked], dim=0)
    similarity = features.T @ features / kmax.DISCRIMINATION_TEMPERATURE
    same = (row[picked].unsqueeze(0) == row[picked].unsqueeze(1)).float()
    return -(same / same.sum(1, keepdim=True) * similarity.log_softmax(1)).sum(1).mean()


def semantic(logits: torch.Tensor, truth: Truth) -> torch.Tensor:
    """Cross entropy over one image's labelled cells."""
    category = torch.full((logits.shape[1],), len(logits) - 1)
    for label, mask in zip(truth.labels, truth.masks, strict=True):
        category[mask] = label
    if not truth.valid.any():
        return torch.zeros(())
    return F.cross_entropy(logits[:, truth.valid].T, category[truth.valid])
