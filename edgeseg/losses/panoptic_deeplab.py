"""Panoptic-DeepLab's losses: semantic cross entropy, squared error of the heat-map, absolute error of the offsets.

Source: Cheng et al., arXiv 1911.10194, section 3; deeplab2 model/loss. What differs here: a centre's Gaussian is
narrower for small things (the published 8 pixels would run neighbouring nuclei together), and every term is a mean over
images of a mean within the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from edgeseg.config import LossConfig
from edgeseg.losses.kmax import mean_where, size_of
from edgeseg.losses.small_things import small_thing_weights
from edgeseg.losses.targets import Targets, cell_centres, pad_labels, targets_at, widened
from edgeseg.structures import IGNORE, Batch, DenseMaps

LARGEST_SIGMA = 8.0  # pixels, as published
SMALLEST_SIGMA = 3.0  # pixels; less than a cell of stride 4 would leave no peak
SIGMA_SHARE = 0.25  # of the square root of a thing's area


@dataclass(frozen=True)
class Centres:
    """Where the things of a batch are.

    Attributes:
        position: (B, M, 2) float32 (down, right) centre of mass in pixels.
        sigma: (B, M) float32 width of the Gaussian in pixels.
        is_thing: (B, M) claim; False for stuff (unless its centres are wanted too), padding and rows without a pixel.
    """

    position: torch.Tensor
    sigma: torch.Tensor
    is_thing: torch.Tensor


class CentreOffsetLoss(nn.Module):
    """Semantic, centre and offset terms.

    Args:
        config: Weights.
        is_thing: (K,) by contiguous category index.
    """

    is_thing: torch.Tensor
    channel: torch.Tensor

    def __init__(self, config: LossConfig, is_thing: Sequence[bool]) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("is_thing", torch.tensor([*is_thing, False]), persistent=False)  # the last is void
        things_first = sorted(range(len(is_thing)), key=lambda index: not is_thing[index])
        self.register_buffer("channel", torch.tensor([*things_first, len(is_thing)]).argsort(), persistent=False)

    def forward(self, maps: DenseMaps, batch: Batch, generators: Sequence[torch.Generator]) -> dict[str, torch.Tensor]:
        """Compares the maps with the labels; nothing here is random.

        Returns:
            Weighted scalar terms by name, and their sum as "total".
        """
        labels = pad_labels(batch.categories)
        size = size_of(maps.centre)
        stride = batch.label_map.shape[1] // size[0]
        targets = targets_at(batch.label_map, labels, size)
        centres = find_centres(batch.label_map, labels, self.is_thing, widened(maps.centre).dtype)
        terms = {
            "semantic": self.config.semantic_weight * self.semantic(maps, targets, stride),
            "centre": self.config.centre_weight * centre_error(maps.centre, centres, targets, stride),
            "offset": self.config.offset_weight * offset_error(maps.offset, centres, targets, stride),
        }
        terms["total"] = torch.stack(list(terms.values())).sum()
        return terms

    def semantic(self, maps: DenseMaps, targets: Targets, stride: int) -> torch.Tensor:
        """Cross entropy over categories at each labelled cell; small things may weigh more."""
        logits = widened(torch.cat([maps.things, maps.stuff], 1).flatten(2))
        num_categories = logits.shape[1]
        wanted = self.channel[targets.categories(num_categories)].clamp(max=num_categories - 1)
        weights = small_thing_weights(
            targets,
            self.is_thing,
            stride=stride,
            max_area=self.config.small_thing_area,
            weight=self.config.small_thing_weight,
        )
        return mean_where(weights * F.cross_entropy(logits, wanted, reduction="none"), targets.valid)


def find_centres(
    label_map: torch.Tensor, labels: torch.Tensor, is_thing: torch.Tensor, dtype: torch.dtype = torch.float32
) -> Centres:
    """Centres of mass at full resolution.

    Args:
        label_map: (B, H, W) integer rows, -1 = ignored.
        labels: (B, M) category index of each row, -1 = padding.
        is_thing: (K + 1,) by category index: whose centres are wanted; False for void.
        dtype: Of positions and widths.
    """
    rows = label_map.flatten(1).long()
    valid = (rows != IGNORE).to(dtype)
    index = rows.clamp(min=0)
    zeros = torch.zeros(labels.shape, device=labels.device, dtype=dtype)
    area = zeros.scatter_add(1, index, valid)
    pixels = cell_centres((label_map.shape[1], label_map.shape[2]), valid.device, dtype)
    sums = [zeros.scatter_add(1, index, valid * pixels[:, axis]) for axis in (0, 1)]
    position = torch.stack(sums, 2) / area.clamp(min=1).unsqueeze(2)
    sigma = (SIGMA_SHARE * area.sqrt()).clamp(SMALLEST_SIGMA, LARGEST_SIGMA)
    return Centres(position, sigma, is_thing[labels] & (labels != IGNORE) & (area > 0))


def heat_of(centres: Centres, size: tuple[int, int], stride: int) -> torch.Tensor:
    """(B, h, w): at each cell the highest of all centres' Gaussians."""
    width = 2 * centres.sigma.unsqueeze(2) ** 2  # (B, M, 1)
    axes = []
    for axis, length in enumerate(size):
        cells = (torch.arange(length, device=width.device, dtype=width.dtype) + 0.5) * stride
        axes.append((-((cells - centres.position[..., axis : axis + 1]) ** 2) / width).exp())  # (B, M, length)
    heats = axes[0].unsqueeze(3) * axes[1].unsqueeze(2)  # (B, M, h, w)
    return (heats * centres.is_thing[..., None, None]).amax(1)


def centre_error(centre: torch.Tensor, centres: Centres, targets: Targets, stride: int) -> torch.Tensor:
    """Mean squared error of the heat (B, 1, h, w) over labelled cells."""
    wanted = heat_of(centres, size_of(centre), stride).flatten(1)
    return mean_where((widened(centre).flatten(1) - wanted) ** 2, targets.valid)


def offset_error(offset: torch.Tensor, centres: Centres, targets: Targets, stride: int) -> torch.Tensor:
    """Mean absolute error of the offsets (B, 2, h, w), both axes added, in pixels, over the cells of things."""
    rows = targets.rows.clamp(min=0)  # (B, P)
    own = centres.position.gather(1, rows.unsqueeze(2).expand(-1, -1, 2)).transpose(1, 2)  # (B, 2, P)
    wanted = own - stride * cell_centres(size_of(offset), own.device, own.dtype)
    error = (stride * widened(offset).flatten(2) - wanted).abs().sum(1)
    return mean_where(error, targets.valid & centres.is_thing.gather(1, rows))
