"""The registry of backbones and heads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn

from edgeseg.config import ModelConfig, nearest
from edgeseg.structures import InputError, Slots


class Backbone(nn.Module):
    """A network that answers a pyramid.

    `forward` takes normalised (B, 3, H, W) float32 and returns the maps of strides 4, 8, 16 and 32.

    Attributes:
        channels: Channels of these four maps.
    """

    channels: tuple[int, int, int, int]

    published: Published | None = None
    """Where weights of this very network are; None = nobody publishes them for PyTorch."""

    def strip(self) -> None:
        """Brings it into the form that is deployed, in place; nothing here."""

    def from_published(self, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """This network's part of published weights, under its own names."""
        return weights


@dataclass(frozen=True)
class Published:
    """Weights that somebody else publishes.

    Attributes:
        url: Of the file.
        file: What to call it here.
        mean: Of RGB in 0..255 that they were trained with.
        std: Likewise.
    """

    url: str
    file: str
    mean: tuple[float, float, float] = ModelConfig.mean
    std: tuple[float, float, float] = ModelConfig.std


class Head(nn.Module, ABC):
    """What a registered head builder returns: a module that turns a pyramid into slots.

    Attributes:
        num_slots: Segments that an image can have.
    """

    num_slots: int

    def beyond_slots(self, categories: torch.Tensor) -> int:
        """How many segments of an image, of these category indices (M,), no slot is left for."""
        return max(0, len(categories) - self.num_slots)

    @abstractmethod
    def forward(self, pyramid: tuple[torch.Tensor, ...]) -> Slots:
        """Slots with masks at stride 4 from the maps of strides 4, 8, 16, 32."""

    @abstractmethod
    def forward_training(self, pyramid: tuple[torch.Tensor, ...]) -> Any:
        """What the loss of this head takes (edgeseg.losses.registry)."""

    @abstractmethod
    def strip(self) -> None:
        """Drops what only training needs and freezes what is constant, in place."""


BackboneBuilder = Callable[[ModelConfig, tuple[int, int]], Backbone]
HeadBuilder = Callable[[ModelConfig, tuple[int, int, int, int], Sequence[bool], tuple[int, int]], Head]

BACKBONES: dict[str, BackboneBuilder] = {}
BACKBONE_SOURCES: dict[str, Callable[[str], Backbone]] = {}
"""What builds the backbones that are called PREFIX:NAME, by prefix."""
HEADS: dict[str, HeadBuilder] = {}

_Builder = TypeVar("_Builder", bound=Callable[..., nn.Module])


def register_backbone(name: str) -> Callable[[_Builder], _Builder]:
    """Registers a function (config, image_size) that builds a `Backbone` with fresh weights."""
    return _register(BACKBONES, name)


def register_head(name: str) -> Callable[[_Builder], _Builder]:
    """Registers a function (config, pyramid channels, is_thing, image_size) -> head module."""
    return _register(HEADS, name)


def build_backbone(config: ModelConfig, image_size: tuple[int, int]) -> Backbone:
    """Builds the backbone that a config names, with fresh weights.

    Raises:
        InputError: Unknown name (the nearest is given), or an image size that it cannot take.
    """
    prefix, colon, name = config.backbone.partition(":")
    if colon and prefix in BACKBONE_SOURCES:
        return BACKBONE_SOURCES[prefix](name)
    return find(BACKBONES, config.backbone, "backbone")(config, image_size)


def find(registry: dict[str, _Builder], name: str, kind: str) -> _Builder:
    """Looks a name up.

    Raises:
        InputError: Unknown name; the nearest is named.
    """
    if name not in registry:
        raise InputError(f"no {kind} named {name!r}{nearest(name, list(registry))}; known are {', '.join(registry)}")
    return registry[name]


def _register(registry: dict[str, Any], name: str) -> Callable[[_Builder], _Builder]:
    def add(builder: _Builder) -> _Builder:
        if name in registry:
            raise ValueError(f"{name!r} is registered twice")
        registry[name] = builder
        return builder

    return add
