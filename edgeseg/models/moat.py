"""Tiny-MOAT backbones: inverted bottlenecks, from stride 16 on each followed by attention.

Source: Yang et al., "MOAT: Alternating Mobile Convolution and Attention Brings Strong Vision Models", ICLR 2023 (arXiv
2210.01820); deeplab2 model/pixel_encoder/moat.py, model/layers/moat_blocks.py and moat_attention.py. What differs here:
the shortcut's average pool is 2 wide (the classifier's; deeplab2 takes 3 for maps of odd sides, ours are even), and no
stochastic depth (published: none but 0.1 for tiny-MOAT-3).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from edgeseg.config import ModelConfig
from edgeseg.models.registry import Backbone, register_backbone
from edgeseg.structures import InputError

WIDTHS: dict[str, tuple[int, int, int, int]] = {
    "tiny_moat_0": (32, 64, 128, 256),
    "tiny_moat_1": (40, 80, 160, 320),
    "tiny_moat_2": (56, 112, 224, 448),
    "tiny_moat_3": (80, 160, 320, 640),
}
"""Channels at strides 4, 8, 16, 32; the stem's are the first."""

_DEPTHS = (2, 3, 7, 2)
_EXPANSION = 4
_HEAD_SIZE = 32
_TABLE_SIDE = {16: 14, 32: 7}  # cells of a 224 x 224 image, which the published position tables span
_EPS = 1e-3  # Keras' default


class TinyMoat(Backbone):
    """A stem and four stages; attention in the last two.

    Args:
        widths: Channels at strides 4, 8, 16, 32.
        image_size: (height, width) of the network's input.
        window: Side of the attention's windows in cells of stride 16, half of it at stride 32; 0 = the whole map.
        position_bias: Whether attention knows how far apart two cells are.

    Raises:
        InputError: The image is not made of whole windows.
    """

    def __init__(
        self,
        widths: tuple[int, int, int, int],
        *,
        image_size: tuple[int, int],
        window: int = 0,
        position_bias: bool = False,
    ) -> None:
        super().__init__()
        _refuse_part_windows(image_size, window)
        self.channels = widths
        self.stem = nn.Sequential(
            *_down(3, widths[0], bias=True),
            nn.BatchNorm2d(widths[0], eps=_EPS),
            nn.GELU(),
            nn.Conv2d(widths[0], widths[0], 3, padding=1),
        )
        self.stages = nn.ModuleList()
        in_channels = widths[0]
        for stride, width, depth in zip((4, 8, 16, 32), widths, _DEPTHS, strict=True):
            size = (image_size[0] // stride, image_size[1] // stride)
            cells = (window * 16 // stride,) * 2 if window else size
            blocks: list[nn.Module] = []
            for index in range(depth):
                down = index == 0
                blocks.append(InvertedBottleneck(in_channels, width, down=down, squeeze=stride < 16))
                if stride >= 16:
                    table_side = _TABLE_SIDE[stride] if position_bias else 0
                    blocks.append(WindowAttention(width, size, cells, table_side=table_side))
                in_channels = width
            self.stages.append(nn.Sequential(*blocks))
        self.apply(_initialise)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(B, 3, H, W) normalised float32 -> maps of strides 4, 8, 16, 32."""
        x = self.stem(image)
        pyramid = []
        for stage in self.stages:
            x = stage(x)
            pyramid.append(x)
        return tuple(pyramid)

    def strip(self) -> None:
        """Norms become operators that delegates take, position tables the constants that are added."""
        for module in list(self.modules()):
            if isinstance(module, WindowAttention):
                module.norm = FrozenChannelNorm(module.norm)
                if isinstance(module.bias, PositionTable):
                    module.bias = FrozenBias(module.bias.logits().detach())


class InvertedBottleneck(nn.Module):
    """Norm, 1x1 to four times the channels, depthwise 3x3, squeeze-and-excite if asked, 1x1; plus the shortcut."""

    def __init__(self, in_channels: int, out_channels: int, *, down: bool, squeeze: bool) -> None:
        super().__init__()
        inside = _EXPANSION * out_channels
        depthwise = _down(inside, inside, groups=inside) if down else [_depthwise(inside)]
        self.branch = nn.Sequential(
            nn.BatchNorm2d(in_channels, eps=_EPS),
            nn.Conv2d(in_channels, inside, 1, bias=False),
            nn.BatchNorm2d(inside, eps=_EPS),
            nn.GELU(),
            *depthwise,
            nn.BatchNorm2d(inside, eps=_EPS),
            nn.GELU(),
            *([SqueezeExcite(inside, out_channels // 4)] if squeeze else []),
            nn.Conv2d(inside, out_channels, 1),
        )
        pool = [nn.AvgPool2d(2)] if down else []
        widen = [nn.Conv2d(in_channels, out_channels, 1)] if in_channels != out_channels else []
        self.shortcut = nn.Sequential(*pool, *widen)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, h, w), or half of h and w."""
        result: torch.Tensor = self.shortcut(x) + self.branch(x)
        return result


class SqueezeExcite(nn.Module):
    """Channels weighed by what their means say."""

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, reduced, 1),
            nn.SiLU(),
            nn.Conv2d(reduced, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, h, w) to the same shape."""
        weight: torch.Tensor = self.gate(x)
        return x * weight


class WindowAttention(nn.Module):
    """Self-attention among the cells of each window, added to what came in.

    All sizes are constants and no tensor has more than four axes: what delegates take.

    Args:
        channels: Multiple of 32, which is a head's width.
        size: (h, w) of the map.
        cells: (height, width) of a window; the map's own for global attention.
        table_side: Cells that the position table spans; 0 = no position bias.
    """

    def __init__(self, channels: int, size: tuple[int, int], cells: tuple[int, int], *, table_side: int) -> None:
        super().__init__()
        self.size, self.cells = size, cells
        self.grid = (size[0] // cells[0], size[1] // cells[1])
        self.num_cells = cells[0] * cells[1]
        self.num_heads = channels // _HEAD_SIZE
        self.norm: nn.Module = ChannelNorm(channels, eps=1e-5)
        self.to_q, self.to_k, self.to_v = (nn.Conv2d(channels, channels, 1) for _ in range(3))
        self.out = nn.Conv2d(channels, channels, 1)
        self.bias: PositionTable | FrozenBias | None = None
        if table_side:
            self.bias = PositionTable(self.num_heads, table_side, cells)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, h, w) to the same shape."""
        y = self.norm(x)
        q, k, v = (self.split(to(y)) for to in (self.to_q, self.to_k, self.to_v))  # (windows B heads, 32, cells)
        weights = torch.bmm(q.transpose(1, 2), k) * _HEAD_SIZE**-0.5
        if self.bias is not None:
            weights = self.bias(weights)
        mixed = torch.bmm(v, weights.softmax(-1).transpose(1, 2))
        result: torch.Tensor = x + self.out(self.join(mixed))
        return result

    def split(self, x: torch.Tensor) -> torch.Tensor:
        """(B, heads 32, h, w) -> (windows B heads, 32, cells of a window)."""
        if self.grid == (1, 1):
            return x.reshape(-1, _HEAD_SIZE, self.num_cells)
        x = x.reshape(-1, self.cells[0], self.grid[1], self.cells[1]).transpose(1, 2)
        x = x.reshape(-1, _HEAD_SIZE, self.grid[0] * self.grid[1], self.num_cells).permute(2, 0, 1, 3)
        return x.reshape(-1, _HEAD_SIZE, self.num_cells)

    def join(self, x: torch.Tensor) -> torch.Tensor:
        """What `split` took apart."""
        if self.grid != (1, 1):
            x = x.reshape(self.grid[0] * self.grid[1], -1, _HEAD_SIZE, self.num_cells).permute(1, 2, 0, 3)
            x = x.reshape(-1, self.grid[1], self.cells[0], self.cells[1]).transpose(1, 2)
        return x.reshape(-1, self.num_heads * _HEAD_SIZE, *self.size)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each cell."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, h, w) to the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class FrozenChannelNorm(nn.Module):
    """A `ChannelNorm` whose means are 1x1 convolutions: XNNPACK takes these, but no layer norm and no mean of channels.

    Args:
        norm: A `ChannelNorm`.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        assert isinstance(norm, ChannelNorm)
        (channels,) = norm.normalized_shape
        self.eps = norm.eps
        self.register_buffer("mean", torch.full((1, channels, 1, 1), 1.0 / channels))
        self.register_buffer("scale", norm.weight.detach().reshape(1, -1, 1, 1).clone())
        self.register_buffer("shift", norm.bias.detach().reshape(1, -1, 1, 1).clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, h, w) to the same shape."""
        x = x - F.conv2d(x, self.mean)
        inverse = torch.rsqrt(F.conv2d(x * x, self.mean) + self.eps)
        return x * inverse * self.scale + self.shift


class PositionTable(nn.Module):
    """A learned logit for each head and each offset between two cells; stretched to the windows in use.

    Args:
        num_heads: Of the attention.
        side: Cells that the table spans either way.
        cells: (height, width) of a window.
    """

    index: torch.Tensor

    def __init__(self, num_heads: int, side: int, cells: tuple[int, int]) -> None:
        super().__init__()
        self.cells = cells
        self.table = nn.Parameter(torch.randn(1, num_heads, 2 * side - 1, 2 * side - 1) * 0.02)
        rows, columns = (torch.arange(n)[None] - torch.arange(n)[:, None] + n - 1 for n in cells)  # key minus query
        index = rows[:, None, :, None] * (2 * cells[1] - 1) + columns[None, :, None, :]
        self.register_buffer("index", index.flatten(), persistent=False)

    def forward(self, weights: torch.Tensor) -> torch.Tensor:
        """Adds to the logits (windows B heads, n, n), n = cells of a window."""
        return _add_by_head(weights, self.logits())

    def logits(self) -> torch.Tensor:
        """(1, heads, n, n) float32."""
        sides = (2 * self.cells[0] - 1, 2 * self.cells[1] - 1)
        table = F.interpolate(self.table, sides, mode="bilinear", align_corners=False)
        num_cells = math.prod(self.cells)
        return table.flatten(2)[:, :, self.index].reshape(1, -1, num_cells, num_cells)


class FrozenBias(nn.Module):
    """What a `PositionTable` becomes at deployment: (1, heads, n, n) float32."""

    value: torch.Tensor

    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)

    def forward(self, weights: torch.Tensor) -> torch.Tensor:
        """(windows B heads, n, n) to the same shape."""
        return _add_by_head(weights, self.value)


def _add_by_head(weights: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return (weights.reshape(-1, *bias.shape[1:]) + bias).reshape(-1, *bias.shape[2:])


def classifier(widths: tuple[int, int, int, int], *, position_bias: bool, num_classes: int = 1000) -> nn.Sequential:
    """The whole published network for images of 224 x 224, of which the backbone is a part."""
    backbone = TinyMoat(widths, image_size=(224, 224), position_bias=position_bias)
    last = widths[-1]
    end = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(last), nn.Linear(last, num_classes))
    return nn.Sequential(backbone, _Last(), end)


class _Last(nn.Module):
    def forward(self, pyramid: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return pyramid[-1]


def _down(in_channels: int, out_channels: int, *, groups: int = 1, bias: bool = False) -> list[nn.Module]:
    """A 3x3 convolution of stride 2 under TensorFlow's padding "same": on even sides, below and right only."""
    convolution = nn.Conv2d(in_channels, out_channels, 3, stride=2, groups=groups, bias=bias)
    return [nn.ZeroPad2d((0, 1, 0, 1)), convolution]


def _depthwise(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _refuse_part_windows(image_size: tuple[int, int], window: int) -> None:
    if window < 0 or window % 2:
        raise InputError(f"attention_window = {window}: an even number of cells of stride 16, or 0 for the whole map")
    unit = math.lcm(16 * window, 32) if window else 32
    if any(side % unit for side in image_size):
        near = [max(unit, round(side / unit) * unit) for side in image_size]
        raise InputError(
            f"image_size = {list(image_size)}: with attention_window = {window} both sides are multiples of {unit}, "
            f"such as {near}"
        )


def _registered(name: str) -> Callable[[ModelConfig, tuple[int, int]], Backbone]:
    def build(config: ModelConfig, image_size: tuple[int, int]) -> Backbone:
        return TinyMoat(
            WIDTHS[name],
            image_size=image_size,
            window=config.attention_window,
            position_bias=config.position_bias,
        )

    return build


for _name in WIDTHS:
    register_backbone(_name)(_registered(_name))
