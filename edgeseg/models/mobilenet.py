"""MobileNet backbones: torchvision's, so that its published weights load unchanged."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torchvision
from torch import nn
from torchvision.models import MobileNet_V2_Weights, MobileNet_V3_Large_Weights, MobileNet_V3_Small_Weights
from torchvision.models.mobilenetv3 import _mobilenet_v3_conf

from edgeseg.config import ModelConfig
from edgeseg.models.registry import Backbone, Published, register_backbone


class MobileNet(Backbone):
    """The feature part of torchvision's MobileNetV2 or V3, tapped at the last block of each stride.

    The final 1x1 convolution (576 to 1280 channels) and the classifier are left out: a slim decoder gains nothing from
    them. Keys are torchvision's own (`features.0.0.weight`, ...).

    Args:
        features: torchvision's `mobilenet_*().features`.
        taps: Index of the last block of strides 4, 8, 16 and 32.
        published: Where torchvision has its weights.
    """

    def __init__(
        self, features: nn.Sequential, taps: tuple[int, int, int, int], published: Published | None = None
    ) -> None:
        super().__init__()
        self.features = features[: taps[-1] + 1]
        self.taps = taps
        self.published = published
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


def minimalistic(arch: str, width: float = 1.0) -> torchvision.models.MobileNetV3:
    """MobileNetV3 without what int8 engines run badly: squeeze-and-excite, hard-swish, 5x5 kernels.

    The whole network of which the backbone is a part: 2.0 M parameters (small), 3.9 M and 209 M MACs at 224 (large).
    The layer table as tensorflow/models' slim/nets/mobilenet/mobilenet_v3.py simplifies it.
    """
    settings, last_channel = _mobilenet_v3_conf(arch, width_mult=width)
    for block in settings:
        block.kernel, block.use_se, block.use_hs = 3, False, False
    network = torchvision.models.MobileNetV3(settings, last_channel)
    for end in (network.features[0], network.features[-1]):
        end[2] = nn.ReLU(inplace=True)
    return network


_SMALL, _LARGE, _V2 = (1, 3, 8, 11), (3, 6, 12, 15), (3, 6, 13, 17)


def _register(
    name: str,
    network: Callable[[], nn.Module],
    taps: tuple[int, int, int, int],
    weights: torchvision.models.WeightsEnum | None = None,
) -> None:
    published = Published(weights.url, weights.url.rpartition("/")[2]) if weights else None

    def build(config: ModelConfig, image_size: tuple[int, int]) -> Backbone:
        features = network().features
        assert isinstance(features, nn.Sequential)
        return MobileNet(features, taps, published)

    register_backbone(name)(build)


_register("mobilenet_v3_small", torchvision.models.mobilenet_v3_small, _SMALL, MobileNet_V3_Small_Weights.IMAGENET1K_V1)
_register("mobilenet_v3_large", torchvision.models.mobilenet_v3_large, _LARGE, MobileNet_V3_Large_Weights.IMAGENET1K_V2)
_register("mobilenet_v3_small_minimalistic", lambda: minimalistic("mobilenet_v3_small"), _SMALL)
_register("mobilenet_v3_small_minimalistic_x1_5", lambda: minimalistic("mobilenet_v3_small", 1.5), _SMALL)
_register("mobilenet_v3_large_minimalistic", lambda: minimalistic("mobilenet_v3_large"), _LARGE)
_register("mobilenet_v2", torchvision.models.mobilenet_v2, _V2, MobileNet_V2_Weights.IMAGENET1K_V2)
