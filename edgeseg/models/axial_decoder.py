"""The pixel decoder of kMaX-DeepLab as published: axial attention at strides 32 and 16, bottlenecks at 8 and 4.

Source: deeplab2 model/pixel_decoder/kmax.py, model/layers/{axial_layers,axial_blocks,resized_fuse}.py and
bytedance/kmax-deeplab modeling/pixel_decoder/kmax_pixel_decoder.py. What differs here: the backbones answer maps behind
their last activation (the published ones before it), enlarging states align_corners=False (sides are multiples of 32,
not 32 k + 1), and there is no drop path.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from edgeseg.models.layers import ConvNorm
from edgeseg.structures import InputError

NUM_BLOCKS = (1, 5, 1, 1)  # at strides 32, 16, 8, 4
NUM_HEADS = 8
SPAN = 255  # positions: distances from -254 to 254


class AxialDecoder(nn.Module):
    """Backbone maps, each under a layer norm over its channels, fused from coarse to fine.

    Args:
        channels: Backbone channels at strides 4, 8, 16, 32.
        widths: Widths d of the blocks at strides 32, 16, 8, 4 (512, 256, 128, 64 as published).
        image_size: (height, width) of the network's input.

    Raises:
        InputError: A width that the attention's heads do not divide, or a map longer than its positions.
    """

    def __init__(
        self, channels: tuple[int, int, int, int], widths: tuple[int, int, int, int], image_size: tuple[int, int]
    ) -> None:
        super().__init__()
        if any(width % NUM_HEADS for width in widths[:2]):
            raise InputError(
                f"decoder_dims = {list(widths)}: head kmax_deeplab's first two must be multiples of {NUM_HEADS}"
            )
        if max(image_size) > 16 * SPAN:
            raise InputError(
                f"image_size = {list(image_size)}: head kmax_deeplab has positions for sides up to {16 * SPAN}"
            )
        backbone = channels[::-1]
        self.norms = nn.ModuleList(nn.LayerNorm(channel, eps=1e-6) for channel in backbone)
        self.fine, self.coarse, self.stages = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for i, (width, num, stride) in enumerate(zip(widths, NUM_BLOCKS, (32, 16, 8, 4), strict=True)):
            size = (image_size[0] // stride, image_size[1] // stride) if stride > 8 else None
            outside = [width if i else backbone[0], *[4 * width] * (num - 1)]
            self.stages.append(nn.Sequential(*(Block(channel, width, size) for channel in outside)))
            if i:
                self.fine.append(_projection(backbone[i], width))
                self.coarse.append(_projection(4 * widths[i - 1], width))

    def forward(self, pyramid: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Backbone maps of strides 4, 8, 16, 32 -> decoded maps of strides 32, 16, 8, 4 with 4 d channels."""
        levels = [
            norm(level.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            for norm, level in zip(self.norms, pyramid[::-1], strict=True)
        ]
        maps = [self.stages[0](levels[0])]
        for i in range(3):
            coarse = F.interpolate(self.coarse[i](maps[i]), scale_factor=2.0, mode="bilinear", align_corners=False)
            maps.append(self.stages[i + 1](coarse + self.fine[i](levels[i + 1])))
        return tuple(maps)


class Block(nn.Module):
    """Residual block with its activation in front: a 3x3 convolution, or attention along columns and then rows.

    Args:
        in_channels: Channels that come in.
        width: d; 4 d channels go out.
        size: (height, width) of the map for attention; None = convolution.
    """

    def __init__(self, in_channels: int, width: int, size: tuple[int, int] | None) -> None:
        super().__init__()
        inside = width if size is None else 2 * width
        self.inward = ConvNorm(in_channels, inside, relu=False)
        self.mix = ConvNorm(width, width, 3, relu=False) if size is None else AxialPair(inside, width, size)
        self.outward = ConvNorm(inside, 4 * width, relu=False, gamma=0.0)
        self.shortcut = ConvNorm(in_channels, 4 * width, relu=False) if in_channels != 4 * width else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, h, w) -> (B, 4 width, h, w)."""
        x = F.gelu(x)
        result: torch.Tensor = self.outward(F.gelu(self.mix(F.gelu(self.inward(x))))) + self.shortcut(x)
        return result


class AxialPair(nn.Module):
    """Attention along the columns of a map, then along its rows.

    Args:
        in_channels: Channels that come in.
        dim: Width of the keys; the values have twice that.
        size: (height, width) of the map.
    """

    def __init__(self, in_channels: int, dim: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.columns = AxialAttention(in_channels, dim, size[::-1])
        self.rows = AxialAttention(2 * dim, dim, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, h, w) -> (B, 2 dim, h, w)."""
        result: torch.Tensor = self.rows(self.columns(x.permute(0, 1, 3, 2)).permute(0, 1, 3, 2))
        return result


class AxialAttention(nn.Module):
    """Self-attention along the rows of a map, with learned relative positions.

    A place l sees a place m of its row by a_lm = softmax over m of BN(q_l k_m) + BN(q_l r_ml) + BN(k_m s_ml), and gets
    BN(sum a_lm v_m) + BN(sum a_lm t_ml), where r, s and t depend on the distance m - l alone.

    Args:
        in_channels: Channels that come in.
        dim: Width of the keys of all heads; the values have twice that.
        size: (height, width) of the map.
    """

    def __init__(self, in_channels: int, dim: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.dim, self.size = dim, size
        self.qkv = ConvNorm(in_channels, 4 * dim, relu=False)
        self.r, self.s = (RelativePosition(dim // NUM_HEADS, size[1]) for _ in range(2))
        self.t = RelativePosition(2 * dim // NUM_HEADS, size[1])
        self.logit_norms = nn.ModuleList(nn.BatchNorm2d(NUM_HEADS) for _ in range(3))
        self.value_norms = nn.ModuleList(nn.BatchNorm2d(2 * dim) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, h, w) -> (B, 2 dim, h, w)."""
        rows = self.qkv(x).permute(0, 2, 1, 3).reshape(-1, 4 * self.dim, self.size[1])  # (B h, 4 dim, w)
        q, k = self.split(rows[:, : self.dim]), self.split(rows[:, self.dim : 2 * self.dim])  # (G, c, w), G = B h heads
        v = self.split(rows[:, 2 * self.dim :])  # (G, 2 c, w)
        parts = (
            torch.bmm(q.permute(0, 2, 1), k),
            torch.bmm(q.permute(2, 0, 1), self.r().permute(0, 2, 1)).permute(1, 0, 2),
            torch.bmm(k.permute(2, 0, 1), self.s().permute(1, 2, 0)).permute(1, 2, 0),
        )  # (G, w, w) each
        shape = (-1, NUM_HEADS, self.size[1], self.size[1])
        content, query, key = (norm(part.reshape(shape)) for norm, part in zip(self.logit_norms, parts, strict=True))
        # Three axes: right behind a norm, ExecuTorch's XNNPACK has the channels last, and takes a softmax over them.
        weights = (content + query + key).reshape(-1, *shape[2:]).softmax(-1)
        seen = torch.bmm(v, weights.permute(0, 2, 1))  # (G, 2 c, w)
        place = torch.bmm(weights.permute(1, 0, 2), self.t()).permute(1, 2, 0)  # (G, 2 c, w)
        result: torch.Tensor = self.value_norms[0](self.join(seen)) + self.value_norms[1](self.join(place))
        return result

    def split(self, rows: torch.Tensor) -> torch.Tensor:
        """(B h, C, w) -> (B h heads, C / heads, w)."""
        return rows.reshape(-1, rows.shape[1] // NUM_HEADS, self.size[1])

    def join(self, parts: torch.Tensor) -> torch.Tensor:
        """(B h heads, C / heads, w) -> (B, C, h, w)."""
        return parts.reshape(-1, self.size[0], 2 * self.dim, self.size[1]).permute(0, 2, 1, 3)


class RelativePosition(nn.Module):
    """A learned vector for every distance between two places of a row.

    Args:
        depth: Length of a vector.
        length: Places of a row.
    """

    index: torch.Tensor

    def __init__(self, depth: int, length: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(2 * SPAN - 1, depth))
        nn.init.trunc_normal_(self.table)
        places = torch.arange(length)
        self.register_buffer("index", places[None] - places[:, None] + SPAN - 1, persistent=False)

    def forward(self) -> torch.Tensor:
        """(length, length, depth): what the second place is from the first."""
        return self.table[self.index]


def _projection(in_channels: int, out_channels: int) -> nn.Module:
    """To the width of the next stage, where it differs."""
    if in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(nn.GELU(), ConvNorm(in_channels, out_channels, relu=False))
