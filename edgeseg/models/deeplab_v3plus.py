"""DeepLabV3+ in phone widths: atrous pyramid, then fusion with finer maps.

Source: Chen et al., "Encoder-Decoder with Atrous Separable Convolution", ECCV 2018 (arXiv 1802.02611); deeplab2
model/decoder/{aspp,deeplabv3plus}.py for the two finer maps (strides 8 and 4) and the 5x5 separable fusion. What
differs here: the backbone is not dilated, so the rates are 3, 6 and 9 (deeplab2's for stride 32), and the pooled branch
is added to the projection of the others instead of concatenated before it, with biases instead of norms: one pooled
vector of one image has no variance.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from edgeseg.config import ModelConfig
from edgeseg.models.layers import ConvNorm, separable
from edgeseg.models.registry import register_head
from edgeseg.models.semantic_head import SemanticHead

RATES = (3, 6, 9)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: what is seen at several distances, and in the whole image.

    Args:
        in_channels: Channels that come in.
        dim: Channels of every branch and of the result.
        rates: Dilations of the 3x3 branches.
    """

    def __init__(self, in_channels: int, dim: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList([ConvNorm(in_channels, dim)])
        self.convs.extend(ConvNorm(in_channels, dim, 3, dilation=rate) for rate in rates)
        self.project = ConvNorm(len(self.convs) * dim, dim, relu=False)
        self.pooled = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(in_channels, dim, 1), nn.ReLU(), nn.Conv2d(dim, dim, 1)
        )
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, h, w) -> (B, dim, h, w)."""
        seen = self.project(torch.cat([conv(x) for conv in self.convs], 1))
        result: torch.Tensor = self.relu(seen + self.pooled(x))
        return result


class DeepLabV3PlusHead(SemanticHead):
    """ASPP at stride 32, fused with the maps of strides 8 and 4.

    Args:
        config: `query_dim` is the width (256 as published); the finer maps get a quarter and an eighth of it.
        channels: Backbone channels at strides 4, 8, 16, 32.
        is_thing: (K,).
        image_size: (height, width) of the network's input.
    """

    rates: tuple[int, int, int] = RATES

    def __init__(
        self,
        config: ModelConfig,
        channels: tuple[int, int, int, int],
        is_thing: Sequence[bool],
        image_size: tuple[int, int],
    ) -> None:
        super().__init__(len(is_thing))
        dim = config.query_dim
        fine = (dim // 4, dim // 8)
        self.aspp = ASPP(channels[3], dim, self.rates)
        self.reduce8, self.reduce4 = ConvNorm(channels[1], fine[0]), ConvNorm(channels[0], fine[1])
        self.fuse8, self.fuse4 = separable(dim + fine[0], dim), separable(dim + fine[1], dim)
        self.last = separable(dim, dim)
        self.classify = nn.Conv2d(dim, len(is_thing), 1)

    def segment(self, pyramid: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """See SemanticHead."""
        x = enlarge(self.aspp(pyramid[3]), 4)
        x = enlarge(self.fuse8(torch.cat([x, self.reduce8(pyramid[1])], 1)), 2)
        x = self.fuse4(torch.cat([x, self.reduce4(pyramid[0])], 1))
        logits: torch.Tensor = self.classify(self.last(x))
        return logits


def enlarge(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Bilinear, align_corners=False."""
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


register_head("deeplab_v3plus")(DeepLabV3PlusHead)
