"""The slim pixel decoder: one convolutional bottleneck per stride, coarse to fine."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from edgeseg.models.layers import ConvNorm


class Bottleneck(nn.Module):
    """Residual 1x1, 3x3, 1x1 with `width` channels inside and 4 `width` outside."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            ConvNorm(in_channels, width),
            ConvNorm(width, width, 3),
            ConvNorm(width, 4 * width, relu=False, gamma=0.0),
        )
        self.shortcut = ConvNorm(in_channels, 4 * width, relu=False) if in_channels != 4 * width else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, h, w) -> (B, 4 width, h, w)."""
        result: torch.Tensor = self.relu(self.branch(x) + self.shortcut(x))
        return result


class PixelDecoder(nn.Module):
    """kMaX-DeepLab's pixel decoder with a bottleneck at every stride and widths for a phone.

    The published one has axial attention at strides 32 and 16 and seven blocks (deeplab2 model/pixel_decoder/kmax.py);
    this keeps its shape (a block per stage, 4 d channels out, sum fusion after bilinear enlargement) with ReLU after
    the sum instead of before the block, so that int8 engines fuse it.

    Args:
        channels: Backbone channels at strides 4, 8, 16, 32.
        widths: Bottleneck widths d at strides 32, 16, 8, 4.
    """

    def __init__(self, channels: tuple[int, int, int, int], widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        backbone = channels[::-1]
        outside = [4 * width for width in widths]
        self.out_channels = tuple(outside)
        self.stages = nn.ModuleList(
            Bottleneck(backbone[0] if i == 0 else outside[i], width) for i, width in enumerate(widths)
        )
        self.laterals = nn.ModuleList(ConvNorm(backbone[i], outside[i], relu=False) for i in range(1, 4))
        self.reduces = nn.ModuleList(ConvNorm(outside[i - 1], outside[i], relu=False) for i in range(1, 4))
        self.relu = nn.ReLU()

    def forward(self, pyramid: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Backbone maps of strides 4, 8, 16, 32 -> decoded maps of strides 32, 16, 8, 4."""
        x = self.stages[0](pyramid[3])
        maps = [x]
        for i in range(3):
            coarse = F.interpolate(self.reduces[i](x), scale_factor=2.0, mode="bilinear", align_corners=False)
            x = self.stages[i + 1](self.relu(coarse + self.laterals[i](pyramid[2 - i])))
            maps.append(x)
        return tuple(maps)
