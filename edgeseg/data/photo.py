"""Photos from disk."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from edgeseg.structures import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
"""What a folder is searched for, in lower case."""

REDUCTIONS = (2, 4, 8)
"""By what a JPEG's decoder can reduce."""

_SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap height and width."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def read_image(path: Path, *, upright: bool = False) -> NDArray[np.uint8]:
    """Reads a photo, (H, W, 3) uint8 RGB.

    Grey and palette images are widened to RGB, an opaque alpha channel is dropped.

    Args:
        path: The file.
        upright: Turn it as its EXIF orientation says; else it is taken as stored.

    Raises:
        InputError: Missing, damaged, transparent, in CMYK or another colour space, or not 8 bits a channel.
    """
    picture = load_picture(path)
    return np.array(_rgb(_turned(picture, path) if upright else picture, path))


def read_labelled_image(path: Path, size: tuple[int, int], *, says: str = "its JSON says") -> NDArray[np.uint8]:
    """Reads a photo as it lies under its label, (H, W, 3) uint8 RGB; see `LabelledPhoto`.

    Raises:
        InputError: As `LabelledPhoto.part`.
    """
    return LabelledPhoto(path, size, says).pixels()


@dataclass(frozen=True)
class LabelledPhoto:
    """A photo as it lies under its label, decoded when asked for.

    An EXIF orientation is applied if the photo then has the label's size, else the photo is taken as stored. So the
    size tells whether the label was drawn on the stored or on the turned picture; where it cannot (half turns, mirror
    images, squares), the turned one is meant, which is what viewers and labelling tools show.

    Attributes:
        path: The file.
        size: The label's (height, width).
        says: Who knows the size, for the message.
    """

    path: Path
    size: tuple[int, int]
    says: str = "its JSON says"

    def pixels(self) -> NDArray[np.uint8]:
        """All of it, (H, W, 3) uint8 RGB.

        Raises:
            InputError: As `part`.
        """
        return self.part(slice(0, self.size[0]), slice(0, self.size[1]))[0]

    def part(self, rows: slice, columns: slice, *, reduction: int = 1) -> tuple[NDArray[np.uint8], int]:
        """A part of it, decoded no finer than asked where the format can do that.

        A JPEG is reduced by its decoder, which computes 4 x 4, 2 x 2 or 1 x 1 pixels of each block of 8 x 8.

        Args:
            rows: Start and stop; the start a multiple of `reduction`.
            columns: Likewise.
            reduction: 1, 2, 4 or 8: a pixel of the result may stand for so many, along each axis.

        Returns:
            (h, w, 3) uint8 RGB, and the reduction that was done, `reduction` or 1. The last row and column may reach
            beyond `rows` and `columns`, by less than one pixel of the result.

        Raises:
            InputError: As `read_image`, or the photo has another size than the label either way.
        """
        picture, stored_size = _load(self.path, reduction=reduction)
        done = reduction if picture.size != stored_size else 1
        turned = _turned(picture, self.path)
        turned_size = stored_size[::-1] if _orientation(picture) in _SIDEWAYS else stored_size
        for choice, (width, height) in ((turned, turned_size), (picture, stored_size)):
            if (height, width) == self.size:
                box = columns.start // done, rows.start // done, -(-columns.stop // done), -(-rows.stop // done)
                rgb = _rgb(choice, self.path)
                return np.array(rgb if box == (0, 0, *rgb.size) else rgb.crop(box)), done
        (stored_width, stored_height), (width, height) = stored_size, turned_size
        way = "" if turned_size == stored_size else f", {height} x {width} turned as its EXIF says"
        raise InputError(
            f"{self.path} is {stored_height} x {stored_width} (height x width){way}, {self.says} {self.size[0]} x "
            f"{self.size[1]}; image, PNG and JSON must agree: export it again"
        )


def load_picture(path: Path, *, allow_16_bits: bool = False) -> Image.Image:
    """Decodes an image file as it is stored.

    The checksums of a PNG are held, which Pillow does not do for pixels: in a damaged label it would read other ids.

    Raises:
        InputError: Missing, empty, damaged, or more than 8 bits a channel where those are not allowed.
    """
    return _load(path, allow_16_bits=allow_16_bits)[0]


def _load(path: Path, *, allow_16_bits: bool = False, reduction: int = 1) -> tuple[Image.Image, tuple[int, int]]:
    """The picture, reduced if it is a JPEG, and the (width, height) that the file has."""
    try:
        blob = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; restore the file") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); restore the file") from error
    if not blob:
        raise InputError(f"{path} is empty (0 bytes); restore or re-export the file")
    try:
        if blob.startswith(_PNG_SIGNATURE):
            _check_png(blob)
        with Image.open(BytesIO(blob)) as picture:
            if not allow_16_bits and any("16" in str(tile[3]) for tile in picture.tile):
                raise InputError(f"{path} has 16 bits a channel; 8 are read: convert it")
            size = picture.size
            if reduction > 1 and _keeps_its_grid(picture, path, reduction):
                picture.draft(None, (size[0] // reduction, size[1] // reduction))  # does nothing to other formats
            picture.load()
            return picture, size
    except InputError:
        raise
    except Exception as error:  # a decoder raises whatever it stumbles over
        reason = "no image format known" if isinstance(error, UnidentifiedImageError) else error
        raise InputError(f"{path} cannot be decoded ({reason}); restore or re-export the file") from error


def _keeps_its_grid(picture: Image.Image, path: Path, reduction: int) -> bool:
    """Whether pixels of the reduced picture begin at multiples of `reduction`, turned by EXIF or not."""
    with _exif_of(path):
        return _orientation(picture) == 1 or not any(side % reduction for side in picture.size)


def _check_png(blob: bytes) -> None:
    """Raises ValueError where a chunk's checksum does not hold, or the end is missing."""
    place = len(_PNG_SIGNATURE)
    name = b""
    while name != b"IEND":
        if place + 12 > len(blob):
            raise ValueError("truncated")
        (length,) = struct.unpack_from(">I", blob, place)
        name, end = blob[place + 4 : place + 8], place + 8 + length
        if end + 4 > len(blob):
            raise ValueError(f"truncated in chunk {name!r}")
        if zlib.crc32(blob[place + 4 : end]) != struct.unpack_from(">I", blob, end)[0]:
            raise ValueError(f"wrong checksum of chunk {name!r}")
        place = end + 4


def _turned(picture: Image.Image, path: Path) -> Image.Image:
    """The picture as its EXIF orientation says."""
    with _exif_of(path):
        return picture if _orientation(picture) == 1 else ImageOps.exif_transpose(picture)


def _orientation(picture: Image.Image) -> object:
    """The EXIF orientation, 1 where there is none."""
    return picture.getexif().get(ExifTags.Base.Orientation, 1)


@contextmanager
def _exif_of(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # parsers of EXIF raise whatever they stumble over
        raise InputError(f"{path} has EXIF data that cannot be read ({error}); save it without") from error


def _rgb(picture: Image.Image, path: Path) -> Image.Image:
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        if picture.getchannel("A").getextrema() != (255, 255):
            raise InputError(
                f"{path} has transparent pixels; only opaque images are read: flatten it onto a background"
            )
    elif picture.mode not in ("RGB", "L", "P", "1"):
        raise InputError(f"{path} has mode {picture.mode}; 8-bit RGB or grey is read: convert it to RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")
