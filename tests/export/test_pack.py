"""Packed artifacts: the same file comes back, a damaged one never does."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgeseg.export.pack import pack, pack_file, unpack, unpack_file
from edgeseg.quantize.packed import pack_state
from edgeseg.structures import InputError

CODES = np.random.default_rng(0).choice(np.array([255, 0, 1], np.uint8), 2000).tobytes()
pieces = st.lists(
    st.one_of(
        st.binary(max_size=90),
        st.lists(st.sampled_from([0, 1, 255]), max_size=200).map(bytes),
        st.integers(0, 300).map(bytes),
    ),
    max_size=6,
)


@given(pieces)
def test_every_file_comes_back_byte_by_byte(content: list[bytes]) -> None:
    assert unpack(pack(b"".join(content))) == b"".join(content)


def test_five_weights_take_one_byte() -> None:
    """2,000 random codes have 1.58 bits each, which deflate alone does not reach: 400 bytes and one run's name."""
    header, run, empty = 72, 16, len(zlib.compress(b"", 9))
    assert len(pack(CODES)) == header + run + 400 + empty


def test_layout_is_the_documented_one() -> None:
    """docs/ternary.md, read without the code under test: a run of 255, 0, 1, 1, 0, ... between two raw parts."""
    run = bytes([255, 0, 1, 1, 0] * 20)
    packed = pack(b"head" + run + b"tail")
    magic, version, runs, size, _, ternary, rest = struct.unpack_from("<8sII Q32s QQ".replace(" ", ""), packed)
    assert (magic, version, runs, size, ternary) == (b"EDGEPACK", 1, 1, 108, 20)
    assert struct.unpack_from("<QQ", packed, 72) == (4, 100)
    assert packed[88:108] == bytes([0 + 1 * 3 + 2 * 9 + 2 * 27 + 1 * 81]) * 20
    assert zlib.decompress(packed[108:]) == b"headtail"
    assert len(packed) == 108 + rest


@pytest.mark.parametrize("at", range(0, 72, 3))
def test_a_byte_flipped_in_the_header_is_noticed(at: int) -> None:
    packed = bytearray(pack(b"head" + CODES))
    packed[at] ^= 0x15
    with pytest.raises(ValueError, match=r"."):
        unpack(bytes(packed))


@given(st.data())
def test_a_changed_or_cut_file_never_unpacks(data: st.DataObject) -> None:
    packed = bytearray(pack(b"head" + CODES + b"tail" * 9))
    if data.draw(st.booleans()):
        packed = packed[: data.draw(st.integers(0, len(packed) - 1))]
    else:
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match=r"."):
        unpack(bytes(packed))


def test_files_are_written_once_and_whole(tmp_path: Path) -> None:
    artifact = tmp_path / "net.tflite"
    artifact.write_bytes(b"graph" * 50 + CODES)
    done = pack_file(artifact)
    assert (done.original_bytes, done.ternary_weights) == (2250, 2000)
    assert done.packed_bytes == done.path.stat().st_size < 600
    with pytest.raises(InputError, match="exists"):
        unpack_file(done.path)
    back = unpack_file(done.path, tmp_path / "again.tflite")
    assert back.read_bytes() == artifact.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.tflite", "net.tflite", "net.tflite.packed"]


def test_weights_that_a_bundle_holds_in_base_3_are_deflated_beside_them(tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    codes = torch.from_numpy(np.frombuffer(CODES, np.uint8).view(np.int8).reshape(20, 100).copy())
    weights.write_bytes(safetensors.torch.save(pack_state({"a.weight_int8": codes, "a.step": torch.ones(500)})))
    done = pack_file(weights)
    assert (done.ternary_weights, unpack(done.path.read_bytes())) == (0, weights.read_bytes())
    assert done.packed_bytes < done.original_bytes - 500
    weights.write_bytes(safetensors.torch.save({"a.weight": torch.ones(9)}))
    with pytest.raises(InputError, match="holds no ternary weights"):
        pack_file(weights)


def test_what_cannot_be_packed_or_unpacked_is_said_in_one_line(tmp_path: Path) -> None:
    plain = tmp_path / "plain.onnx"
    plain.write_bytes(bytes(range(2, 250)))
    with pytest.raises(InputError, match=r"plain\.onnx holds no ternary weights"):
        pack_file(plain)
    with pytest.raises(InputError, match="is a folder"):
        pack_file(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        unpack_file(tmp_path / "no.packed")
    wrong = tmp_path / "plain.packed"
    wrong.write_bytes(b"something else")
    with pytest.raises(InputError, match="does not start like a packed file"):
        unpack_file(wrong)
