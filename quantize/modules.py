"""The layers that make a graph integer: activation quantizer, quantized convolution, quantized constant."""

from __future__ import annotations

from typing import Literal

import torch
import torch.ao.quantization.fx._decomposed  # registers torch.ops.quantized_decomposed
from torch import nn
from torch.nn import functional as F

from edgeseg.quantize.weights import Uniform, WeightGrid

Phase = Literal["free", "observe", "train", "deploy"]
WeightStorage = Literal["int8", "float_qdq"]
ActivationStorage = Literal["int8", "uint8"]

EIGHT_BITS = Uniform()

_OPS = torch.ops.quantized_decomposed
_SAMPLES_PER_CALL = 4096
_CLIP_CANDIDATES = 40
_EXACT_BIAS = 2.0**23
"""A bias of at most this many steps is exact in float32, and far from int32's end."""


class ActivationQuantizer(nn.Module):
    """Rounds a tensor to an affine integer grid, one scale and zero point for the whole tensor.

    In the phase `free` it passes values through; in `observe` it keeps a sample of them too, which `freeze` turns into
    a grid; in `train` it rounds with a straight-through gradient; in `deploy` it emits the quantize/dequantize pair
    that every runtime recognises. A graph may call one quantizer in several places: they then share the grid.

    Attributes:
        scale: () float32 step of the grid; 0 until `freeze`.
        zero_point: () int32 integer that stands for 0.0.
    """

    scale: torch.Tensor
    zero_point: torch.Tensor

    def __init__(self, bits: int = 8) -> None:
        super().__init__()
        self.bits = bits
        self.low, self.high = integer_range(bits)
        self.phase: Phase = "observe"
        self.register_buffer("scale", torch.zeros(()))
        self.register_buffer("zero_point", torch.zeros((), dtype=torch.int32))
        self._samples: list[torch.Tensor] = []
        self._grid = (0.0, 0)
        self._storage: ActivationStorage = "int8"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any float32 tensor to the same shape, on the grid (unchanged while free or observing)."""
        if self.phase == "free":
            return x
        if self.phase == "observe":
            self._samples.append(_sample(x.detach()))
            return x
        if self.phase == "train":
            return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero_point, self.low, self.high)
        scale, zero_point = self._grid
        shift, dtype = (0, torch.int8) if self._storage == "int8" else (-self.low, torch.uint8)
        grid = (scale, zero_point + shift, self.low + shift, self.high + shift, dtype)
        quantized = _OPS.quantize_per_tensor.default(x, *grid)
        dequantized: torch.Tensor = _OPS.dequantize_per_tensor.default(quantized, *grid)
        return dequantized

    def freeze(self) -> None:
        """Chooses the range with the least squared error on the observed sample; 0.0 is always on the grid.

        Raises:
            RuntimeError: Nothing was observed, or values are not finite.
        """
        if not self._samples:
            raise RuntimeError("an activation quantizer saw no data; calibrate on at least one batch")
        values = torch.cat(self._samples)
        if not bool(torch.isfinite(values).all()):
            raise RuntimeError("calibration met values that are not finite")
        self._samples = []
        low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
        keeps = [1.0 - index / (2 * _CLIP_CANDIDATES) for index in range(_CLIP_CANDIDATES)]  # 1.0 to above 0.5
        high = min((high * keep for keep in keeps), key=lambda end: self._error(values, low, end))
        low = min((low * keep for keep in keeps), key=lambda end: self._error(values, end, high))
        scale, zero_point = fit_grid(low, high, self.bits)
        self.scale.fill_(scale)
        self.zero_point.fill_(zero_point)

    @property
    def has_grid(self) -> bool:
        """Whether `freeze` or a state dict gave it one."""
        return float(self.scale) > 0

    def set_phase(self, phase: Phase) -> None:
        """Switches what forward does; `deploy` turns the grid into constants of the graph.

        Raises:
            RuntimeError: The grid is not set yet.
        """
        if phase in ("train", "deploy") and not self.has_grid:
            raise RuntimeError("an activation quantizer has no grid; calibrate, or load a quantized checkpoint")
        self._grid = (float(self.scale), int(self.zero_point))
        self.phase = phase

    def _error(self, values: torch.Tensor, low: float, high: float) -> float:
        rounded = torch.fake_quantize_per_tensor_affine(values, *fit_grid(low, high, self.bits), self.low, self.high)
        return float((rounded - values).square().mean())

    def set_storage(self, storage: ActivationStorage) -> None:
        """What a deployed graph calls the integers: -128..127, or the same plus 128 (for ONNX Runtime on x86)."""
        if storage not in ("int8", "uint8"):
            raise ValueError(f"activation storage {storage!r}; 'int8' or 'uint8'")
        self._storage = storage


class IntegerLayer(nn.Module):
    """What an integer convolution and an integer linear share: weights on a grid, symmetric per output channel.

    Runtimes add the bias as an int32 in units of input step x weight step. Here it is snapped to exactly those units,
    in training as in deployment, so that what was trained is what they compute, bit by bit. Without a grid of inputs
    (weights alone are integers) it stays as it is.

    Attributes:
        weight: (O, ...) float32 latent weights, which the grid follows; None once deployed.
        bias: (O,) float32 latent bias, or None.
        weight_int8: (O, ...) int8, once deployed.
        weight_step: (O,) float32, once deployed.
        bias_int32: (O,) int32 in units of input step x weight step, once deployed with a grid of inputs.
        deployed_bias: (O,) float32, what the graph adds.
    """

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
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone())
        self.grid = grid
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
        return self.grid.rounded(self.weight, scale), self._snapped_bias(scale)

    @torch.no_grad()
    def weight_scale(self) -> torch.Tensor:
        """(O,) float32 step of each output channel's weights.

        A channel of almost no weight gets a step coarse enough for its bias to fit the int32 accumulator.
        """
        step = self.grid.step(self.weight)
        if self.bias is not None and (unit := self._bias_unit(torch.ones_like(step))) is not None:
            step = torch.maximum(step, self.bias.abs() / (unit * _EXACT_BIAS))
        return self.grid.stored(step.clamp_min(1e-12))

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
        snapped = torch.round(self.bias / unit) * unit
        return self.bias + (snapped - self.bias).detach()

    def _bias_unit(self, weight_step: torch.Tensor) -> torch.Tensor | None:
        """What the accumulator counts in; None without a bias or without a grid of inputs."""
        quantizer = self.input_grid[0]
        has_bias = self.bias is not None or hasattr(self, "bias_int32")
        return quantizer.scale * weight_step if has_bias and quantizer is not None and quantizer.has_grid else None


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


def set_phase(model: nn.Module, phase: Phase) -> None:
    """Switches every quantized layer of a model."""
    for module in model.modules():
        if isinstance(module, (ActivationQuantizer, IntegerLayer, QuantConstant)):
            module.set_phase(phase)


def integer_range(bits: int) -> tuple[int, int]:
    """Least and largest signed integer of a width."""
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def fit_grid(low: float, high: float, bits: int) -> tuple[float, int]:
    """Step (a float32 value) and zero point of the grid that spans low <= 0 <= high."""
    least, largest = integer_range(bits)
    scale = float(torch.tensor(max((high - low) / (largest - least), 1e-8), dtype=torch.float32))
    return scale, min(max(round(least - low / scale), least), largest)


def _checked(storage: WeightStorage) -> WeightStorage:
    if storage not in ("int8", "float_qdq"):
        raise ValueError(f"weight storage {storage!r}; 'int8' or 'float_qdq'")
    return storage


def _sample(x: torch.Tensor) -> torch.Tensor:
    """About 4096 values spread over the tensor, with its extremes."""
    flat = x.flatten()
    step = max(flat.numel() // _SAMPLES_PER_CALL, 1)
    step += 1 - step % 2  # odd: does not stay on one column of an even-sized map
    return torch.cat([flat[::step], flat.aminmax().min[None], flat.aminmax().max[None]])
