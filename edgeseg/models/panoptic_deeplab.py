"""Panoptic-DeepLab's head in phone widths: a semantic map, a centre heat-map and an offset to the own centre.

Source: Cheng et al., "Panoptic-DeepLab", CVPR 2020 (arXiv 1911.10194); deeplab2 model/decoder/panoptic_deeplab.py and
model/post_processor/panoptic_deeplab.py. What differs here: one slim pixel decoder for both branches, the sub-cell
position of a centre is where its own offset points, and the grouping yields slots, so that everything behind a head
(quantize, export, merge, apps) is the same for all heads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from edgeseg.config import ModelConfig
from edgeseg.models.layers import NOT_THIS_CLASS, largest, separable
from edgeseg.models.pixel_decoder import PixelDecoder
from edgeseg.models.registry import Head, register_head
from edgeseg.structures import DenseMaps, InputError, Slots

NMS_KERNEL = 3  # cells of stride 4, as deeplab2's 13 pixels
FAR = 1e6  # squared cells: farther than any centre


class PanopticDeepLabHead(Head):
    """Pixel decoder, two branches, and the grouping of cells around centres.

    Slots 0 .. S-1 are the stuff categories, always present; the others are the strongest centres, strongest first.

    Args:
        config: Widths; num_queries counts slots, stuff included.
        channels: Backbone channels at strides 4, 8, 16, 32.
        is_thing: (K,) by contiguous category index.
        image_size: (height, width) of the network's input.

    Raises:
        InputError: No thing category, no stuff category, fewer slots than stuff categories and one, or
            more slots than cells.
    """

    def __init__(
        self,
        config: ModelConfig,
        channels: tuple[int, int, int, int],
        is_thing: Sequence[bool],
        image_size: tuple[int, int],
    ) -> None:
        super().__init__()
        num_things, num_stuff = sum(is_thing), len(is_thing) - sum(is_thing)
        if not num_things or not num_stuff:
            raise InputError(
                f"head panoptic_deeplab needs thing and stuff categories; the data have {num_things} and {num_stuff}; "
                "choose model.head kmax"
            )
        if config.num_queries <= num_stuff:
            raise InputError(
                f"num_queries = {config.num_queries}: panoptic_deeplab needs one slot for each of {num_stuff} stuff "
                "categories and some for things"
            )
        height, width = image_size[0] // 4, image_size[1] // 4
        if config.num_queries - num_stuff > height * width:
            raise InputError(
                f"num_queries = {config.num_queries}: {height} x {width} cells are all there is for centres"
            )
        self.is_thing, self.num_slots = tuple(is_thing), config.num_queries
        self.num_centres = config.num_queries - num_stuff
        pixels, dim = 4 * config.decoder_dims[3], config.query_dim
        self.decoder = PixelDecoder(channels, config.decoder_dims)
        self.semantic_branch, self.instance_branch = separable(pixels, dim), separable(pixels, dim)
        self.things, self.stuff = nn.Conv2d(dim, num_things, 1), nn.Conv2d(dim, num_stuff, 1)
        self.centre, self.offset = nn.Conv2d(dim, 1, 1), nn.Conv2d(dim, 2, 1)
        self.group = CentreGrouping(is_thing, (height, width), config.num_queries - num_stuff, config.centre_threshold)

    def forward(self, pyramid: tuple[torch.Tensor, ...]) -> Slots:
        """Slots at stride 4 from the backbone's maps."""
        slots: Slots = self.group(self.forward_training(pyramid))
        return slots

    def forward_training(self, pyramid: tuple[torch.Tensor, ...]) -> DenseMaps:
        """What the losses compare."""
        pixels = self.decoder(pyramid)[3]
        semantic, instance = self.semantic_branch(pixels), self.instance_branch(pixels)
        return DenseMaps(self.things(semantic), self.stuff(semantic), self.centre(instance), self.offset(instance))

    def beyond_slots(self, categories: torch.Tensor) -> int:
        """See Head: stuff has slots of its own, things share the others."""
        num_things: int = sum(self.is_thing[index] for index in categories.tolist())
        return max(0, num_things - self.num_centres)

    def strip(self) -> None:
        """Nothing here is for training only."""


class Peaks(nn.Module):
    """Keeps the heat of cells that none of their eight neighbours exceeds.

    Args:
        size: (h, w) of the maps.
    """

    ramp: torch.Tensor

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        # Equal heats (int8 makes many) would all be peaks: of neighbours that tie, the first is one.
        ramp = torch.linspace(0, 1e-3, size[0] * size[1]).reshape(1, 1, *size)
        self.register_buffer("ramp", ramp, persistent=False)

    def forward(self, heat: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> the same, 0 where there is no peak or the heat is negative."""
        heat = heat - self.ramp
        highest = F.max_pool2d(heat, NMS_KERNEL, stride=1, padding=NMS_KERNEL // 2)
        is_peak = torch.relu(1.0 - ((highest - heat) * 1e6).ceil())  # a difference of float32 heats is 6e-8 or more
        return torch.relu(heat) * is_peak


class CentreGrouping(nn.Module):
    """Dense maps to slots, with fixed shapes and without a loop.

    A cell of a thing belongs to the centre nearest to where its offset points. A centre of heat s above the threshold t
    is a slot of class probability softmax(things near it) s / (s + t): one half at the threshold.

    Args:
        is_thing: (K,) by contiguous category index.
        size: (h, w) of the maps.
        num_centres: Most centres that are taken.
        threshold: t.
    """

    grid: torch.Tensor
    spread: torch.Tensor
    spread_bias: torch.Tensor
    stuff_logits: torch.Tensor

    def __init__(self, is_thing: Sequence[bool], size: tuple[int, int], num_centres: int, threshold: float) -> None:
        super().__init__()
        self.size, self.num_centres, self.threshold = size, num_centres, threshold
        self.num_things = sum(is_thing)
        self.register_buffer("grid", cell_centres(size), persistent=False)
        self.peaks = Peaks(size)
        columns = [index for index, thing in enumerate(is_thing) if thing] + [len(is_thing)]
        self.register_buffer("spread", F.one_hot(torch.tensor(columns)).T.float().contiguous(), persistent=False)
        bias = torch.full((len(is_thing) + 1,), NOT_THIS_CLASS)
        bias[columns] = 0.0
        self.register_buffer("spread_bias", bias, persistent=False)  # (K + 1, T + 1) with it: thing logits to columns
        stuff = torch.tensor([index for index, thing in enumerate(is_thing) if not thing])
        own = F.one_hot(stuff, len(is_thing) + 1).float()
        self.register_buffer("stuff_logits", ((1 - own) * NOT_THIS_CLASS)[None], persistent=False)  # (1, S, K + 1)

    def forward(self, maps: DenseMaps) -> Slots:
        """Dense maps -> class logits (B, S + M, K + 1) and mask logits (B, S + M, h, w), M = num_centres."""
        heat, cells = self.strongest(maps.centre)  # (B, 1, M) both
        pointed = self.grid + maps.offset.flatten(2)  # (B, 2, P)
        centres = pointed.gather(2, cells.expand(-1, 2, -1))  # (B, 2, M)
        near = F.avg_pool2d(maps.things, 3, stride=1, padding=1, count_include_pad=False).flatten(2)
        classes = near.gather(2, cells.expand(-1, self.num_things, -1)).transpose(1, 2).log_softmax(2)  # (B, M, T)
        heat = heat.transpose(1, 2)  # (B, M, 1)
        void = math.log(self.threshold) - heat.clamp(min=1e-4).log()
        class_logits = F.linear(torch.cat([classes, void], 2), self.spread, self.spread_bias)
        is_centre = torch.relu(heat - self.threshold).ceil().clamp(max=1.0)
        owned = self.nearest(pointed, centres, is_centre)  # (B, M, P)
        mask_logits = owned + largest(maps.things.flatten(2), self.num_things)
        always = class_logits[:, :1] * 0.0 + self.stuff_logits  # (B, S, K + 1): once per image, in a form that traces
        return Slots(
            torch.cat([always, class_logits], 1),
            torch.cat([maps.stuff, mask_logits.reshape(-1, self.num_centres, *self.size)], 1),
        )

    def strongest(self, centre: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Heat (B, 1, h, w) -> heat and cell (B, 1, M) of its highest peaks, highest first."""
        top = self.peaks(centre).flatten(2).topk(self.num_centres, dim=2)
        return top[0], top[1]

    def nearest(self, pointed: torch.Tensor, centres: torch.Tensor, is_centre: torch.Tensor) -> torch.Tensor:
        """(B, M, P): 0 for the centre nearest to where a cell points, minus the surplus of squared cells for others."""
        down, right = (pointed[:, i : i + 1] - centres[:, i : i + 1].transpose(1, 2) for i in (0, 1))  # (B, M, P)
        closeness = (is_centre - 1.0) * FAR - (down * down + right * right)
        return closeness - largest(closeness, self.num_centres)


def cell_centres(size: tuple[int, int]) -> torch.Tensor:
    """(1, 2, h w) float32 (down, right) of each cell's centre, in cells."""
    rows, columns = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    return (torch.stack([rows, columns]).flatten(1) + 0.5)[None]


register_head("panoptic_deeplab")(PanopticDeepLabHead)
