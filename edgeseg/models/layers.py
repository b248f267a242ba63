"""Layers with a norm that folds away at export."""

from __future__ import annotations

import math

import torch
from torch import nn

NOT_THIS_CLASS = -30.0
"""Logit of a category that a slot cannot have."""


class ConvNorm(nn.Sequential):
    """Convolution without bias, batch norm, and ReLU unless `relu=False`.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        kernel: Odd kernel size, padded to keep the size.
        groups: Groups of the convolution.
        dilation: Distance of the kernel's entries.
        relu: Whether a ReLU follows.
        gamma: Initial scale of the norm; 0 starts a residual branch as nothing.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        *,
        groups: int = 1,
        dilation: int = 1,
        relu: bool = True,
        gamma: float = 1.0,
    ) -> None:
        padding = dilation * (kernel // 2)
        conv = nn.Conv2d(
            in_channels, out_channels, kernel, padding=padding, groups=groups, dilation=dilation, bias=False
        )
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu" if relu else "linear")
        norm = nn.BatchNorm2d(out_channels)
        nn.init.constant_(norm.weight, gamma)
        super().__init__(conv, norm, *([nn.ReLU()] if relu else []))


def separable(in_channels: int, out_channels: int) -> nn.Sequential:
    """5x5 depthwise, then 1x1, each with norm and ReLU."""
    return nn.Sequential(ConvNorm(in_channels, in_channels, 5, groups=in_channels), ConvNorm(in_channels, out_channels))


class LinearNorm(nn.Sequential):
    """Linear without bias and batch norm over rows, for (rows, features); ReLU if asked.

    Batch norm instead of layer norm, because it folds into the linear (deployment: one delegate instead of many).
    """

    def __init__(self, in_features: int, out_features: int, *, relu: bool = False, gamma: float = 1.0) -> None:
        linear = nn.Linear(in_features, out_features, bias=False)
        nn.init.trunc_normal_(linear.weight, std=math.sqrt(1.0 / in_features))
        norm = nn.BatchNorm1d(out_features)
        nn.init.constant_(norm.weight, gamma)
        super().__init__(linear, norm, *([nn.ReLU()] if relu else []))


class PositionEmbedding(nn.Module):
    """What is added to pixel features so that equal-looking things at different places differ.

    Sines and cosines of x and y at six octaves through one linear map: a part for the row plus a part for the column.
    Neither changes with the image, so that at export they are constants (`freeze`) of h + w vectors, not of h x w.

    Args:
        channels: Channels of the features.
        size: (height, width) of the features.
    """

    waves: torch.Tensor

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        y = (torch.arange(size[0]) + 0.5) / size[0]
        x = (torch.arange(size[1]) + 0.5) / size[1]
        octaves = math.pi * 2.0 ** torch.arange(6)
        wave_y, wave_x = y[None] * octaves[:, None], x[None] * octaves[:, None]  # (6, h), (6, w)
        rows = torch.cat([wave_y.sin(), wave_y.cos()])[:, :, None].expand(-1, -1, size[1])
        columns = torch.cat([wave_x.sin(), wave_x.cos()])[:, None, :].expand(-1, size[0], -1)
        self.register_buffer("waves", torch.cat([rows, columns])[None], persistent=False)  # (1, 24, h, w)
        self.weight = nn.Parameter(torch.randn(channels, 24, 1, 1) * 0.1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, channels, h, w) float32 to the same shape."""
        return pixels + torch.nn.functional.conv2d(self.waves, self.weight)

    def freeze(self) -> FrozenPosition:
        """The same sum with constants."""
        with torch.no_grad():
            rows = torch.nn.functional.conv2d(self.waves[:, :12, :, :1], self.weight[:, :12])
            columns = torch.nn.functional.conv2d(self.waves[:, 12:, :1], self.weight[:, 12:])
        return FrozenPosition(rows, columns)


class FrozenPosition(nn.Module):
    """The two constants that `PositionEmbedding` becomes at deployment.

    Args:
        rows: (1, channels, h, 1) float32.
        columns: (1, channels, 1, w) float32.
    """

    rows: torch.Tensor
    columns: torch.Tensor

    def __init__(self, rows: torch.Tensor, columns: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows)
        self.register_buffer("columns", columns)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, channels, h, w) float32 to the same shape."""
        return pixels + self.rows + self.columns


def largest(x: torch.Tensor, num: int) -> torch.Tensor:
    """(B, num, P) -> (B, 1, P) maximum from operators that every delegate takes; halves may overlap."""
    while num > 1:
        half = (num + 1) // 2
        x = torch.maximum(x[:, :half], x[:, num - half :])
        num = half
    return x


def unit(x: torch.Tensor) -> torch.Tensor:
    """Vectors along the second axis to length 1."""
    return x * (x.square().sum(1, keepdim=True) + 1e-6).rsqrt()
