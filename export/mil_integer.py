"""Integer layers of a Core ML program: quantize(clamps(conv or linear(dequantize(x)))), run as one step.

In floating point the order of a layer's sum decides, once in a million values, which integer comes out. As an integer
engine computes it, with an exact sum that is rounded once, it does not; that is how torch answers for quantized
networks, too (quantize/integer_reference.py has the formula and whose it is).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from edgeseg.export.mil_operators import OPERATORS, Inputs
from edgeseg.quantize.integer_reference import OutputGrid, exact_type

Read = Callable[[Any], Inputs]
"""An operator's inputs that are constants, or computed from constants."""

_CLAMPS: dict[str, Callable[[Inputs], tuple[float, float]]] = {
    "clip": lambda i: (float(i["alpha"]), float(i["beta"])),
    "relu": lambda i: (0.0, float("inf")),
    "relu6": lambda i: (0.0, 6.0),
}
_WEIGHTS = {"constexpr_affine_dequantize", "constexpr_blockwise_shift_scale"}
_OFF_GRID = 0.01  # steps; float32 keeps every weight and bias nearer to its whole number than this


class IntegerLayer:
    """A layer whose input, weights, bias and output all lie on grids.

    Args:
        kind: `conv` or `linear`.
        layer: Its constants; `weight` and `bias` as integers, in a type in which their sums are exact.
        weight_step: Of each output channel, float32 (C,).
        source: Constants of the dequantize before it.
        target: Constants of the quantize behind it.
        limits: Of the output's real values, from the clamps between.
    """

    def __init__(
        self,
        kind: str,
        layer: Inputs,
        weight_step: Tensor,
        source: Inputs,
        target: Inputs,
        limits: tuple[float, float],
    ) -> None:
        self.kind, self.constants = kind, layer
        factor: Tensor = source["scale"] * weight_step / target["scale"]  # float32, in this order
        self.factor = factor.view(-1, 1, 1) if kind == "conv" else factor
        self.input_zero_point = _zero_point(source)
        self.output_type: torch.dtype = getattr(torch, target["output_dtype"])
        ends = torch.iinfo(self.output_type)
        self.output = OutputGrid(float(target["scale"]), _zero_point(target), (ends.min, ends.max), limits)

    def __call__(self, integers: Tensor) -> Tensor:
        """Integers of the input's grid to those of the output's."""
        centred = integers.to(self.constants["weight"].dtype) - self.input_zero_point
        total: Tensor = OPERATORS[self.kind](self.constants | {"x": centred})
        return self.output.code((total.float() * self.factor).round()).to(self.output_type)


def integer_layer(quantize: Any, read: Read) -> tuple[IntegerLayer, Any] | None:
    """The layer that ends in this `quantize`, and the variable of integers that it starts from; None: there is none.

    Args:
        quantize: Operation of a program.
        read: What is known of an operation's inputs before the program runs.
    """
    low, high = -float("inf"), float("inf")
    layer = quantize.inputs["input"].op
    while layer is not None and layer.op_type in _CLAMPS:
        least, most = _CLAMPS[layer.op_type](read(layer))
        low, high = max(low, least), min(high, most)
        layer = layer.inputs["x"].op
    if layer is None or layer.op_type not in ("conv", "linear"):
        return None
    dequantize, weights = layer.inputs["x"].op, layer.inputs["weight"].op
    if dequantize is None or dequantize.op_type != "dequantize" or weights.op_type not in _WEIGHTS:
        return None
    constants, source, step = read(layer), read(dequantize), read(weights)["scale"].flatten()
    if len(step) not in (1, len(constants["weight"])):
        return None  # steps by block, not by output channel
    weight = _whole(constants["weight"], step.view(-1, *[1] * (constants["weight"].ndim - 1)))
    bias = _whole(constants.get("bias", torch.zeros(1)), source["scale"].double() * step)
    if weight is None or bias is None:
        return None
    dtype = exact_type(weight, bias)
    integers = constants | {"weight": weight.to(dtype), "bias": bias.expand(len(weight)).to(dtype)}
    made = IntegerLayer(layer.op_type, integers, step, source, read(quantize), (low, high))
    return made, dequantize.inputs["input"]


def _whole(values: Tensor, step: Tensor) -> Tensor | None:
    """Numbers of steps, or None where they are not whole."""
    steps = values.double() / step
    return steps.round() if float((steps - steps.round()).abs().max()) < _OFF_GRID else None


def _zero_point(grid: Inputs) -> int:
    return int(grid.get("zero_point", 0))
