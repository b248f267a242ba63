"""The whole network, from RGB in 0..255 to slots."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgeseg.config import ModelConfig
from edgeseg.models.registry import HEADS, Backbone, Head, build_backbone, find
from edgeseg.structures import InputError, Slots


class SlotsModel(nn.Module):
    """Normalisation, backbone and head.

    Args:
        config: What to build.
        is_thing: (K,) by contiguous category index.
        image_size: (height, width), multiples of 32.
    """

    mean: torch.Tensor
    inverse_std: torch.Tensor

    def __init__(self, config: ModelConfig, is_thing: Sequence[bool], image_size: tuple[int, int]) -> None:
        super().__init__()
        self.backbone: Backbone = build_backbone(config, image_size)
        self.head: Head = find(HEADS, config.head, "head")(config, self.backbone.channels, is_thing, image_size)
        self.register_buffer("mean", torch.tensor(config.mean).reshape(1, 3, 1, 1), persistent=False)
        inverse_std = 1.0 / torch.tensor(config.std).reshape(1, 3, 1, 1)
        self.register_buffer("inverse_std", inverse_std, persistent=False)

    def forward(self, image: torch.Tensor) -> Slots:
        """(B, 3, H, W) float32 RGB in 0..255 -> slots with masks at stride 4."""
        slots: Slots = self.head(self.backbone((image - self.mean) * self.inverse_std))
        return slots

    def forward_training(self, image: torch.Tensor) -> Any:
        """What the head's own loss takes; see the head's `forward_training`."""
        return self.head.forward_training(self.backbone((image - self.mean) * self.inverse_std))

    def deployable(self) -> SlotsModel:
        """A copy in eval mode without training-only branches; the original stays as it is."""
        model = copy.deepcopy(self).eval()
        model.backbone.strip()
        model.head.strip()
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        return model


def build_model(config: ModelConfig, is_thing: Sequence[bool], image_size: tuple[int, int]) -> SlotsModel:
    """Builds a network with fresh weights; see SlotsModel.

    Raises:
        InputError: Unknown backbone or head, or numbers that do not fit together.
    """
    if any(side < 32 or side % 32 for side in image_size):
        raise InputError(f"image_size = {list(image_size)}: both sides must be multiples of 32")
    if not 1 <= config.num_queries <= 254:
        raise InputError(f"num_queries = {config.num_queries}: 1 to 254 fit the 8-bit slot map")
    if config.query_dim % config.num_heads:
        raise InputError(f"query_dim = {config.query_dim} is not a multiple of num_heads = {config.num_heads}")
    if unknown := set(config.kmeans_strides) - {32, 16, 8, 4}:
        raise InputError(f"kmeans_strides has {sorted(unknown)}; the decoder's strides are 32, 16, 8 and 4")
    if (config.attention_window or config.position_bias) and not config.backbone.startswith("tiny_moat"):
        raise InputError(f"attention_window and position_bias belong to tiny_moat; {config.backbone} has neither")
    return SlotsModel(config, is_thing, image_size)


def count_parameters(module: nn.Module) -> int:
    """Number of trained values; buffers do not count."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_macs(model: nn.Module, image_size: tuple[int, int]) -> int:
    """Multiply-accumulates of convolutions, linears and matrix products for one image (papers' "FLOPs")."""
    counter = FlopCounterMode(display=False)
    was_training = model.training
    model.eval()
    with counter, torch.no_grad():
        model(torch.zeros(1, 3, *image_size))
    model.train(was_training)
    return int(counter.get_total_flops()) // 2
