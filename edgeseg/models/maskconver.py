"""MaskConver's head in phone widths: a heat-map of segment centres by category, and a mask embedding at each centre.

Source: Rashwan et al., "MaskConver: Revisiting Pure Convolution Model for Panoptic Segmentation", WACV 2024 (arXiv
2312.06052); tensorflow/models official/projects/maskconver. No attention, no learned queries, no matching: a thing or a
stuff region is where its centre is. What differs here: the maps have stride 4 instead of 8 (small things), a position
map tells equal-looking things apart, a cell is the centre of one segment at most (the categories that peak in it share
it), and a centre of heat s above the threshold t has probability s / (s + t) of being there, as in panoptic_deeplab.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from edgeseg.config import ModelConfig
from edgeseg.models.layers import FrozenPosition, PositionEmbedding, separable
from edgeseg.models.panoptic_deeplab import Peaks
from edgeseg.models.pixel_decoder import PixelDecoder
from edgeseg.models.registry import Head, register_head
from edgeseg.structures import CentreMaps, InputError, Slots

CENTRE_PRIOR = 0.1  # heat everywhere before training (CenterNet's)


class MaskConverHead(Head):
    """Pixel decoder, three convolutional branches, and masks of the strongest centres.

    Slots are centres, strongest first.

    Args:
        config: Widths; num_queries is the number of centres.
        channels: Backbone channels at strides 4, 8, 16, 32.
        is_thing: (K,) by contiguous category index; things and stuff are treated alike.
        image_size: (height, width) of the network's input.

    Raises:
        InputError: More slots than cells.
    """

    def __init__(
        self,
        config: ModelConfig,
        channels: tuple[int, int, int, int],
        is_thing: Sequence[bool],
        image_size: tuple[int, int],
    ) -> None:
        super().__init__()
        height, width = image_size[0] // 4, image_size[1] // 4
        if config.num_queries > height * width:
            raise InputError(
                f"num_queries = {config.num_queries}: {height} x {width} cells are all there is for centres"
            )
        pixels, dim, num_categories = 4 * config.decoder_dims[3], config.query_dim, len(is_thing)
        self.num_slots, self.threshold, self.size = config.num_queries, config.centre_threshold, (height, width)
        self.dim, self.num_categories = dim, num_categories
        self.decoder = PixelDecoder(channels, config.decoder_dims)
        self.position: PositionEmbedding | FrozenPosition = PositionEmbedding(pixels, self.size)
        self.centre_branch, self.mask_branch, self.pixel_branch = (separable(pixels, dim) for _ in range(3))
        self.heat, self.pixel = nn.Conv2d(dim, num_categories, 1), nn.Conv2d(dim, dim, 1)
        nn.init.constant_(self.heat.bias, -math.log((1 - CENTRE_PRIOR) / CENTRE_PRIOR))  # type: ignore[arg-type]
        self.category = nn.Linear(num_categories, dim, bias=False)  # a factor for each category: near 1 at first
        nn.init.normal_(self.category.weight, mean=1.0, std=0.1)
        self.embed = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.peaks = Peaks(self.size)

    def forward(self, pyramid: tuple[torch.Tensor, ...]) -> Slots:
        """Slots at stride 4 from the backbone's maps."""
        maps = self.forward_training(pyramid)
        peaks = self.peaks(maps.heat.sigmoid()).flatten(2)  # (B, K, P)
        cells = peaks.amax(1, keepdim=True).topk(self.num_slots, dim=2)[1]  # (B, 1, N)
        heat = peaks.gather(2, cells.expand(-1, self.num_categories, -1)).transpose(1, 2)  # (B, N, K)
        against_void = (heat.clamp(min=1e-5) * (1.0 / self.threshold)).log()
        class_logits = torch.cat([against_void, against_void[:, :, :1] * 0.0], 2)
        return Slots(class_logits, maps.masks_at(cells.squeeze(1), heat / (heat.sum(2, keepdim=True) + 1e-4)))

    def forward_training(self, pyramid: tuple[torch.Tensor, ...]) -> CentreMaps:
        """What the losses compare."""
        pixels = self.decoder(pyramid)[3]
        placed = torch.relu(self.position(pixels))
        heat = self.heat(self.centre_branch(pixels))
        return CentreMaps(heat, partial(self.masks_at, self.mask_branch(placed), self.pixel(self.pixel_branch(placed))))

    def masks_at(
        self, features: torch.Tensor, embedding: torch.Tensor, cells: torch.Tensor, categories: torch.Tensor
    ) -> torch.Tensor:
        """Mask logits of the segments with these centres.

        Args:
            features: (B, D, h, w) of the mask branch.
            embedding: (B, D, h, w) of the pixels.
            cells: (B, M) int64.
            categories: (B, M, K) float32.

        Returns:
            (B, M, h, w).
        """
        cells = cells.unsqueeze(1).expand(-1, self.dim, -1)
        at_centres = features.flatten(2).gather(2, cells).transpose(1, 2)  # (B, M, D)
        rows = self.embed(at_centres * self.category(categories)) * (1.0 / math.sqrt(self.dim))
        logits = torch.bmm(rows, embedding.flatten(2))  # (B, M, h w)
        masks: torch.Tensor = logits.unflatten(2, self.size)  # type: ignore[no-untyped-call]
        return masks

    def strip(self) -> None:
        """Freezes the position map."""
        if isinstance(self.position, PositionEmbedding):
            self.position = self.position.freeze()


register_head("maskconver")(MaskConverHead)
