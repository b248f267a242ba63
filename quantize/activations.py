"""The quantizer of activations."""

from __future__ import annotations

from typing import Literal

import torch
import torch.ao.quantization.fx._decomposed  # registers torch.ops.quantized_decomposed
from torch import nn

from edgeseg.quantize.learned import learned_rounding

Phase = Literal["free", "observe", "train", "deploy"]
ActivationStorage = Literal["int8", "uint8"]

_OPS = torch.ops.quantized_decomposed
LEAST_SCALE = 1e-8
"""Of a tensor that is 0 throughout."""

_SAMPLES_PER_CALL = 4096
_CLIP_CANDIDATES = 40


class ActivationQuantizer(nn.Module):
    """Rounds a tensor to an affine integer grid, one scale and zero point for the whole tensor.

    In the phase `free` it passes values through; in `observe` it keeps a sample of them too, which `freeze` turns into
    a grid; in `train` it rounds with a straight-through gradient; in `deploy` it emits the quantize/dequantize pair
    that every runtime recognises. A graph may call one quantizer in several places: they then share the grid.

    Args:
        bits: Width of an integer.
        is_learned: Whether training moves the step (quantize/learned.py); zero_point stays as calibrated.

    Attributes:
        scale: () float32 step of the grid; 0 until `freeze`.
        zero_point: () int32 integer that stands for 0.0.
        log_gain: () float32 logarithm of what training multiplied the step by, or None. AdamW moves a parameter by
            about its rate whatever the gradient's size: so it is a share of the step that moves, and no step turns 0.
    """

    scale: torch.Tensor
    zero_point: torch.Tensor
    log_gain: nn.Parameter | None

    def __init__(self, bits: int = 8, *, is_learned: bool = False) -> None:
        super().__init__()
        self.bits = bits
        self.low, self.high = integer_range(bits)
        self.phase: Phase = "observe"
        self.register_buffer("scale", torch.zeros(()))
        self.register_buffer("zero_point", torch.zeros((), dtype=torch.int32))
        self.register_parameter("log_gain", nn.Parameter(torch.zeros(())) if is_learned else None)
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
        if self.phase == "train" and self.log_gain is not None:
            return learned_rounding(x, self.current_scale(), self.zero_point, low=self.low, high=self.high)
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

    def current_scale(self) -> torch.Tensor:
        """() float32 step in force."""
        return self.scale if self.log_gain is None else self.scale * self.log_gain.exp()

    @torch.no_grad()
    def absorb_gain(self) -> None:
        """Puts what was learned into `scale`, which others read."""
        if self.log_gain is not None:
            self.scale.copy_(self.current_scale())
            self.log_gain.zero_()

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
        if phase == "deploy":
            self.absorb_gain()
            self.register_parameter("log_gain", None)
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


def integer_range(bits: int) -> tuple[int, int]:
    """Least and largest signed integer of a width."""
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def fit_grid(low: float, high: float, bits: int) -> tuple[float, int]:
    """Step (a float32 value) and zero point of the grid that spans low <= 0 <= high."""
    least, largest = integer_range(bits)
    scale = float(torch.tensor(max((high - low) / (largest - least), LEAST_SCALE), dtype=torch.float32))
    return scale, min(max(round(least - low / scale), least), largest)


def _sample(x: torch.Tensor) -> torch.Tensor:
    """About 4096 values spread over the tensor, with its extremes."""
    flat = x.flatten()
    step = max(flat.numel() // _SAMPLES_PER_CALL, 1)
    step += 1 - step % 2  # odd: does not stay on one column of an even-sized map
    return torch.cat([flat[::step], flat.aminmax().min[None], flat.aminmax().max[None]])
