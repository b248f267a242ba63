"""MobileNetV3 backbones: torchvision's, so that its published weights load unchanged."""

from __future__ import annotations

import torch
import torchvision
from torch import nn
from torchvision.models.mobilenetv3 import _mobilenet_v3_conf

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


@register_backbone("mobilenet_v3_small_minimalistic")
def mobilenet_v3_small_minimalistic() -> Backbone:
    """MobileNetV3-Small without what int8 engines run badly: squeeze-and-excite, hard-swish, 5x5 kernels."""
    return MobileNetV3(minimalistic("mobilenet_v3_small").features, taps=(1, 3, 8, 11))


@register_backbone("mobilenet_v3_large_minimalistic")
def mobilenet_v3_large_minimalistic() -> Backbone:
    """MobileNetV3-Large without squeeze-and-excite, hard-swish and 5x5 kernels."""
    return MobileNetV3(minimalistic("mobilenet_v3_large").features, taps=(3, 6, 12, 15))


def minimalistic(arch: str) -> torchvision.models.MobileNetV3:
    """The whole network whose features they are: 2.0 M parameters (small), 3.9 M and 209 M MACs at 224 (large).

    The layer table as tensorflow/models' slim/nets/mobilenet/mobilenet_v3.py simplifies it.
    """
    settings, last_channel = _mobilenet_v3_conf(arch)
    for block in settings:
        block.kernel, block.use_se, block.use_hs = 3, False, False
    network = torchvision.models.MobileNetV3(settings, last_channel)
    for end in (network.features[0], network.features[-1]):
        end[2] = nn.ReLU(inplace=True)
    return network
