"""Flat arrays that loader processes share."""

from __future__ import annotations

import math
import mmap
import os
import sys
import tempfile
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from multiprocessing import reduction
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_ALIGNMENT = 64
"""Bytes at whose multiples the arrays start in the shared file."""


class _Place(NamedTuple):
    """Where an array lies in the shared file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int


class Columns:
    """Named read-only arrays.

    A process that multiprocessing spawns gets them as the descriptor of an unnamed temporary file, which it maps:
    however many processes there are, the arrays are in memory twice at most. A forked process shares them anyway, and
    keeps sharing, since no reader changes the count of references inside an array's buffer. Other pickles hold copies.

    Args:
        arrays: By name; they become read-only.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.arrays = dict(arrays)
        self._file: IO[bytes] | None = None
        for column in self.arrays.values():
            column.flags.writeable = False

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.arrays[name]

    def __reduce__(self) -> tuple[Any, ...]:
        return Columns, (self.arrays,)

    @property
    def nbytes(self) -> int:
        """Size of the arrays."""
        return sum(column.nbytes for column in self.arrays.values())

    def _shared(self) -> tuple[Any, ...]:
        """What a spawned process makes its Columns from."""
        places, offset = [], 0
        for name, column in self.arrays.items():
            places.append(_Place(name, column.dtype.str, column.shape, offset))
            offset += math.ceil(column.nbytes / _ALIGNMENT) * _ALIGNMENT
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="edgeseg-")  # noqa: SIM115 - lives as long as the columns
            self._file.truncate(max(offset, 1))  # an empty file cannot be mapped
            for place in places:
                self._file.seek(place.offset)
                self._file.write(np.ascontiguousarray(self.arrays[place.name]).data)
            self._file.flush()
        return _map_columns, (reduction.DupFd(self._file.fileno()), places)  # type: ignore[no-untyped-call]


def pack_texts(name: str, texts: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Texts as two columns: their UTF-8 bytes in one run, and where each ends in it (NAME_end)."""
    blob, ends = bytearray(), array("q")
    for text in texts:
        blob += text.encode()
        ends.append(len(blob))
    return {name: np.frombuffer(bytes(blob), dtype=np.uint8), f"{name}_end": np.array(ends, dtype=np.int64)}


def text_at(columns: Columns, name: str, row: int) -> str:
    """The row-th text that `pack_texts` packed."""
    ends = columns[f"{name}_end"]
    return columns[name][int(ends[row - 1]) if row else 0 : int(ends[row])].tobytes().decode()


def unpack_texts(columns: Columns, name: str) -> list[str]:
    """All texts of a pair of columns."""
    blob, ends = columns[name].tobytes(), columns[f"{name}_end"].tolist()
    return [blob[start:end].decode() for start, end in pairwise([0, *ends])]


def _map_columns(descriptor: Any, places: Sequence[_Place]) -> Columns:
    handle = descriptor.detach()
    try:
        mapped = mmap.mmap(handle, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(handle)
    arrays = {}
    for name, dtype, shape, offset in places:
        arrays[name] = np.frombuffer(mapped, dtype, math.prod(shape), offset).reshape(shape)
    return Columns(arrays)


if sys.platform != "win32":  # there descriptors do not travel: processes get copies
    reduction.ForkingPickler.register(Columns, Columns._shared)
