"""Weights in fewer bits than a byte has: ternary ones five to a byte, others two or four."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

SUFFIX = ".base3"
"""Ends the name of a tensor that is stored packed."""

_SHORTER = {torch.int32: torch.int16, torch.float32: torch.bfloat16}
_PLACES = np.array([1, 3, 9, 27, 81], np.uint8)


def pack_ternary(codes: NDArray[np.int8]) -> NDArray[np.uint8]:
    """-1, 0 and 1, of any shape, to (ceil(n / 5),) bytes: the sum of digit x 3^place, a digit being the code + 1.

    Raises:
        ValueError: Another value is among the codes.
    """
    flat = codes.ravel()
    if flat.size and (flat.min() < -1 or flat.max() > 1):
        raise ValueError(f"ternary codes are -1, 0 and 1; these go from {flat.min()} to {flat.max()}")
    digits = np.ones(-(-flat.size // 5) * 5, np.uint8)  # filled up with zeros, whose digit is 1
    digits[: flat.size] = flat + 1
    packed: NDArray[np.uint8] = (digits.reshape(-1, 5) * _PLACES).sum(1, dtype=np.uint8)
    return packed


def unpack_ternary(packed: NDArray[np.uint8], count: int) -> NDArray[np.int8]:
    """The first `count` codes of what `pack_ternary` made.

    Raises:
        ValueError: Too few bytes for `count`, too many, or one above 242, which no five digits make.
    """
    if len(packed) != -(-count // 5):
        raise ValueError(f"{count} ternary codes take {-(-count // 5)} bytes, not {len(packed)}")
    if packed.size and packed.max() > 242:
        raise ValueError(f"a byte of five ternary digits is at most 242, one is {packed.max()}")
    digits = packed[:, None] // _PLACES % 3
    codes: NDArray[np.int8] = digits.ravel()[:count].astype(np.int8) - np.int8(1)
    return codes


def pack_bits(values: NDArray[np.int8], bits: int) -> NDArray[np.uint8]:
    """Signed integers of 2 or 4 bits, of any shape, to bytes, the first in the lowest bits (LiteRT and ONNX).

    Raises:
        ValueError: A value does not fit.
    """
    flat = values.ravel()
    half = 1 << (bits - 1)
    if flat.size and (flat.min() < -half or flat.max() >= half):
        raise ValueError(f"{bits} bits hold {-half} to {half - 1}; these go from {flat.min()} to {flat.max()}")
    per_byte = 8 // bits
    fields = np.zeros(-(-flat.size // per_byte) * per_byte, np.uint8)
    fields[: flat.size] = flat.view(np.uint8) & ((1 << bits) - 1)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    packed: NDArray[np.uint8] = np.bitwise_or.reduce(fields.reshape(-1, per_byte) << shifts, axis=1)
    return packed


def pack_state(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A deployed network's state in the fewest bytes that give it back exactly.

    Ternary weights go five to a byte, under NAME.base3; integers that fit into int16 and float32 values that are
    bfloat16 ones are stored as such.
    """
    packed = {}
    for name, tensor in state.items():
        if tensor.dtype == torch.int8 and tensor.dim() > 1 and bool((tensor.abs() <= 1).all()):
            packed[name + SUFFIX] = torch.from_numpy(pack_ternary(tensor.numpy()))
        else:
            shorter = tensor.to(_SHORTER.get(tensor.dtype, tensor.dtype))
            packed[name] = shorter if torch.equal(shorter.to(tensor.dtype), tensor) else tensor
    return packed


def unpack_state(packed: Mapping[str, torch.Tensor], like: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The inverse of `pack_state`.

    Args:
        packed: Its result.
        like: A state of the same network; gives shapes and dtypes.

    Raises:
        ValueError: Packed weights that do not fit.
    """
    state = {}
    for stored, tensor in packed.items():
        name = stored.removesuffix(SUFFIX)
        if name not in like:
            state[stored] = tensor
        elif stored == name:
            state[name] = tensor.to(like[name].dtype)
        else:
            codes = unpack_ternary(tensor.numpy(), like[name].numel())
            state[name] = torch.from_numpy(codes).reshape(like[name].shape)
    return state
