"""The registry of backbones and heads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
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


class Head(nn.Module, ABC):
    """What a registered head builder returns: a module that turns a pyramid into slots."""

    @abstractmethod
    def forward(self, pyramid: tuple[torch.Tensor, ...]) -> Slots:
        """Slots with masks at stride 4 from the maps of strides 4, 8, 16, 32."""

    @abstractmethod
    def forward_training(self, pyramid: tuple[torch.Tensor, ...]) -> Any:
        """What the loss of this head takes (edgeseg.losses.registry)."""

    @abstractmethod
    def strip(self) -> None:
        """Drops what only training needs and freezes what is constant, in place."""


BackboneBuilder = Callable[[], Backbone]
HeadBuilder = Callable[[ModelConfig, tuple[int, int, int, int], Sequence[bool], tuple[int, int]], Head]

BACKBONES: dict[str, BackboneBuilder] = {}
HEADS: dict[str, HeadBuilder] = {}

_Builder = TypeVar("_Builder", bound=Callable[..., nn.Module])


def register_backbone(name: str) -> Callable[[_Builder], _Builder]:
    """Registers a function without arguments that builds a `Backbone` with fresh weights."""
    return _register(BACKBONES, name)


def register_head(name: str) -> Callable[[_Builder], _Builder]:
    """Registers a function (config, pyramid channels, is_thing, image_size) -> head module."""
    return _register(HEADS, name)


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
