"""Named arrays in a safetensors file, with numpy alone: on a device there may be no more.

The layout is that of https://github.com/huggingface/safetensors: the header's length as uint64, a JSON header
`{name: {dtype, shape, data_offsets}}`, then the bytes, little endian.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.structures import InputError

_DTYPES: dict[str, np.dtype[Any]] = {"U8": np.dtype("u1"), "I32": np.dtype("<i4"), "F32": np.dtype("<f4")}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def write_tensors(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes uint8, int32 and float32 arrays."""
    header, offset, blocks = {}, 0, []
    for name, array in arrays.items():
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        blocks.append(little.tobytes())
        offsets = [offset, offset := offset + little.nbytes]
        header[name] = {"dtype": _NAMES[little.dtype], "shape": list(little.shape), "data_offsets": offsets}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # readers map the data, aligned
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blocks))


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Reads what `write_tensors` wrote.

    Raises:
        InputError: Missing, or not such a file.
    """
    try:
        data = path.read_bytes()
        end = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:end])
        return {name: _array(data, end, row) for name, row in header.items() if name != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no safetensors file of uint8, int32 and float32 arrays: {error!r}") from error


def _array(data: bytes, base: int, row: Mapping[str, Any]) -> NDArray[Any]:
    dtype, shape, (first, last) = _DTYPES[row["dtype"]], row["shape"], row["data_offsets"]
    if first < 0 or base + last > len(data) or last - first != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"offsets {first} to {last} for shape {shape} in {len(data) - base} bytes")
    array: NDArray[Any] = np.frombuffer(data, dtype, count=math.prod(shape), offset=base + first).reshape(shape)
    return array
