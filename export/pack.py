"""An artifact for the way to the phone: its ternary weights five to a byte, unpacked once when it arrives.

No runtime stores 1.6 bits a weight. All three take int8 weights, though, and a ternary network's are bytes 255, 0 and 1
in long runs. `pack` stores those runs in base 3 and deflates the rest; `unpack` gives back the very file that was
verified and measured, so that it runs at the speed of the runtime's own int8 kernels. docs/ternary.md has the layout;
bench/native/src/unpack.cpp is the twin for apps.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeseg.quantize.packed import SUFFIX as BASE3
from edgeseg.quantize.packed import pack_ternary, unpack_ternary
from edgeseg.structures import InputError

SUFFIX = ".packed"
MAGIC = b"EDGEPACK"
VERSION = 1
LEAST_RUN = 64
"""Shorter runs cost more to name than they save."""

_DEFLATE_AT_MOST = 1032
"""Bytes that one of deflate's can stand for; what states more is not even tried."""

_HEADER = struct.Struct("<8sII Q32s QQ")  # magic, version, runs; bytes, sha256; bytes of base 3, of deflate
_RUN = np.dtype([("offset", "<u8"), ("length", "<u8")])


@dataclass(frozen=True)
class Packed:
    """What packing did to a file.

    Attributes:
        path: The packed file.
        original_bytes: Before.
        packed_bytes: After.
        ternary_weights: Weights that it stored five to a byte; 0 of a bundle's weights.safetensors, where they are so
            already and the rest is deflated.
    """

    path: Path
    original_bytes: int
    packed_bytes: int
    ternary_weights: int


class _Parts(NamedTuple):
    size: int
    sha256: bytes
    runs: NDArray[np.void]
    ternary: NDArray[np.uint8]
    rest: bytes


def pack(content: bytes) -> bytes:
    """The packed form of a file; `unpack` is its inverse."""
    values = np.frombuffer(content, np.uint8)
    runs = _ternary_runs(values)
    inside = _inside(runs, len(values))
    ternary = pack_ternary(values[inside].view(np.int8))
    rest = zlib.compress(values[~inside].tobytes(), 9)
    digest = hashlib.sha256(content).digest()
    header = _HEADER.pack(MAGIC, VERSION, len(runs), len(values), digest, len(ternary), len(rest))
    return header + runs.tobytes() + ternary.tobytes() + rest


def unpack(packed: bytes) -> bytes:
    """The file that was packed, checked against its checksum.

    Raises:
        ValueError: Not a packed file, a newer version, cut short, or damaged.
    """
    parts = _read(packed)
    inside = _inside(parts.runs, parts.size)
    if zlib_size(parts.rest) != int((~inside).sum()):
        raise ValueError("what is deflated has another length than the runs leave")
    values = np.empty(parts.size, np.uint8)
    values[inside] = unpack_ternary(parts.ternary, int(inside.sum())).view(np.uint8)
    values[~inside] = np.frombuffer(zlib.decompress(parts.rest), np.uint8)
    content = values.tobytes()
    if hashlib.sha256(content).digest() != parts.sha256:
        raise ValueError("its content does not have the checksum that it states")
    return content


def pack_file(path: Path, out: Path | None = None) -> Packed:
    """Packs an artifact.

    Args:
        path: A file of a bundle: an artifact, or weights.safetensors.
        out: File to write; None = PATH.packed.

    Raises:
        InputError: No such file, `out` there already, or no ternary weights in it.
    """
    content = _content(path)
    count = int(_inside(_ternary_runs(np.frombuffer(content, np.uint8)), len(content)).sum())
    if not count and not (path.suffix == ".safetensors" and f'{BASE3}":'.encode() in content):
        raise InputError(
            f"{path} holds no ternary weights; pack an ExecuTorch, LiteRT or ONNX file of a ternary recipe, or the "
            "weights.safetensors beside it"
        )
    out = out or path.with_name(path.name + SUFFIX)
    packed = pack(content)
    _place(packed, out)
    return Packed(out, len(content), len(packed), count)


def unpack_file(path: Path, out: Path | None = None) -> Path:
    """Gives a packed artifact back; see `pack_file`.

    Raises:
        InputError: No such file, `out` there already, or `path` is no packed file or a damaged one.
    """
    if out is None and path.suffix != SUFFIX:
        raise InputError(f"{path} does not end in {SUFFIX}; say where to write with --out")
    try:
        content = unpack(_content(path))
    except ValueError as error:
        raise InputError(f"{path} cannot be unpacked: {error}; take another copy") from error
    out = out or path.with_suffix("")
    _place(content, out)
    return out


def zlib_size(stream: bytes) -> int:
    """Length of what a zlib stream inflates to, found without keeping it.

    Raises:
        ValueError: It is none, or goes on after its end.
    """
    inflater, size = zlib.decompressobj(), 0
    try:
        piece = inflater.decompress(stream, 1 << 20)
        while piece:
            size += len(piece)
            piece = inflater.decompress(inflater.unconsumed_tail, 1 << 20)
    except zlib.error as error:
        raise ValueError(f"the deflated part is damaged ({error})") from error
    if not inflater.eof or inflater.unused_data:
        raise ValueError("the deflated part is cut short or too long")
    return size


def _read(packed: bytes) -> _Parts:
    if len(packed) < _HEADER.size or not packed.startswith(MAGIC):
        raise ValueError("it does not start like a packed file")
    _, version, num_runs, size, digest, ternary_bytes, rest_bytes = _HEADER.unpack_from(packed)
    if version != VERSION:
        raise ValueError(f"it has version {version}, this edgeseg reads {VERSION}")
    runs_end = _HEADER.size + num_runs * _RUN.itemsize
    if len(packed) != runs_end + ternary_bytes + rest_bytes:
        raise ValueError(f"it has {len(packed)} bytes, {runs_end + ternary_bytes + rest_bytes} are stated")
    runs = np.frombuffer(packed[_HEADER.size : runs_end], _RUN)
    ends = runs["offset"].astype(object) + runs["length"].astype(object)  # Python integers: nothing wraps
    starts = runs["offset"].astype(object)
    if len(runs) and (ends[-1] > size or (ends[:-1] > starts[1:]).any()):
        raise ValueError("its runs overlap or lie outside of the file")
    num_codes = sum(runs["length"].tolist())
    if num_codes > 5 * ternary_bytes or size - num_codes > _DEFLATE_AT_MOST * rest_bytes:
        raise ValueError("it states more bytes than what is stored of them can make")
    ternary = np.frombuffer(packed[runs_end : runs_end + ternary_bytes], np.uint8)
    return _Parts(size, digest, runs, ternary, packed[runs_end + ternary_bytes :])


def _ternary_runs(values: NDArray[np.uint8]) -> NDArray[np.void]:
    """Maximal runs of bytes 255, 0 and 1 of some length; zeros alone deflate better."""
    is_code = np.concatenate([[False], (values <= 1) | (values == 255), [False]])
    borders = np.flatnonzero(is_code[1:] != is_code[:-1]).reshape(-1, 2)
    not_zero = np.concatenate([[0], np.cumsum(values != 0)])
    length = borders[:, 1] - borders[:, 0]
    full = not_zero[borders[:, 1]] - not_zero[borders[:, 0]] > length // 4
    kept = borders[(length >= LEAST_RUN) & full]
    runs = np.empty(len(kept), _RUN)
    runs["offset"], runs["length"] = kept[:, 0], kept[:, 1] - kept[:, 0]
    return runs


def _inside(runs: NDArray[np.void], size: int) -> NDArray[np.bool_]:
    """(size,) which bytes lie in a run."""
    inside = np.zeros(size, np.bool_)
    for offset, length in runs.tolist():
        inside[offset : offset + length] = True
    return inside


def _content(path: Path) -> bytes:
    if path.is_dir():
        raise InputError(f"{path} is a folder; one file is packed: of an .mlpackage its weight.bin")
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    return path.read_bytes()


def _place(content: bytes, out: Path) -> None:
    if out.exists():
        raise InputError(f"{out} exists; give another --out")
    aside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        aside.write_bytes(content)
        aside.replace(out)
    finally:
        aside.unlink(missing_ok=True)
