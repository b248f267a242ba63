"""LR-ASPP, MobileNetV3's own semantic head.

Source: Howard et al., "Searching for MobileNetV3", ICCV 2019 (arXiv 1905.02244), section 6.4; names and shapes are
those of torchvision models/segmentation/lraspp.py, whose weights load. What differs here: the backbone is not dilated,
so that the coarse map has stride 32 instead of 16, and the coarse logits are enlarged after their classifier instead of
before, which is the same by linearity and sixteen times cheaper.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from edgeseg.config import ModelConfig
from edgeseg.models.registry import register_head
from edgeseg.models.semantic_head import SemanticHead


class LRASPPHead(SemanticHead):
    """Coarse features, gated by what the whole image says, and a shortcut from stride 8.

    Args:
        config: `query_dim` is the width (128 as published).
        channels: Backbone channels at strides 4, 8, 16, 32.
        is_thing: (K,).
        image_size: (height, width) of the network's input.
    """

    def __init__(
        self,
        config: ModelConfig,
        channels: tuple[int, int, int, int],
        is_thing: Sequence[bool],
        image_size: tuple[int, int],
    ) -> None:
        super().__init__(len(is_thing))
        dim, low, high = config.query_dim, channels[1], channels[3]
        self.cbr = nn.Sequential(nn.Conv2d(high, dim, 1, bias=False), nn.BatchNorm2d(dim), nn.ReLU())
        self.scale = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(high, dim, 1, bias=False), nn.Sigmoid())
        self.low_classifier = nn.Conv2d(low, len(is_thing), 1)
        self.high_classifier = nn.Conv2d(dim, len(is_thing), 1)

    def segment(self, pyramid: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """See SemanticHead."""
        coarse = self.high_classifier(self.cbr(pyramid[3]) * self.scale(pyramid[3]))
        coarse = F.interpolate(coarse, scale_factor=4.0, mode="bilinear", align_corners=False)
        logits = coarse + self.low_classifier(pyramid[1])  # stride 8
        return F.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)


register_head("lraspp")(LRASPPHead)
