"""The kMaX-DeepLab losses with the ReMaX relaxations.

Sources: deeplab2 model/loss/max_deeplab_loss.py and bytedance/kmax-deeplab (terms, weights); Sun et al., "ReMaX:
Relaxing for Better Training on Efficient Panoptic Segmentation", arXiv 2306.17319 (ReMask, ReClass), whose code was not
published: the formulas follow the paper's figures and a third-party re-implementation (xushilin1/remax_deeplab).

Every term is a mean over images of a mean within the image, so that averaging gradients over processes equals one
process with the whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from edgeseg.config import LossConfig
from edgeseg.losses.matching import match, to_probability
from edgeseg.losses.small_things import small_thing_weights
from edgeseg.losses.targets import Targets, pad_labels, targets_at, widened
from edgeseg.structures import IGNORE, Batch, Prediction, Slots

POSITIVE_WEIGHT, NEGATIVE_WEIGHT = 0.75, 0.25  # deeplab2: matched and unmatched slots in the class term
EPSILON = 1e-5
DISCRIMINATION_TEMPERATURE = 0.3
SAMPLING_TEMPERATURE = 1.5  # how strongly pixels of small segments are preferred
COARSEST_LOSS_STRIDE = 8  # masks of coarser layers are enlarged to this before they are compared


class KMaxLoss(nn.Module):
    """Class, dice, mask-id, discrimination and semantic terms over all depths of a mask decoder.

    Args:
        config: Weights and switches.
        is_thing: (K,) by contiguous category index.
    """

    is_thing: torch.Tensor

    def __init__(self, config: LossConfig, is_thing: Sequence[bool]) -> None:
        super().__init__()
        self.config, self.num_categories = config, len(is_thing)
        self.register_buffer("is_thing", torch.tensor([*is_thing, False]), persistent=False)  # the last is void

    def forward(
        self, predictions: Sequence[Prediction], batch: Batch, generators: Sequence[torch.Generator]
    ) -> dict[str, torch.Tensor]:
        """Compares the predictions (the final one first) with the labels.

        Args:
            predictions: One per depth; the final one decides the matching for all.
            batch: Labels.
            generators: One per image; they draw the pixels of the discrimination term.

        Returns:
            Weighted scalar terms by name, and their sum as "total".
        """
        labels = pad_labels(batch.categories)
        height, width = batch.label_map.shape[1:]
        config, final = self.config, predictions[0].slots
        own = targets_at(batch.label_map, labels, size_of(final.mask_logits))
        slot_of = match(final, own, config.mask_activation)
        terms: dict[str, torch.Tensor] = {}
        for depth, prediction in enumerate(predictions):
            h, w = size_of(prediction.slots.mask_logits)
            size = max(h, height // COARSEST_LOSS_STRIDE), max(w, width // COARSEST_LOSS_STRIDE)
            is_gated = config.remask and (config.remask_layers == 0 or depth <= config.remask_layers)
            compared = self.compare(
                prediction.slots,
                prediction.semantic_logits if is_gated else None,
                targets_at(batch.label_map, labels, size),
                slot_of,
                size,
            )
            own = targets_at(batch.label_map, labels, (h, w))
            compared["discrimination"] = config.discrimination_weight * discriminate(
                prediction.embedding, own, config.discrimination_pixels, generators
            )
            if prediction.semantic_logits is not None:
                weights = small_thing_weights(
                    own,
                    self.is_thing,
                    stride=height // h,
                    max_area=config.small_thing_area,
                    weight=config.small_thing_weight,
                )
                semantic = semantic_loss(prediction.semantic_logits, own, weights)
                compared["semantic"] = config.semantic_weight * semantic
            for name, value in compared.items():
                terms[name] = terms[name] + value if name in terms else value
        terms["total"] = torch.stack(list(terms.values())).sum()
        return terms

    def compare_slots(self, slots: Slots, batch: Batch) -> torch.Tensor:
        """Class, dice and mask-id terms of slots alone: what a deployed network, without training branches, can learn.

        Args:
            slots: Its answer.
            batch: Labels.

        Returns:
            () weighted sum.
        """
        size = size_of(slots.mask_logits)
        targets = targets_at(batch.label_map, pad_labels(batch.categories), size)
        slot_of = match(slots, targets, self.config.mask_activation)
        terms = self.compare(slots, None, targets, slot_of, size)
        return torch.stack(list(terms.values())).sum()

    def compare(
        self,
        slots: Slots,
        gating_logits: torch.Tensor | None,
        targets: Targets,
        slot_of: torch.Tensor,
        size: tuple[int, int],
    ) -> dict[str, torch.Tensor]:
        """Class, dice and mask-id terms of one depth at the resolution of `targets`.

        Args:
            slots: The depth's.
            gating_logits: (B, K + 1, h, w) semantics that ReMask gates the masks by; None = the masks as they are.
            targets: Labels.
            slot_of: (B, M) slot of each segment.
            size: Resolution of `targets`.
        """
        config = self.config
        class_logits = widened(slots.class_logits)
        logits = resize(widened(slots.mask_logits), size).flatten(2)  # (B, N, P)
        plain = logits.detach()
        if gating_logits is not None:
            semantics = resize(widened(gating_logits), size).flatten(2)
            logits = remask(logits, class_logits, semantics, config.remask_gate)
        slot_rows = slot_of.gather(1, targets.rows.clamp(min=0)).masked_fill(~targets.valid, IGNORE)  # (B, P)
        probability, mask_costs = mask_cross_entropy(logits, slot_rows, config.mask_activation)
        dice, void_share = mask_agreement(probability, slot_rows, targets.valid)

        labels = slot_labels(slot_of, targets.labels, class_logits.shape[1], self.num_categories)  # (B, N)
        matched = labels != self.num_categories
        wanted = F.one_hot(labels, self.num_categories + 1).to(class_logits.dtype)
        if config.reclass:
            masks = to_probability(plain, config.mask_activation)
            wanted = reclass(wanted, masks, targets, config.reclass_eta)
        class_log_probability = class_logits.log_softmax(2)
        class_probability = class_log_probability.gather(2, labels.unsqueeze(2)).squeeze(2).exp().detach()

        weight = torch.where(
            matched,
            POSITIVE_WEIGHT * dice.detach().clamp(min=config.min_weight),
            NEGATIVE_WEIGHT * (1 - void_share),
        )
        class_term = -(wanted * class_log_probability).sum(2) * weight
        dice_term = torch.where(matched, (1 - dice) * class_probability.clamp(min=config.min_weight), 0)
        return {
            "class": config.class_weight * class_term.mean(),
            "dice": config.dice_weight * POSITIVE_WEIGHT * dice_term.mean(),
            "mask_id": config.mask_id_weight * mean_where(mask_costs, slot_rows != IGNORE),
        }


def mask_cross_entropy(
    logits: torch.Tensor, slot_rows: torch.Tensor, activation: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks, and what each pixel costs: among the slots, or as a yes or no of every slot, added up.

    Args:
        logits: (B, N, P).
        slot_rows: (B, P) slot each pixel belongs to; what those of -1 cost means nothing.
        activation: "softmax" or "sigmoid".

    Returns:
        (B, N, P) probabilities; (B, P) costs.
    """
    wanted = slot_rows.clamp(min=0).unsqueeze(1)
    if activation == "softmax":
        log_probability = logits.log_softmax(1)
        return log_probability.exp(), -log_probability.gather(1, wanted).squeeze(1)
    return logits.sigmoid(), F.softplus(logits).sum(1) - logits.gather(1, wanted).squeeze(1)


def remask(
    mask_logits: torch.Tensor, class_logits: torch.Tensor, semantic_logits: torch.Tensor, activation: str
) -> torch.Tensor:
    """ReMask: mask logits grow where the semantic head agrees with the slot's classes.

    m + (sigmoid(p) sigmoid(m_sem)) * m, with no gradient through the factor.

    Args:
        mask_logits: (B, N, P).
        class_logits: (B, N, K + 1).
        semantic_logits: (B, K + 1, P).
        activation: Of the factor: "sigmoid" as published, or "softmax" over categories; then it is 1 at most.
    """
    classes = to_probability(class_logits.detach(), activation, axis=2)
    gate = torch.bmm(classes, to_probability(semantic_logits.detach(), activation))
    return mask_logits + gate * mask_logits


def reclass(one_hot: torch.Tensor, masks: torch.Tensor, targets: Targets, eta: float) -> torch.Tensor:
    """ReClass: a slot's class target is softened by how much of each category its mask covers.

    y = eta w + (1 - eta w) one_hot, where w is the covered share of the category's pixels. The void column stays as it
    is (unlabelled pixels say nothing).

    Args:
        one_hot: (B, N, K + 1) targets.
        masks: (B, N, P) probabilities, without ReMask and without gradient.
        targets: Labels at the masks' resolution.
        eta: Strength.
    """
    columns = one_hot.shape[2]
    semantics = targets.categories(columns - 1)  # (B, P)
    index = semantics.unsqueeze(1).expand_as(masks)
    covered = torch.zeros_like(one_hot).scatter_add_(2, index, masks)
    area = torch.zeros_like(one_hot[:, :1]).scatter_add_(2, semantics.unsqueeze(1), torch.ones_like(masks[:, :1]))
    share = covered / (area + 1e-5)
    share[..., -1] = 0
    return eta * share + (1 - eta * share) * one_hot


def mask_agreement(
    probability: torch.Tensor, slot_rows: torch.Tensor, valid: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Dice of every slot with the pixels that belong to it, and its share on ignored pixels.

    Args:
        probability: (B, N, P) of the masks.
        slot_rows: (B, P) slot each pixel belongs to, -1 = none.
        valid: (B, P) labelled pixels.

    Returns:
        (B, N) dice with smoothing 1, with gradient; (B, N) share, without.
    """
    assigned = slot_rows != IGNORE
    index = slot_rows.clamp(min=0)
    own = probability.gather(1, index.unsqueeze(1)).squeeze(1) * assigned  # (B, P)
    zeros = probability.new_zeros(probability.shape[:2])
    intersection = zeros.scatter_add(1, index, own)
    area = zeros.scatter_add(1, index, assigned.to(zeros.dtype))
    mass = torch.bmm(probability, valid.to(zeros.dtype).unsqueeze(2)).squeeze(2)
    total = probability.detach().sum(2)
    return (2 * intersection + 1) / (mass + area + 1), 1 - mass.detach() / total.clamp(min=EPSILON)


def slot_labels(slot_of: torch.Tensor, labels: torch.Tensor, num_slots: int, num_categories: int) -> torch.Tensor:
    """(B, M) slot and category of each segment -> (B, N) category of each slot, `num_categories` = void."""
    extended = torch.full((len(labels), num_slots + 1), num_categories, dtype=torch.int64, device=labels.device)
    extended.scatter_(1, torch.where(slot_of == IGNORE, num_slots, slot_of), labels)
    return extended[:, :num_slots]


def discriminate(
    embedding: torch.Tensor, targets: Targets, num_pixels: int, generators: Sequence[torch.Generator]
) -> torch.Tensor:
    """Pixels of one segment should look alike and unlike the others': contrast over a sample of pixels.

    Args:
        embedding: (B, D, h, w).
        targets: Labels at its resolution.
        num_pixels: Sample per image; pixels of small segments are preferred.
        generators: One per image, so that a sample does not depend on how a batch is split over processes.
    """
    area = targets.areas.gather(1, targets.rows.clamp(min=0)).clamp(min=1)  # (B, P)
    preference = SAMPLING_TEMPERATURE * (embedding.shape[2] * embedding.shape[3] / area).log()
    noise = torch.stack([torch.rand(area.shape[1], generator=generator) for generator in generators])
    gumbel = -(-noise.to(area.device).clamp(min=1e-9).log()).clamp(min=1e-9).log()
    order = (preference + gumbel).masked_fill(~targets.valid, float("-inf"))
    picked = order.topk(min(num_pixels, order.shape[1]), dim=1).indices  # (B, S)
    rows, valid = targets.rows.gather(1, picked), targets.valid.gather(1, picked)
    feature = embedding.flatten(2).gather(2, picked.unsqueeze(1).expand(-1, embedding.shape[1], -1))
    feature = F.normalize(widened(feature), dim=1)  # (B, D, S)
    similarity = torch.bmm(feature.transpose(1, 2), feature) / DISCRIMINATION_TEMPERATURE
    similarity = similarity.masked_fill(~valid.unsqueeze(1), -1e4)  # nobody is compared with an ignored pixel
    same = (rows.unsqueeze(1) == rows.unsqueeze(2)) & valid.unsqueeze(1)
    wanted = same.to(similarity.dtype) / same.sum(2, keepdim=True).clamp(min=1)
    return mean_where(-(wanted * similarity.log_softmax(2)).sum(2), valid)


def semantic_loss(logits: torch.Tensor, targets: Targets, weights: torch.Tensor) -> torch.Tensor:
    """Per-pixel cross entropy of the training-only semantic head, (B, K + 1, h, w); void pixels do not count.

    Args:
        logits: (B, K + 1, h, w).
        targets: Labels at that resolution.
        weights: (B, P) of the pixels.
    """
    wanted = targets.categories(logits.shape[1] - 1)
    return mean_where(weights * F.cross_entropy(widened(logits).flatten(2), wanted, reduction="none"), targets.valid)


def mean_where(values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Mean over images of the mean over an image's marked values, (B, P) -> scalar; an image without any counts 0."""
    return ((values * where).sum(1) / where.sum(1).clamp(min=1)).mean()


def resize(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Bilinear, align_corners=False; the input itself if it has the size already."""
    if size_of(logits) == size:
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def size_of(maps: torch.Tensor) -> tuple[int, int]:
    """(height, width) of (..., h, w)."""
    return maps.shape[-2], maps.shape[-1]
