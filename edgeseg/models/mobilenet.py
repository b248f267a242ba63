"""MobileNetV3 backbones: torchvision's, so that its published weights load unchanged."""

from __future__ import annotations

import torch
import torchvision
from torch import nn

from edgeseg.models.registry import Backbone, register_backbone


class MobileNetV3(Backbone):
    """The feature part of torchvision's MobileNetV3, tapped at the last block of each stride.

    The final 1x1 convolution (576 or 960 channels) and the classifier are left out: a slim decoder gains nothing from
    them. Keys are torchvision's own (`features.0.0.weight`, ...).

    Args:
        features: torchvision's `mobilenet_v3_*().features`.
        taps: Index of the last block of strides 4, 8, 16 and 32.
    """

    def __init__(self, features: nn.Sequential, taps: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.features = features[: taps[-1] + 1]
        self.taps = taps
        c4, c8, c16, c32 = (_out_channels(features[tap]) for tap in taps)
        self.channels = (c4, c8, c16, c32)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(B, 3, H, W) normalised float32 -> maps of strides 4, 8, 16, 32."""
        pyramid = []
        for index, block in enumerate(self.features):
            image = block(image)
            if index in self.taps:
                pyramid.append(image)
        return tuple(pyramid)


def _out_channels(block: nn.Module) -> int:
    channels = block.out_channels
    assert isinstance(channels, int)
    return channels


@register_backbone("mobilenet_v3_small")
def mobilenet_v3_small() -> Backbone:
    """MobileNetV3-Small, 0.87 M parameters."""
    return MobileNetV3(torchvision.models.mobilenet_v3_small(weights=None).features, taps=(1, 3, 8, 11))


@register_backbone("mobilenet_v3_large")
def mobilenet_v3_large() -> Backbone:
    """MobileNetV3-Large, 2.8 M parameters."""
    return MobileNetV3(torchvision.models.mobilenet_v3_large(weights=None).features, taps=(3, 6, 12, 15))
