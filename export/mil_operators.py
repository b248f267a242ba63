"""What each operator of a Core ML program (MIL) computes in torch, in the type of float that it is given.

By the operators' definitions in coremltools (converters/mil/mil/ops/defs). A new one goes into `OPERATORS`, with a case
worked out by hand in tests/export/test_mil_operators.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from edgeseg.structures import InputError

Inputs = dict[str, Any]
"""An operator's inputs by MIL's names: tensors, or plain numbers, lists and strings where MIL wants constants."""


def ints(value: Tensor) -> list[int]:
    """A constant's entries."""
    return [int(item) for item in value.reshape(-1)]


def pads(i: Inputs, rank: int) -> list[int]:
    """MIL's begin/end pairs, first spatial axis first -> torch's, last axis first."""
    if i.get("pad_type", "valid") == "valid":
        return [0] * (2 * rank)
    if i["pad_type"] != "custom":
        raise InputError(f"the interpreter knows the padding custom and valid, not {i['pad_type']}")
    pad = ints(i["pad"])
    return [side for axis in reversed(range(rank)) for side in pad[2 * axis : 2 * axis + 2]]


def _conv(i: Inputs) -> Tensor:
    x = F.pad(i["x"], pads(i, i["x"].ndim - 2))
    convolve = {3: F.conv1d, 4: F.conv2d}[x.ndim]
    strides, dilations = ints(i["strides"]), ints(i["dilations"])
    return convolve(x, i["weight"], i.get("bias"), strides, 0, dilations, int(i["groups"]))


def _max_pool(i: Inputs) -> Tensor:
    x = F.pad(i["x"], pads(i, 2), value=float("-inf"))
    return F.max_pool2d(x, ints(i["kernel_sizes"]), ints(i["strides"]), ceil_mode=bool(i["ceil_mode"]))


def _avg_pool(i: Inputs) -> Tensor:
    """Padding counts as zeros, or not at all with `exclude_padding_from_average`."""
    x, border = i["x"], pads(i, 2)
    kernel, strides = ints(i["kernel_sizes"]), ints(i["strides"])

    def pool(y: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(y, border), kernel, strides, ceil_mode=bool(i["ceil_mode"]))

    return pool(x) / pool(torch.ones_like(x)) if bool(i["exclude_padding_from_average"]) else pool(x)


def _top_k(i: Inputs) -> tuple[Tensor, Tensor]:
    """Values and int32 indices; of equal values the lowest index first, which the specification leaves open."""
    axis, k = int(i["axis"]), int(i["k"])
    order = i["x"].sort(dim=axis, descending=not bool(i["ascending"]), stable=True)
    return order.values.narrow(axis, 0, k), order.indices.narrow(axis, 0, k).int()


def _gather_along_axis(i: Inputs) -> Tensor:
    x: Tensor = i["x"]
    return x.gather(int(i["axis"]), i["indices"].long())


def _matmul(i: Inputs) -> Tensor:
    x = i["x"].transpose(-1, -2) if bool(i["transpose_x"]) else i["x"]
    y = i["y"].transpose(-1, -2) if bool(i["transpose_y"]) else i["y"]
    return torch.matmul(x, y)


def _batch_norm(i: Inputs) -> Tensor:
    return F.batch_norm(i["x"], i["mean"], i["variance"], i["gamma"], i["beta"], eps=float(i["epsilon"]))


def _per_axis(value: Tensor, like: Tensor, axis: Tensor | None) -> Tensor:
    if value.ndim == 0 or axis is None:
        return value
    shape = [1] * like.ndim
    shape[int(axis)] = -1
    return value.view(shape)


def _quantize(i: Inputs) -> Tensor:
    """Rounds half to even and saturates, as MIL's quantize does."""
    x: Tensor = i["input"]
    scale = _per_axis(i["scale"], x, i.get("axis"))
    dtype = {"int8": torch.int8, "uint8": torch.uint8}[i["output_dtype"]]
    limits = torch.iinfo(dtype)
    q = (x / scale).round()
    if "zero_point" in i:
        q = q + _per_axis(i["zero_point"], x, i.get("axis")).float()
    return q.clamp(limits.min, limits.max).to(dtype)


def _dequantize(i: Inputs) -> Tensor:
    """Subtracts in float: coremltools' own constant folding wraps around in int8."""
    x: Tensor = i["input"].float()
    if "zero_point" in i:
        x = x - _per_axis(i["zero_point"], x, i.get("axis")).float()
    return x * _per_axis(i["scale"], x, i.get("axis"))


def _blockwise(values: Tensor, data: Tensor) -> Tensor:
    """Repeats block parameters to the size of the data."""
    for axis, (blocks, size) in enumerate(zip(values.shape, data.shape, strict=True)):
        if blocks not in (1, size):
            values = values.repeat_interleave(size // blocks, dim=axis)
    return values


def _shift_scale(i: Inputs) -> Tensor:
    data: Tensor = i["data"].float()
    if "offset" in i:
        data = data - _blockwise(i["offset"].float(), data)
    return data * _blockwise(i["scale"], data)


def _lut_to_dense(i: Inputs) -> Tensor:
    """Tables of scalars: lut (blocks..., entries, 1), indices of the shape of the weight; for iOS 16 see below."""
    if "shape" in i:
        return _packed_lut_to_dense(i)
    indices, lut = i["indices"].long(), i["lut"].float()
    if lut.shape[-1] != 1:
        raise InputError("the interpreter knows tables of scalars, not of vectors")
    rows = _blockwise_rows(lut[..., 0], indices)
    return torch.gather(rows, -1, indices.unsqueeze(-1)).squeeze(-1)


def _blockwise_rows(lut: Tensor, indices: Tensor) -> Tensor:
    for axis, size in enumerate(indices.shape):
        lut = lut.repeat_interleave(size // lut.shape[axis], dim=axis)
    return lut


def _packed_lut_to_dense(i: Inputs) -> Tensor:
    """Of iOS 16: lut (entries,), indices packed into bytes from the lowest bit on."""
    lut: Tensor = i["lut"].float()
    shape = ints(i["shape"])
    num_bits = (len(lut) - 1).bit_length()
    bits = np.unpackbits(i["indices"].numpy(), bitorder="little")[: int(np.prod(shape)) * num_bits]
    indices = bits.reshape(-1, num_bits) @ (1 << np.arange(num_bits))
    return lut[torch.from_numpy(indices)].reshape(shape)


def _affine_dequantize(i: Inputs) -> Tensor:
    data: Tensor = i["quantized_data"].float()
    axis = i["axis"]
    scale, zero_point = (_per_axis(i[name], data, axis) for name in ("scale", "zero_point"))
    return (data - zero_point) * scale


def _slice_by_index(i: Inputs) -> Tensor:
    x = i["x"]
    masks = {
        k: [bool(v) for v in i[k]] if k in i else [False] * x.ndim for k in ("begin_mask", "end_mask", "squeeze_mask")
    }
    begin, end = ints(i["begin"]), ints(i["end"])
    stride = ints(i["stride"]) if "stride" in i else [1] * x.ndim
    key: list[int | slice] = []
    for axis in range(x.ndim):
        if masks["squeeze_mask"][axis]:
            key.append(begin[axis])
            continue
        start = None if masks["begin_mask"][axis] else begin[axis]
        stop = None if masks["end_mask"][axis] else end[axis]
        key.append(slice(start, stop, stride[axis]))
    return torch.as_tensor(x[tuple(key)])


def _upsample_bilinear(i: Inputs) -> Tensor:
    scale = (float(i["scale_factor_height"]), float(i["scale_factor_width"]))
    return F.interpolate(i["x"], scale_factor=scale, mode="bilinear", align_corners=bool(i["align_corners"]))


def _pad(i: Inputs) -> Tensor:
    pad = ints(i["pad"])
    if i["mode"] != "constant":
        raise InputError(f"the interpreter pads with a constant, not by {i['mode']}")
    return F.pad(i["x"], pads({"pad": i["pad"], "pad_type": "custom"}, len(pad) // 2), value=float(i["constant_val"]))


def _reduce(operation: Callable[..., Tensor]) -> Callable[[Inputs], Tensor]:
    def run(i: Inputs) -> Tensor:
        axes = ints(i["axes"]) if "axes" in i else list(range(i["x"].ndim))
        return operation(i["x"], dim=axes, keepdim=bool(i.get("keep_dims", False)))

    return run


def _expand_dims(x: Tensor, axes: list[int]) -> Tensor:
    for axis in sorted(axes):
        x = x.unsqueeze(axis)
    return x


_DTYPES = {
    "fp32": torch.float32,
    "fp16": torch.float32,  # the interpreter rounds what a program types fp16
    "int32": torch.int32,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
}

OPERATORS: dict[str, Callable[[Inputs], Any]] = {
    "abs": lambda i: i["x"].abs(),
    "add": lambda i: i["x"] + i["y"],
    "avg_pool": _avg_pool,
    "batch_norm": _batch_norm,
    "cast": lambda i: i["x"].to(_DTYPES[i["dtype"]]),
    "ceil": lambda i: i["x"].ceil(),
    "clip": lambda i: i["x"].clamp(float(i["alpha"]), float(i["beta"])),
    "concat": lambda i: torch.cat(i["values"], int(i["axis"])),
    "constexpr_affine_dequantize": _affine_dequantize,
    "constexpr_blockwise_shift_scale": _shift_scale,
    "constexpr_cast": lambda i: i["source_val"].float(),
    "constexpr_lut_to_dense": _lut_to_dense,
    "conv": _conv,
    "dequantize": _dequantize,
    "exp": lambda i: i["x"].exp(),
    "expand_dims": lambda i: _expand_dims(i["x"], ints(i["axes"])),
    "floor": lambda i: i["x"].floor(),
    "gather_along_axis": _gather_along_axis,
    "gelu": lambda i: F.gelu(i["x"]),
    "identity": lambda i: i["x"],
    "layer_norm": lambda i: F.layer_norm(i["x"], i["gamma"].shape, i["gamma"], i["beta"], float(i["epsilon"])),
    "linear": lambda i: F.linear(i["x"], i["weight"], i.get("bias")),
    "log": lambda i: (i["x"] + i.get("epsilon", 0.0)).log(),
    "matmul": _matmul,
    "max_pool": _max_pool,
    "maximum": lambda i: torch.maximum(i["x"], i["y"]),
    "minimum": lambda i: torch.minimum(i["x"], i["y"]),
    "mul": lambda i: i["x"] * i["y"],
    "pad": _pad,
    "quantize": _quantize,
    "real_div": lambda i: i["x"] / i["y"],
    "reduce_max": _reduce(torch.amax),
    "reduce_mean": _reduce(torch.mean),
    "reduce_sum": _reduce(torch.sum),
    "relu": lambda i: i["x"].relu(),
    "relu6": lambda i: F.relu6(i["x"]),
    "reshape": lambda i: i["x"].reshape(ints(i["shape"])),
    "rsqrt": lambda i: (i["x"] + i.get("epsilon", 0.0)).rsqrt(),
    "sigmoid": lambda i: i["x"].sigmoid(),
    "sigmoid_hard": lambda i: (i["x"] * float(i["alpha"]) + float(i["beta"])).clamp(0, 1),
    "slice_by_index": _slice_by_index,
    "softmax": lambda i: i["x"].softmax(int(i["axis"])),
    "split": lambda i: i["x"].split(ints(i["split_sizes"]), int(i["axis"])),
    "sqrt": lambda i: i["x"].sqrt(),
    "squeeze": lambda i: i["x"].squeeze(tuple(ints(i["axes"]))),
    "sub": lambda i: i["x"] - i["y"],
    "tile": lambda i: i["x"].repeat(ints(i["reps"])),
    "thresholded_relu": lambda i: torch.where(i["x"] >= float(i["alpha"]), i["x"], torch.zeros_like(i["x"])),
    "topk": _top_k,
    "transpose": lambda i: i["x"].permute(ints(i["perm"])),
    "upsample_bilinear": _upsample_bilinear,
}
