"""The quantized network as integer engines compute it: exact sums, one float32 product, one rounding.

torch adds up a convolution of dequantized values in float32 and divides by the step of its output, three roundings
where engines have one. Once in some million values that tips a rounding, and a network spreads the tipped integer
until a fifth of a late map is off by a step (docs/quantization.md). ONNX Runtime's QLinearConv and QGemm and XNNPACK's
qs8 kernels, hence LiteRT and ExecuTorch, all compute

    q = clamp(round_half_even(float32(sum) * (input step * weight step / output step)) + zero point)

with an int32 sum and the bracket in float32, from left to right. So does the network that `integer_reference` makes.
For a sum of two maps XNNPACK takes integer factors of 21 bits (qs8-vadd), and so does this; ONNX Runtime takes float32
ones, which give another integer where the exact sum is within some 1e-5 of half-way.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import fx, nn
from torch.nn import functional as F

from edgeseg.quantize.activations import ActivationQuantizer
from edgeseg.quantize.modules import QuantConv2d, QuantLinear, grids_of, set_weight_storage
from edgeseg.quantize.operators import SUMS, after_clamps

_EXACT = 2.0**24
"""Integers below are exact in float32, and so is every sum on the way to one."""

_FACTOR_BITS = 21
"""Of the larger of XNNPACK's two factors."""

_LARGEST_INPUT = 255
"""Distance of an 8-bit integer from its zero point."""


class IntegerStep(nn.Module):
    """An integer layer, the clamp behind it, and the grid that its output goes to.

    Args:
        layer: Deployed, with a grid of inputs.
        quantizer: Of the output.
        limits: Of the output's real values, from the clamps between the two.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    factor: torch.Tensor

    def __init__(
        self, layer: QuantConv2d | QuantLinear, quantizer: ActivationQuantizer, limits: tuple[float, float]
    ) -> None:
        super().__init__()
        source = layer.input_grid[0]
        assert source is not None
        self.layer = layer
        bias = torch.zeros(len(layer.weight_int8)) if layer.deployed_bias is None else layer.bias_int32
        self.dtype = exact_type(layer.weight_int8, bias)
        self.register_buffer("weight", layer.weight_int8.to(self.dtype))
        self.register_buffer("bias", bias.to(self.dtype))
        self.input_step = float(source.scale)
        self.output = _output_of(quantizer, limits)
        factor = source.scale * layer.weight_step / quantizer.scale  # float32, in this order
        self.register_buffer("factor", factor.view(-1, 1, 1) if isinstance(layer, QuantConv2d) else factor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float32 on the grid of inputs to float32 on the grid of outputs; shapes are the layer's."""
        integers = (x / self.input_step).round().to(self.dtype)
        layer = self.layer
        if isinstance(layer, QuantConv2d):
            total = F.conv2d(
                integers, self.weight, self.bias, layer.stride, layer.padding, layer.dilation, layer.groups
            )
        else:
            total = F.linear(integers, self.weight, self.bias)
        return self.output.value((total.float() * self.factor).round())


class SumStep(nn.Module):
    """A sum of two maps on grids, the clamp behind it, and the grid that it goes to.

    Args:
        steps: Of the two grids.
        quantizer: Of the output.
        limits: Of the output's real values, from the clamps between the two.
    """

    def __init__(self, steps: Sequence[float], quantizer: ActivationQuantizer, limits: tuple[float, float]) -> None:
        super().__init__()
        self.steps = steps
        self.output = _output_of(quantizer, limits)
        ratios = torch.tensor(steps) / quantizer.scale  # float32
        self.shift = _FACTOR_BITS - int(torch.frexp(ratios.max()).exponent)
        self.factors = [int(factor) for factor in torch.ldexp(ratios, torch.tensor(self.shift)).round()]

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Two float32 maps on their grids, one may be broadcast, to float32 on the grid of outputs."""
        left, right = (
            (x / step).round().long() * factor
            for x, step, factor in zip((first, second), self.steps, self.factors, strict=True)
        )
        return self.output.value((left + right + (1 << (self.shift - 1))) >> self.shift)


class OutputGrid:
    """A grid with the clamps before it.

    Args:
        step: Of the grid.
        zero_point: Of the grid.
        ends: Least and largest integer.
        limits: Of the real values, from the clamps.
    """

    def __init__(self, step: float, zero_point: int, ends: tuple[int, int], limits: tuple[float, float]) -> None:
        self.step, self.zero_point = step, zero_point
        low, high = (float(torch.tensor(end / step).round()) + zero_point for end in limits)
        self.low, self.high = max(low, ends[0]), min(high, ends[1])

    def code(self, rounded: torch.Tensor) -> torch.Tensor:
        """Whole numbers of steps to the grid's integers, as float32."""
        return (rounded.float() + self.zero_point).clamp(self.low, self.high)

    def value(self, rounded: torch.Tensor) -> torch.Tensor:
        """Whole numbers of steps to the float32 that engines dequantize to."""
        return (self.code(rounded) - self.zero_point) * self.step


def _output_of(quantizer: ActivationQuantizer, limits: tuple[float, float]) -> OutputGrid:
    ends = quantizer.low, quantizer.high
    return OutputGrid(float(quantizer.scale), int(quantizer.zero_point), ends, limits)


def exact_type(weight: torch.Tensor, bias: torch.Tensor) -> torch.dtype:
    """The faster type in which no sum of a layer is rounded.

    Args:
        weight: (out, ...) integers.
        bias: (out,) integers, in units of the sum.
    """
    largest = (weight.double().flatten(1).abs().sum(1) * _LARGEST_INPUT + bias.double().abs()).max()
    return torch.float32 if float(largest) < _EXACT else torch.float64


def integer_reference(deployed: nn.Module) -> nn.Module:
    """A copy that computes integer layers as engines do; all else as it was.

    Args:
        deployed: What `deploy` made, as an export may have left it. A float network comes back as it is.
    """
    if not isinstance(deployed, fx.GraphModule):
        return deployed
    reference = copy.deepcopy(deployed)
    set_weight_storage(reference, "int8")
    modules, grids = dict(reference.named_modules()), grids_of(reference)
    for node in list(reference.graph.nodes):
        end, limits = after_clamps(node, reference)
        quantizer, sources = grids.get(end), node.all_input_nodes
        if end is node or not isinstance(quantizer, ActivationQuantizer):
            continue
        layer = modules.get(str(node.target)) if node.op == "call_module" else None
        step: nn.Module | None = None
        if isinstance(layer, (QuantConv2d, QuantLinear)) and layer.input_grid[0] is not None:
            step = IntegerStep(layer, quantizer, limits)
        elif node.target in SUMS and len(sources) == 2 and all(source in grids for source in sources):
            step = SumStep([float(grids[source].scale) for source in sources], quantizer, limits)
        if step is not None:
            name = f"step_{node.name}"
            reference.add_submodule(name, step)
            with reference.graph.inserting_after(end):
                made = reference.graph.call_module(name, tuple(sources))
            end.replace_all_uses_with(made)
            grids[made] = quantizer
    reference.graph.eliminate_dead_code()
    reference.delete_all_unused_submodules()
    reference.recompile()
    return reference
