"""Backbones of timm: any network that it can build with `features_only`, called timm:NAME."""

from __future__ import annotations

import types
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from edgeseg.config import nearest
from edgeseg.models.registry import BACKBONE_SOURCES, Backbone, Published
from edgeseg.structures import InputError

TESTED = ("efficientnet_lite0", "mobilenetv4_conv_small", "convnext_atto", "efficientvit_b0", "repvit_m0_9")
"""One of each kind that the tests train, quantize and export; others are built alike."""

_STRIDES = (4, 8, 16, 32)


class TimmBackbone(Backbone):
    """A network of timm, tapped at the last map of each stride.

    Args:
        name: As `timm.list_models()` has it.

    Raises:
        InputError: timm is not installed, has no such network, or one without maps of these strides.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.network, self.taps = _features(name)
        c4, c8, c16, c32 = (self.network.feature_info.channels()[tap] for tap in self.taps)
        self.channels = (c4, c8, c16, c32)
        self.published = _published(name)
        for module in self.network.modules():
            if type(module).__name__ == "LiteMLA":
                module.forward = types.MethodType(_linear_attention, module)  # theirs branches on a tensor's device

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(B, 3, H, W) normalised float32 -> maps of strides 4, 8, 16, 32."""
        maps = self.network(image)
        return tuple(maps[tap] for tap in self.taps)

    def strip(self) -> None:
        """Branches that only training needs become one convolution (RepVGG's idea), where timm knows how."""
        from timm.utils.model import reparameterize_model

        reparameterize_model(self.network, inplace=True)

    def from_published(self, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Their classifier's names to those of its feature part: "stages.0.norm.weight" is "stages_0.norm.weight"."""
        found = {}
        for key in self.state_dict():
            name = key.removeprefix("network.")
            top, _, rest = name.partition(".")
            cuts = [place for place, letter in enumerate(top) if letter == "_"]
            candidates = [name, *(f"{top[:cut]}.{top[cut + 1 :]}.{rest}" for cut in cuts)]
            if theirs := next((candidate for candidate in candidates if candidate in weights), None):
                found[key] = weights[theirs]
        return found


def _features(name: str) -> tuple[Any, tuple[int, ...]]:
    timm = _timm()
    if name not in (known := timm.list_models()):
        raise InputError(
            f"timm {timm.__version__} has no network {name!r}{nearest(name, known)}; "
            'python -c "import timm; print(timm.list_models())" lists them'
        )
    try:
        network = timm.create_model(name, features_only=True, pretrained=False, exportable=True)
    except (RuntimeError, TypeError, AssertionError, AttributeError) as error:
        raise InputError(f"timm cannot build {name} with features_only ({error}); take another network") from error
    strides = network.feature_info.reduction()
    if missing := [stride for stride in _STRIDES if stride not in strides]:
        raise InputError(
            f"timm:{name} has maps of strides {', '.join(map(str, strides))}, none of {missing[0]}; "
            f"a backbone needs {', '.join(map(str, _STRIDES))}"
        )
    return network, tuple(len(strides) - 1 - strides[::-1].index(stride) for stride in _STRIDES)


def _published(name: str) -> Published | None:
    config = _timm().get_pretrained_cfg(name)
    if config is None or not (config.hf_hub_id or config.url):
        return None
    url = config.url
    if config.hf_hub_id:
        url = f"https://huggingface.co/{config.hf_hub_id}/resolve/main/model.safetensors"
    mean, std = (tuple(255 * value for value in values) for values in (config.mean, config.std))
    return Published(url, f"{name}{url[url.rindex('.') :]}", mean, std)  # type: ignore[arg-type]


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise InputError("backbones called timm:NAME need the package timm; pip install 'edgeseg[timm]'") from error
    return timm


def _linear_attention(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """EfficientViT's multi-scale linear attention (Cai et al., ICCV 2023) over the weights of timm's LiteMLA.

    relu(q) (relu(k)^T [v, 1]), the last column dividing the others, in three axes for the delegates' sake.
    """
    module: Any = self
    height, width = x.shape[2], x.shape[3]
    joint = module.qkv(x)
    scales = torch.cat([joint, *(aggregate(joint) for aggregate in module.aggreg)], 1)
    rows = scales.reshape(-1, 3 * module.dim, height * width)
    q, k, v = torch.chunk(rows, 3, 1)  # (B heads, dim, cells) each
    v = F.pad(v, (0, 0, 0, 1), value=1.0)
    mixed = torch.bmm(torch.bmm(v, torch.relu(k).transpose(1, 2)), torch.relu(q))  # (B heads, dim + 1, cells)
    mixed = mixed[:, :-1] / (mixed[:, -1:] + module.eps)
    result: torch.Tensor = module.proj(mixed.reshape(-1, module.proj.conv.in_channels, height, width))
    return result


BACKBONE_SOURCES["timm"] = TimmBackbone
