"""Panoptic PNGs, fast."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
from kornia_rs.io import decode_image_png_u8
from numpy.typing import NDArray

from edgeseg.structures import InputError

MAX_PIXELS = 1 << 28
"""Largest picture that is read, as a header may claim any size; Pillow warns from a third of it on."""

OPAQUE_VOID = -(1 << 24)
"""Value of void in an int32 map whose ids keep an opaque alpha byte above them."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KINDS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}


def decode_rgb(blob: bytes, path: Path) -> NDArray[np.uint8]:
    """Decodes an 8-bit RGB PNG, (H, W, 3) uint8.

    The decoder is the Rust crate `png` in kornia_rs, about five times as fast as libpng and Pillow on panoptic maps
    (docs/metrics.md) and stricter: every checksum counts.

    Args:
        blob: The file's bytes.
        path: Named in errors.

    Raises:
        InputError: No PNG, not 8-bit RGB, or damaged.
    """
    if len(blob) < 33 or not blob.startswith(_SIGNATURE) or blob[12:16] != b"IHDR":
        raise InputError(f"{path} is no PNG; ids are stored as 8-bit RGB PNG: export it again")
    width, height, depth, kind = struct.unpack_from(">IIBB", blob, 16)
    if (depth, kind) != (8, 2):
        raise InputError(
            f"panoptic PNG {path} is {_KINDS.get(kind, kind)} with {depth} bits; ids are stored as 8-bit RGB: "
            "export it again"
        )
    if not 0 < width * height <= MAX_PIXELS:
        raise InputError(f"{path} says it is {height} x {width} (height x width); at most {MAX_PIXELS} pixels are read")
    try:
        rgb: NDArray[np.uint8] = decode_image_png_u8(blob, (height, width), "rgb")
    except Exception as error:  # the binding raises bare Exception for whatever the decoder says
        raise InputError(f"{path} cannot be decoded ({error}); restore or re-export the file") from error
    return rgb


class IdReader:
    """Reads panoptic PNGs, one after the other, into the same memory.

    A fresh megabyte for each picture would cost more in page faults than the conversion itself.
    """

    def __init__(self) -> None:
        self._pixels = np.empty(0, dtype=np.uint8)

    def read(self, path: Path, *, opaque: bool = False) -> NDArray[np.int32]:
        """Ids of a panoptic PNG, (H, W) int32, R + 256 G + 65536 B; the next call overwrites them.

        Args:
            path: The file.
            opaque: Add `OPAQUE_VOID` to all of them, which takes half the time.

        Raises:
            InputError: Missing, no PNG, not 8-bit RGB, or damaged.
        """
        try:
            blob = path.read_bytes()
        except OSError as error:
            raise InputError(f"panoptic PNG {path} cannot be read ({error.strerror}); restore the file") from error
        rgb = decode_rgb(blob, path)
        height, width = rgb.shape[:2]
        if self._pixels.size < 4 * height * width:
            self._pixels = np.empty(4 * height * width, dtype=np.uint8)
        pixels = self._pixels[: 4 * height * width].reshape(height, width, 4)
        cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA, dst=pixels)
        ids = pixels.view("<i4")[..., 0]
        if not opaque:
            ids &= 0xFFFFFF
        return ids.astype(np.int32, copy=False)


def unlisted_segment(path: Path, segment_id: int, num_listed: int) -> InputError:
    """The error of a map that holds a segment which its table lacks."""
    return InputError(
        f"panoptic PNG {path} holds segment {segment_id}, which its JSON ({num_listed} segments) does not list; "
        "export it again"
    )


def absent_segment(path: Path, segment_id: int) -> InputError:
    """The error of a table that lists a segment which its map lacks."""
    return InputError(f"panoptic PNG {path} has no pixel of segment {segment_id} of its JSON; export it again")
