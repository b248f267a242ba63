"""MaskConver's losses: focal loss of the class centres, cross entropy and dice of the masks read at the true centres.

Source: Rashwan et al., arXiv 2312.06052; tensorflow/models official/projects/maskconver/{losses,tasks}. The focal loss
is equation 1 of Zhou et al., "Objects as Points" (arXiv 1904.07850). What differs here: a segment has one centre, its
centre of mass, with the Gaussian of `edgeseg.losses.panoptic_deeplab` (stuff has up to three there, of its largest
parts, with box centres), and every term is a mean over images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from edgeseg.config import LossConfig
from edgeseg.losses.kmax import size_of
from edgeseg.losses.panoptic_deeplab import Centres, find_centres
from edgeseg.losses.targets import Targets, pad_labels, targets_at, widened
from edgeseg.structures import Batch, CentreMaps

FOCUS, PENALTY_REDUCTION = 2.0, 4.0  # alpha and beta of "Objects as Points"
LEAST_PROBABILITY = 1e-4  # and one minus it: where the logarithm is cut


class MaskConverLoss(nn.Module):
    """Centre, mask and dice terms.

    Args:
        config: Weights.
        is_thing: (K,) by contiguous category index; things and stuff are treated alike.
    """

    is_category: torch.Tensor

    def __init__(self, config: LossConfig, is_thing: Sequence[bool]) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("is_category", torch.tensor([*(True for _ in is_thing), False]), persistent=False)

    def forward(self, maps: CentreMaps, batch: Batch, generators: Sequence[torch.Generator]) -> dict[str, torch.Tensor]:
        """Compares the maps with the labels; nothing here is random, and no slot limits the number of segments.

        Returns:
            Weighted scalar terms by name, and their sum as "total".
        """
        labels = pad_labels(batch.categories)
        size, num_categories = size_of(maps.heat), maps.heat.shape[1]
        stride = batch.label_map.shape[1] // size[0]
        targets = targets_at(batch.label_map, labels, size)
        centres = find_centres(batch.label_map, labels, self.is_category, widened(maps.heat).dtype)
        present = centres.is_thing & (targets.areas > 0)  # (B, M)
        cells = centre_cells(centres, size, stride)  # (B, M)
        categories = F.one_hot(labels.clamp(min=0), num_categories)
        heat = class_heat(centres, cells, present, categories, size, stride)
        masks = widened(maps.masks_at(cells, categories.to(maps.heat.dtype))).flatten(2)  # (B, M, P)
        cross_entropy, dice = mask_errors(masks, targets, present)
        terms = {
            "centre": self.config.heat_weight * focal_error(widened(maps.heat).flatten(2), heat, targets, present),
            "mask": self.config.mask_weight * cross_entropy,
            "dice": self.config.mask_weight * dice,
        }
        terms["total"] = torch.stack(list(terms.values())).sum()
        return terms


def centre_cells(centres: Centres, size: tuple[int, int], stride: int) -> torch.Tensor:
    """(B, M) int64 cell that holds each centre, counted along the rows."""
    down, right = ((centres.position[..., axis] / stride).floor().long().clamp(0, size[axis] - 1) for axis in (0, 1))
    return down * size[1] + right


def class_heat(
    centres: Centres,
    cells: torch.Tensor,
    present: torch.Tensor,
    categories: torch.Tensor,
    size: tuple[int, int],
    stride: int,
) -> torch.Tensor:
    """What the heat-maps should be: the highest of a category's Gaussians, exactly 1 in the cells of centres.

    Args:
        centres: Gives the Gaussians' widths.
        cells: (B, M) their middles.
        present: (B, M) claim.
        categories: (B, M, K) one-hot.
        size: (h, w).
        stride: Of the cells.

    Returns:
        (B, K, P).
    """
    width = 2 * centres.sigma.unsqueeze(2) ** 2  # (B, M, 1)
    axes = []
    for middle, length in ((cells // size[1], size[0]), (cells % size[1], size[1])):
        distance = stride * (torch.arange(length, device=cells.device) - middle.unsqueeze(2)).to(width.dtype)
        axes.append((-(distance**2) / width).exp())  # (B, M, length)
    heats = (axes[0].unsqueeze(3) * axes[1].unsqueeze(2)).flatten(2) * present.unsqueeze(2)  # (B, M, P)
    return (heats.unsqueeze(2) * categories.unsqueeze(3)).amax(1)


def focal_error(logits: torch.Tensor, heat: torch.Tensor, targets: Targets, present: torch.Tensor) -> torch.Tensor:
    """Sum over labelled cells and categories, over the number of segments and one; mean over images.

    Args:
        logits: (B, K, P).
        heat: (B, K, P) wanted.
        targets: Labels at the cells.
        present: (B, M) segments that count.
    """
    probability = logits.sigmoid().clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    at_centre = (1 - probability) ** FOCUS * probability.log()
    elsewhere = (1 - heat) ** PENALTY_REDUCTION * probability**FOCUS * (1 - probability).log()
    error = -torch.where(heat == 1, at_centre, elsewhere) * targets.valid.unsqueeze(1)
    return (error.sum((1, 2)) / (present.sum(1) + 1)).mean()


def mask_errors(masks: torch.Tensor, targets: Targets, present: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Binary cross entropy and 1 - dice of each segment's mask over the labelled cells.

    Args:
        masks: (B, M, P) logits.
        targets: Labels at the cells.
        present: (B, M) segments that count.

    Returns:
        Two scalars: mean over segments, then over images; an image without any counts 0.
    """
    wanted = targets.rows.unsqueeze(1) == torch.arange(masks.shape[1], device=masks.device)[:, None]  # (B, M, P)
    wanted = wanted.to(masks.dtype)
    valid = targets.valid.unsqueeze(1).to(masks.dtype)
    cross_entropy = F.binary_cross_entropy_with_logits(masks, wanted, reduction="none") * valid
    probability = masks.sigmoid() * valid
    dice = (2 * (probability * wanted).sum(2) + 1) / (probability.sum(2) + wanted.sum(2) + 1)
    counted = present.sum(1).clamp(min=1)
    per_segment = cross_entropy.sum(2) / valid.sum(2).clamp(min=1)
    return ((per_segment * present).sum(1) / counted).mean(), (((1 - dice) * present).sum(1) / counted).mean()
