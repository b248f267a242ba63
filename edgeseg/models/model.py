"""The whole network, from RGB in 0..255 to slots."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgeseg.config import ModelConfig
from edgeseg.models.registry import BACKBONES, HEADS, Backbone, Head, find
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
        self.backbone: Backbone = find(BACKBONES, config.backbone, "backbone")()
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
    return SlotsModel(config, is_thing, image_size)


def load_backbone_weights(model: SlotsModel, path: Path) -> None:
    """Loads published backbone weights, as torchvision stores them, from a local file.

    Keys of parts that edgeseg leaves out (the classifier and the last 1x1 convolution) are passed over; any other
    difference is an error.

    Raises:
        InputError: File missing, not tensors, or of another network.
    """
    if not path.is_file():
        raise InputError(f"pretrained weights {path} do not exist")
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    except Exception as error:
        raise InputError(
            f"{path} holds no readable tensors ({error}); a .safetensors or torchvision .pth wanted"
        ) from error
    wanted = model.backbone.state_dict()
    if missing := [key for key in wanted if key not in state or state[key].shape != wanted[key].shape]:
        raise InputError(
            f"{path} is of another backbone: {len(missing)} tensors missing or of another shape, first {missing[0]}"
        )
    model.backbone.load_state_dict({key: state[key] for key in wanted})


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
