"""A small slots network, float or int8 by own q/dq operators, that uses every construct the real models deploy."""

from __future__ import annotations

import numpy as np
import torch
import torch.ao.quantization.fx._decomposed  # registers torch.ops.quantized_decomposed
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from edgeseg.structures import Slots

QMIN, QMAX = -128, 127
CALM = 0.1
"""Weight of what moves a query: with random weights a full step makes the hard assignment chaotic."""


class ActQuant(nn.Module):
    """Identity, recorder of the range, or per-tensor int8 q/dq of an activation."""

    def __init__(self) -> None:
        super().__init__()
        self.mode = "float"
        self.low, self.high = 0.0, 0.0
        self.scale, self.zero_point = 1.0, 0

    def freeze(self) -> None:
        low, high = min(self.low, 0.0), max(self.high, 1e-3)
        self.scale = float(np.float32((high - low) / 255))
        self.zero_point = int(np.clip(round(QMIN - low / self.scale), QMIN, QMAX))
        self.mode = "int8"

    def forward(self, x: Tensor) -> Tensor:
        if self.mode == "calibrate":
            self.low, self.high = min(self.low, float(x.amin())), max(self.high, float(x.amax()))
        if self.mode != "int8":
            return x
        ops = torch.ops.quantized_decomposed
        q = ops.quantize_per_tensor(x, self.scale, self.zero_point, QMIN, QMAX, torch.int8)
        return ops.dequantize_per_tensor(q, self.scale, self.zero_point, QMIN, QMAX, torch.int8)


class QuantWeight(nn.Module):
    """A convolution's or linear layer's weight and bias, float or int8 per output channel."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)
        self.storage = "float"

    def freeze(self, input_scale: float) -> None:
        scale = (self.weight.detach().flatten(1).abs().amax(1) / 127).clamp(min=1e-8)
        shape = [-1] + [1] * (self.weight.ndim - 1)
        q = (self.weight.detach() / scale.view(shape)).round().clamp(-127, 127)
        self.register_buffer("weight_scale", scale)
        self.register_buffer("weight_zero", torch.zeros(len(scale), dtype=torch.int64))
        self.register_buffer("weight_int8", q.to(torch.int8))
        self.weight = nn.Parameter(q * scale.view(shape), requires_grad=False)
        step = scale * input_scale
        self.bias = nn.Parameter((self.bias.detach() / step).round() * step, requires_grad=False)
        self.storage = "int8"

    def set_weight_storage(self, storage: str) -> None:
        if self.storage != "float":
            self.storage = storage

    def forward(self) -> Tensor:
        if self.storage == "float":
            return self.weight
        ops = torch.ops.quantized_decomposed
        q = self.weight_int8
        if self.storage == "float_qdq":
            q = ops.quantize_per_channel(self.weight, self.weight_scale, self.weight_zero, 0, -127, 127, torch.int8)
        return ops.dequantize_per_channel(q, self.weight_scale, self.weight_zero, 0, -127, 127, torch.int8)


class Conv(nn.Module):
    """Convolution with its batch norm already folded, an activation and the output's q/dq."""

    def __init__(self, cin: int, cout: int, k: int = 1, *, stride: int = 1, groups: int = 1, act: str = "relu") -> None:
        super().__init__()
        conv = nn.Conv2d(cin, cout, k, groups=groups)
        gain = {"relu": 2.0, "hardswish": 2.0, "none": 1.0}[act]
        nn.init.normal_(conv.weight, std=(gain / (cin // groups * k * k)) ** 0.5)
        self.kernel = QuantWeight(conv.weight.data, torch.randn(cout) * 0.1)
        self.stride, self.groups, self.pad, self.act = stride, groups, k // 2, act
        self.out = ActQuant()
        self.inner = ActQuant()  # hard-swish is computed in float between two q/dq

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.kernel(), self.kernel.bias, self.stride, self.pad, groups=self.groups)
        if self.act == "hardswish":
            x = F.hardswish(self.inner(x))
        return self.out(F.relu(x) if self.act == "relu" else x)


class Block(nn.Module):
    """Inverted residual with an optional squeeze-and-excite."""

    def __init__(self, cin: int, cout: int, hidden: int, *, stride: int, act: str, excite: bool) -> None:
        super().__init__()
        self.expand = Conv(cin, hidden, act=act)
        self.depthwise = Conv(hidden, hidden, 3, stride=stride, groups=hidden, act=act)
        self.excite = nn.ModuleList([Conv(hidden, 8), Conv(8, hidden, act="none")]) if excite else None
        self.pooled, self.gated, self.gate = ActQuant(), ActQuant(), ActQuant()
        self.project = Conv(hidden, cout, act="none")
        self.residual = stride == 1 and cin == cout
        self.out = ActQuant()

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(self.expand(x))
        if self.excite is not None:
            gate = self.pooled(y.mean((2, 3), keepdim=True))
            for conv in self.excite:
                gate = conv(gate)
            y = self.gated(y * self.gate(F.relu6(gate + 3.0) / 6.0))
        y = self.project(y)
        return self.out(x + y) if self.residual else y


class KmaxLayer(nn.Module):
    """One k-means step of queries over pixels, float, in the formulation that lowers everywhere."""

    def __init__(self, n: int, dim: int, cin: int) -> None:
        super().__init__()
        self.key, self.value = nn.Conv2d(cin, dim, 1), nn.Conv2d(cin, dim, 1)
        self.q, self.k, self.v = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.register_buffer("ones", torch.ones(1, 1024, 1))
        self.ffn = nn.Sequential(nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))
        self.norms = nn.ModuleList([nn.BatchNorm1d(dim) for _ in range(3)])
        self.n, self.dim = n, dim

    def norm(self, i: int, x: Tensor) -> Tensor:
        return self.norms[i](x.permute(0, 2, 1)).permute(0, 2, 1)

    def forward(self, queries: Tensor, pixels: Tensor) -> Tensor:
        key, value = self.key(pixels).flatten(2), self.value(pixels).flatten(2)  # (1, D, P)
        logits = torch.bmm(queries, key)[:, None]  # (1, 1, N, P)
        top = F.max_pool2d(logits, (self.n, 1), stride=(self.n, 1))
        one_hot = F.relu(1.0 - (top - logits).ceil())[:, 0]
        value = value.permute(0, 2, 1)  # (1, P, D)
        count = torch.bmm(one_hot, self.ones[:, : value.shape[1]])
        queries = self.norm(0, queries + CALM * torch.bmm(one_hot, value) / (count + 1.0))
        q, k, v = self.q(queries), self.k(queries), self.v(queries)
        attention = torch.bmm(q, k.permute(0, 2, 1)) * self.dim**-0.5
        queries = self.norm(1, queries + CALM * torch.bmm(attention.softmax(-1), v))
        return self.norm(2, queries + CALM * self.ffn(queries))


class ToySlots(nn.Module):
    """float32 (1, 3, H, W) RGB in 0..255 -> Slots with N queries and K categories plus void."""

    def __init__(
        self, *, n: int = 24, k: int = 9, dim: int = 32, layers: int = 2, size: tuple[int, int] = (64, 64)
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1))
        self.image = ActQuant()
        self.stem = Conv(3, 16, 3, stride=2, act="hardswish")
        self.stages = nn.ModuleList(
            [
                Block(16, 16, 16, stride=2, act="relu", excite=True),
                Block(16, 24, 72, stride=2, act="relu", excite=False),
                Block(24, 40, 96, stride=2, act="hardswish", excite=True),
                Block(40, 40, 120, stride=1, act="hardswish", excite=False),
                Block(40, 96, 240, stride=2, act="hardswish", excite=False),
            ]
        )
        self.laterals = nn.ModuleList([Conv(c, 48, act="none") for c in (96, 40, 24, 16)])
        self.smooth = nn.ModuleList([Conv(48, 48, 3, groups=48) for _ in range(3)])
        self.sums = nn.ModuleList([ActQuant() for _ in range(3)])
        self.sizes = [(size[0] // s, size[1] // s) for s in (16, 8, 4)]
        self.queries = nn.Parameter(torch.randn(1, n, dim))
        self.kmax = nn.ModuleList([KmaxLayer(n, dim, 48) for _ in range(layers)])
        self.embed = nn.Conv2d(48, dim, 1)
        self.class_head = QuantWeight(torch.randn(k + 1, dim) * dim**-0.5, torch.zeros(k + 1))
        self.class_in, self.class_out = ActQuant(), ActQuant()
        self.n = n

    def forward(self, image: Tensor) -> Slots:
        x = self.stem(self.image((image - self.mean) / self.std))
        s4 = self.stages[0](x)
        s8 = self.stages[1](s4)
        s16 = self.stages[3](self.stages[2](s8))
        s32 = self.stages[4](s16)
        y = self.laterals[0](s32)
        pyramid = [y]
        for i, skip in enumerate((s16, s8, s4)):
            # Trap B1: both sides of the resize carry one scale, so the result needs no q/dq of its own range.
            y = F.interpolate(y, size=self.sizes[i], mode="bilinear", align_corners=False)
            y = self.shared(i, y)
            y = self.smooth[i](self.sums[i](y + self.laterals[i + 1](skip)))
            pyramid.append(y)
        queries = self.queries
        for layer, pixels in zip(self.kmax, pyramid, strict=False):
            queries = layer(queries, pixels)
        height, width = y.shape[2:]
        masks = torch.bmm(queries, self.embed(y).flatten(2)).view(1, self.n, height, width)
        classes = self.class_out(F.linear(self.class_in(queries), self.class_head(), self.class_head.bias))
        return Slots(classes, masks)

    def shared(self, i: int, y: Tensor) -> Tensor:
        producer = self.laterals[0].out if i == 0 else self.smooth[i - 1].out
        return y if producer.mode == "calibrate" else producer(y)


class Chain(nn.Module):
    """Every integer operator in a row: 3x3 stride 2, depthwise, 1x1, residual sum, 1x1, and a linear layer.

    32x32 images. Its Slots are no slots: mask_logits (1, 8, 16, 16) is the last convolution, class_logits (1, 12, 5) is
    the linear layer on 12 pixels.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("pick", F.one_hot(torch.arange(0, 252, 21), 256).float()[None])
        self.image = ActQuant()
        self.first, self.depthwise = Conv(3, 16, 3, stride=2), Conv(16, 16, 3, groups=16)
        self.pointwise, self.last = Conv(16, 16, act="none"), Conv(16, 8, act="none")
        self.sum = ActQuant()
        self.class_head = QuantWeight(torch.randn(5, 16) / 4, torch.randn(5) / 4)
        self.class_in, self.class_out = ActQuant(), ActQuant()

    def forward(self, image: Tensor) -> Slots:
        x = self.first(self.image((image - 128.0) * 0.015625))  # a power of two: no rounding before the first grid
        x = self.sum(x + self.pointwise(self.depthwise(x)))
        rows = self.class_in(torch.bmm(self.pick, x.flatten(2).permute(0, 2, 1)))  # one 1 a row: exact
        return Slots(self.class_out(F.linear(rows, self.class_head(), self.class_head.bias)), self.last(x))


def toy_images(count: int, size: tuple[int, int] = (64, 64), *, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Smooth coloured noise with hard-edged boxes, (H, W, 3) uint8."""
    generator = torch.Generator().manual_seed(seed)
    images = []
    for _ in range(count):
        coarse = torch.rand(1, 3, 6, 6, generator=generator) * 255
        image = F.interpolate(coarse, size=size, mode="bicubic", align_corners=False).clamp(0, 255)[0]
        for _ in range(4):
            top, left = (int(torch.randint(0, s // 2, (1,), generator=generator)) for s in size)
            image[:, top : top + size[0] // 3, left : left + size[1] // 4] = (
                torch.rand(3, 1, 1, generator=generator) * 255
            )
        images.append(np.ascontiguousarray(image.permute(1, 2, 0).round().to(torch.uint8).numpy()))
    return images


def toy_float(*, seed: int = 0, size: tuple[int, int] = (64, 64), **shape: int) -> ToySlots:
    """A toy whose norms have seen images and whose slots disagree, in eval mode."""
    torch.manual_seed(seed)
    model = ToySlots(size=size, **shape).train()
    batch = _batch(toy_images(8, size, seed=seed + 1))
    with torch.no_grad():
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm1d)):
            norm.momentum = 0.3
        for image in batch:
            model(image[None])
        model.eval()
        classes, masks = model(batch[:1])
        model.class_head.weight *= 3 / classes.std()
        model.embed.weight *= 4 / masks.std()
        model.embed.bias.zero_()
    return model.requires_grad_(False)


def toy_int8(model: ToySlots | Chain, images: list[NDArray[np.uint8]]) -> nn.Module:
    """The same network with int8 weights and activations, ranges taken from the images; changes the model."""
    acts = [m for m in model.modules() if isinstance(m, ActQuant)]
    for act in acts:
        act.mode = "calibrate"
    sources = _input_scales(model, _batch(images))
    for act in acts:
        act.freeze()
    for kernel, act in sources.items():
        kernel.freeze(act.scale)
    return model.eval().requires_grad_(False)


def _batch(images: list[NDArray[np.uint8]]) -> Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()


def _input_scales(model: ToySlots | Chain, batch: Tensor) -> dict[QuantWeight, ActQuant]:
    """Runs the model and notes, for every weight, the q/dq whose output feeds it."""
    producer: dict[int, ActQuant] = {}
    alive: list[Tensor] = []
    sources: dict[QuantWeight, ActQuant] = {}

    def after_act(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        del inputs
        assert isinstance(module, ActQuant)
        producer[id(output)] = module
        alive.append(output)

    def before_conv(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, Conv)
        sources[module.kernel] = producer[id(inputs[0])]

    hooks = [m.register_forward_hook(after_act) for m in model.modules() if isinstance(m, ActQuant)]
    hooks += [m.register_forward_pre_hook(before_conv) for m in model.modules() if isinstance(m, Conv)]
    with torch.no_grad():
        for image in batch:
            model(image[None])
    for hook in hooks:
        hook.remove()
    sources[model.class_head] = model.class_in
    return sources
