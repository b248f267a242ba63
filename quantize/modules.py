"""The layers that make a graph integer: quantized convolution, linear and constant."""

from __future__ import annotations

from typing import Literal

import torch
from torch import fx, nn
from torch.nn import functional as F

from edgeseg.quantize.activations import ActivationQuantizer, Phase, fit_grid, integer_range
from edgeseg.quantize.learned import pass_gradient
from edgeseg.quantize.weights import Learned, Uniform, WeightGrid

WeightStorage = Literal["int8", "float_qdq"]

EIGHT_BITS = Uniform()

_OPS = torch.ops.quantized_decomposed
_LEAST_STEP = 1e-12
TIE_SHIFT = 2.0**-10
"""Of a step; enlarging by up to 8 mixes integers in 256ths."""
_EXACT_BIAS = 2.0**23
"""A bias of at most this many steps is exact in float32, and far from int32's end."""


class IntegerLayer(nn.Module):
    """What an integer convolution and an integer linear share: weights on a grid, symmetric per output channel.

    Runtimes add the bias as an int32 in units of input step x weight step. Here it is snapped to exactly those units,
    in training as in deployment, so that what was trained is what they compute, bit by bit. Without a grid of inputs
    (weights alone are integers) it stays as it is.

    Attributes:
        weight: (O, ...) float32 latent weights, which the grid follows; None once deployed.
        bias: (O,) float32 latent bias, or None.
        log_step: (O,) float32 logarithm of learned steps (why: ActivationQuantizer.log_gain), else None.
        blend: 1 = weights on their grid, 0 = on one of 8 bits, between them a mean of both.
        weight_int8: (O, ...) int8, once deployed.
        weight_step: (O,) float32, once deployed.
        bias_int32: (O,) int32 in units of input step x weight step, once deployed with a grid of inputs.
        deployed_bias: (O,) float32, what the graph adds.
    """

    bias: nn.Parameter | None
    log_step: nn.Parameter | None
    weight_int8: torch.Tensor
    weight_float: torch.Tensor | None
    weight_step: torch.Tensor
    weight_zero: torch.Tensor
    bias_int32: torch.Tensor
    deployed_bias: torch.Tensor | None

    def __init__(
        self,
        layer: nn.Conv2d | nn.Linear,
        input_quantizer: ActivationQuantizer | None,
        grid: WeightGrid = EIGHT_BITS,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(layer.weight.detach().clone())
        bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone())
        self.register_parameter("bias", bias)
        self.grid = grid
        is_learned = isinstance(grid, Learned)
        log_step = nn.Parameter(grid.step(self.weight).clamp_min(_LEAST_STEP).log()) if is_learned else None
        self.register_parameter("log_step", log_step)
        self.blend = 1.0
        self.phase: Phase = "observe"
        self._storage: WeightStorage = "int8"
        self.input_grid = [input_quantizer]  # in a list: the graph owns it, and a module registers once

    def current(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weight and bias that the phase computes with, float32."""
        if self.phase == "observe":
            return self.weight, self.bias
        if self.phase == "deploy":
            return self._deployed_weight(), self.deployed_bias
        scale = self.weight_scale()
        weight = self.grid.rounded(self.weight, scale)
        if self.blend < 1:
            weight = torch.lerp(EIGHT_BITS.rounded(self.weight, EIGHT_BITS.step(self.weight)), weight, self.blend)
        return weight, self._snapped_bias(scale.detach())

    def weight_scale(self) -> torch.Tensor:
        """(O,) float32 step of each output channel's weights.

        A channel of almost no weight gets a step coarse enough for its bias to fit the int32 accumulator.
        """
        step = self.grid.step(self.weight) if self.log_step is None else self.log_step.exp()
        return self.grid.stored(torch.maximum(step, self._least_step(step)))

    @torch.no_grad()
    def _least_step(self, step: torch.Tensor) -> torch.Tensor:
        least = torch.full_like(step, _LEAST_STEP)
        if self.bias is not None and (unit := self._bias_unit(torch.ones_like(step))) is not None:
            least = torch.maximum(least, self.bias.abs() / (unit * _EXACT_BIAS))
        return least

    def set_phase(self, phase: Phase) -> None:
        """Switches what forward does; `deploy` replaces the latent weights by the integers for good."""
        if phase == "deploy":
            if self.phase != "deploy":
                self._replace_weights()
            if (unit := self._bias_unit(self.weight_step)) is not None:
                self.register_buffer("deployed_bias", self.bias_int32 * unit, persistent=False)
        self.phase = phase

    @torch.no_grad()
    def _replace_weights(self) -> None:
        step = self.weight_scale()
        zeros = torch.zeros_like(step, dtype=torch.int64)
        codes = _OPS.quantize_per_channel.default(
            self.grid.rounded(self.weight, step), step, zeros, *self._range, torch.int8
        )
        self.register_buffer("weight_int8", codes)
        self.register_buffer("weight_step", step)
        self.register_buffer("weight_zero", zeros, persistent=False)
        unit = self._bias_unit(step)
        if self.bias is not None and unit is not None:
            self.register_buffer("bias_int32", torch.round(self.bias / unit).to(torch.int32))
        else:
            self.register_buffer("deployed_bias", None if self.bias is None else self.bias.detach().clone())
        self.register_parameter("weight", None)  # else every exported file carries the latent weights along
        self.register_parameter("bias", None)
        self.register_parameter("log_step", None)

    def set_weight_storage(self, storage: WeightStorage) -> None:
        """What a deployed graph holds: int8 weights, or float ones under a quantize/dequantize pair (LiteRT)."""
        self._storage = _checked(storage)
        shape = (-1,) + (1,) * (self.weight_int8.dim() - 1)
        weight = self.weight_int8 * self.weight_step.view(shape) if storage == "float_qdq" else None
        self.register_buffer("weight_float", weight, persistent=False)

    @property
    def _range(self) -> tuple[int, int, int]:
        """Axis of the channels, least and largest integer."""
        return 0, -self.grid.high, self.grid.high

    def _deployed_weight(self) -> torch.Tensor:
        grid = (self.weight_step, self.weight_zero, *self._range, torch.int8)
        quantized = self.weight_int8
        if self._storage == "float_qdq":
            quantized = _OPS.quantize_per_channel.default(self.weight_float, *grid)
        weight: torch.Tensor = _OPS.dequantize_per_channel.default(quantized, *grid)
        return weight

    def _snapped_bias(self, weight_step: torch.Tensor) -> torch.Tensor | None:
        if self.bias is None or (unit := self._bias_unit(weight_step)) is None:
            return self.bias
        return pass_gradient(self.bias, (torch.round(self.bias / unit) * unit).detach())

    def _bias_unit(self, weight_step: torch.Tensor) -> torch.Tensor | None:
        """What the accumulator counts in; None without a bias or without a grid of inputs."""
        quantizer = self.input_grid[0]
        has_bias = self.bias is not None or hasattr(self, "bias_int32")
        if not has_bias or quantizer is None or not quantizer.has_grid:
            return None
        return quantizer.current_scale().detach() * weight_step


class QuantConv2d(IntegerLayer):
    """A convolution with integer weights."""

    def __init__(
        self, conv: nn.Conv2d, input_quantizer: ActivationQuantizer | None, grid: WeightGrid = EIGHT_BITS
    ) -> None:
        super().__init__(conv, input_quantizer, grid)
        self.stride, self.padding, self.dilation, self.groups = conv.stride, conv.padding, conv.dilation, conv.groups

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, I, H, W) float32, on the input quantizer's grid, to (B, O, h, w) float32."""
        weight, bias = self.current()
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)


class QuantLinear(IntegerLayer):
    """A linear map with integer weights."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., I) float32, on the input quantizer's grid, to (..., O) float32."""
        return F.linear(x, *self.current())


class QuantConstant(nn.Module):
    """A constant map on an integer grid of its own, such as a position map that is added to features.

    Rounded once, when it is made: only integers are kept, so that no exported file carries the float map along.

    Attributes:
        value_int8: int8 constant of any shape.
        scale: () float32 step of its grid.
        zero_point: () int32 integer that stands for 0.0.
    """

    value_int8: torch.Tensor
    scale: torch.Tensor
    zero_point: torch.Tensor
    value_float: torch.Tensor

    def __init__(self, value: torch.Tensor, bits: int = 8) -> None:
        super().__init__()
        self.range = integer_range(bits)
        low, high = value.aminmax()
        scale, zero_point = fit_grid(min(float(low), 0.0), max(float(high), 0.0), bits)
        quantized = _OPS.quantize_per_tensor.default(value, scale, zero_point, *self.range, torch.int8)
        self.register_buffer("value_int8", quantized)
        self.register_buffer("scale", torch.tensor(scale))
        self.register_buffer("zero_point", torch.tensor(zero_point, dtype=torch.int32))
        self.set_phase("observe")
        self._storage: WeightStorage = "int8"

    def forward(self) -> torch.Tensor:
        """The float32 constant, on its grid in every phase."""
        if self.phase != "deploy":
            return (self.value_int8.float() - self.zero_point) * self.scale
        grid = (*self._grid, *self.range, torch.int8)
        is_folded = self._storage == "int8"
        quantized = self.value_int8 if is_folded else _OPS.quantize_per_tensor.default(self.value_float, *grid)
        value: torch.Tensor = _OPS.dequantize_per_tensor.default(quantized, *grid)
        return value

    def set_phase(self, phase: Phase) -> None:
        """Switches what forward does."""
        self._grid = (float(self.scale), int(self.zero_point))
        self.phase: Phase = phase

    def set_weight_storage(self, storage: WeightStorage) -> None:
        """As for `IntegerLayer`: int8, or float under a quantize/dequantize pair."""
        self._storage = _checked(storage)
        if storage == "float_qdq":
            value = (self.value_int8.float() - self.zero_point) * self.scale
            self.register_buffer("value_float", value, persistent=False)


class HalfUp(nn.Module):
    """What makes a bilinear resize on a grid round ties up, everywhere.

    Doubling mixes integers in sixteenths, so one result in sixteen lies half-way between two integers. LiteRT's int8
    kernel rounds these up; where the resize is float, rounding errors decide, otherwise in every runtime. A thousandth
    of a step more, far above such errors and far below a sixteenth, makes all of them round up.

    Args:
        quantizer: The grid of what goes in and of what comes out.
    """

    def __init__(self, quantizer: ActivationQuantizer) -> None:
        super().__init__()
        self.shared_grid = [quantizer]  # in a list: the graph owns it, and a module registers once
        self.phase: Phase = "observe"
        self._storage: WeightStorage = "int8"
        self._shift = 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any float32 map on the grid to the same a little above it."""
        if self.phase in ("free", "observe") or self._storage == "float_qdq":
            return x
        return x + (self._shift if self.phase == "deploy" else self.shared_grid[0].current_scale().detach() * TIE_SHIFT)

    def set_phase(self, phase: Phase) -> None:
        """Switches what forward does."""
        self._shift = float(self.shared_grid[0].scale) * TIE_SHIFT
        self.phase = phase

    def set_weight_storage(self, storage: WeightStorage) -> None:
        """LiteRT (`float_qdq`) gets the bare resize: it stays one int8 operator, which rounds so by itself."""
        self._storage = _checked(storage)


Grid = ActivationQuantizer | QuantConstant


def grids_of(graph_module: fx.GraphModule) -> dict[fx.Node, Grid]:
    """The nodes whose values are integers times a step, with what holds the step."""
    modules = dict(graph_module.named_modules())
    called = {node: modules.get(str(node.target)) for node in graph_module.graph.nodes if node.op == "call_module"}
    return {node: module for node, module in called.items() if isinstance(module, Grid)}


def set_phase(model: nn.Module, phase: Phase) -> None:
    """Switches every quantized layer of a model."""
    for module in model.modules():
        if isinstance(module, (ActivationQuantizer, IntegerLayer, QuantConstant, HalfUp)):
            module.set_phase(phase)


def set_weight_storage(model: nn.Module, storage: WeightStorage) -> None:
    """Switches what the deployed layers of a model hold."""
    for module in model.modules():
        if isinstance(module, (IntegerLayer, QuantConstant, HalfUp)):
            module.set_weight_storage(storage)


def _checked(storage: WeightStorage) -> WeightStorage:
    if storage not in ("int8", "float_qdq"):
        raise ValueError(f"weight storage {storage!r}; 'int8' or 'float_qdq'")
    return storage
