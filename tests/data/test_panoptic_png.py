"""The fast PNG reader against Pillow, and on what is no panoptic PNG."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgeseg.data.panoptic_png import OPAQUE_VOID, IdReader, decode_rgb
from edgeseg.structures import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
HERE = Path("map.png")


def png(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", **options)
    return out.getvalue()


GOOD = png(Image.fromarray(PIXELS))


def test_ids_are_red_and_green_times_256_and_blue_times_65536(tmp_path: Path) -> None:
    (tmp_path / "map.png").write_bytes(GOOD)
    red, green, blue = PIXELS.astype(np.int32).transpose(2, 0, 1)
    ids = IdReader().read(tmp_path / "map.png")
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids, red + 256 * green + 65536 * blue)


def test_opaque_ids_count_from_opaque_void(tmp_path: Path) -> None:
    (tmp_path / "map.png").write_bytes(GOOD)
    red, green, blue = PIXELS.astype(np.int32).transpose(2, 0, 1)
    ids = IdReader().read(tmp_path / "map.png", opaque=True)
    np.testing.assert_array_equal(ids - OPAQUE_VOID, red + 256 * green + 65536 * blue)


def test_maps_of_other_sizes_follow_each_other(tmp_path: Path) -> None:
    reader = IdReader()
    for number, shape in enumerate([(4, 5), (9, 9), (2, 3)]):
        rgb = np.full((*shape, 3), number, dtype=np.uint8)
        (tmp_path / "map.png").write_bytes(png(Image.fromarray(rgb)))
        ids = reader.read(tmp_path / "map.png")
        assert ids.shape == shape
        assert (ids == number * 65793).all()


@pytest.mark.parametrize("options", [{"transparency": (1, 2, 3)}, {"icc_profile": b"x" * 99}, {"compress_level": 0}])
def test_what_stands_beside_the_pixels_does_not_change_them(options: dict[str, object]) -> None:
    np.testing.assert_array_equal(decode_rgb(png(Image.fromarray(PIXELS), **options), HERE), PIXELS)


@pytest.mark.parametrize(
    ("mode", "message"),
    [("L", "grey with 8 bits"), ("P", "palette with 8 bits"), ("RGBA", "RGBA with 8 bits"), ("1", "grey with 1 bits")],
)
def test_other_kinds_of_png_are_named(mode: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode_rgb(png(Image.fromarray(PIXELS).convert(mode)), HERE)


def test_16_bits_are_named() -> None:
    with pytest.raises(InputError, match="grey with 16 bits"):
        decode_rgb(png(Image.fromarray(PIXELS[..., 0].astype(np.uint16))), HERE)


@pytest.mark.parametrize("blob", [b"", b"\xff\xd8\xff\xe0 a JPEG", GOOD[:20]])
def test_what_is_no_png_is_named(blob: bytes) -> None:
    with pytest.raises(InputError, match=r"map\.png is no PNG"):
        decode_rgb(blob, HERE)


@pytest.mark.parametrize("size", [(0, 4), (1 << 20, 1 << 20), (2**32 - 1, 2**32 - 1)])
def test_a_header_that_claims_a_huge_picture_takes_no_memory(size: tuple[int, int]) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)
    blob = GOOD[:8] + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + GOOD[33:]
    with pytest.raises(InputError, match="pixels are read"):
        decode_rgb(blob, HERE)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.png cannot be read \(No such file"):
        IdReader().read(tmp_path / "none.png")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed_or_harmless(at: int, change: int) -> None:
    """Whatever it hits: signature, header, checksum, data."""
    assert_noticed_or_harmless(GOOD[:at] + bytes([GOOD[at] ^ change]) + GOOD[at + 1 :])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(GOOD) - 1))
def test_a_file_cut_off_anywhere_is_noticed(at: int) -> None:
    """The trailer after the pixels may be missing its end."""
    if at < len(GOOD) - 12:
        with pytest.raises(InputError):
            decode_rgb(GOOD[:at], HERE)
    else:
        assert_noticed_or_harmless(GOOD[:at])


def assert_noticed_or_harmless(blob: bytes) -> None:
    try:
        rgb = decode_rgb(blob, HERE)
    except InputError:
        return
    np.testing.assert_array_equal(rgb, PIXELS)
