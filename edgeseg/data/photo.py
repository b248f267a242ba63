"""Photos from disk."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from edgeseg.structures import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
"""What a folder is searched for, in lower case."""

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
    return _rgb(_turned(picture, path) if upright else picture, path)


def read_labelled_image(path: Path, size: tuple[int, int], *, says: str = "its JSON says") -> NDArray[np.uint8]:
    """Reads a photo as it lies under its label, (H, W, 3) uint8 RGB.

    An EXIF orientation is applied if the photo then has the label's size, else the photo is taken as stored. So the
    size tells whether the label was drawn on the stored or on the turned picture; where it cannot (half turns, mirror
    images, squares), the turned one is meant, which is what viewers and labelling tools show.

    Args:
        path: The file.
        size: The label's (height, width).
        says: Who knows the size, for the message.

    Raises:
        InputError: As `read_image`, or the photo has another size either way.
    """
    picture = load_picture(path)
    turned = _turned(picture, path)
    for choice in (turned, picture):
        if (choice.height, choice.width) == size:
            return _rgb(choice, path)
    way = "" if turned.size == picture.size else f", {turned.height} x {turned.width} turned as its EXIF says"
    raise InputError(
        f"{path} is {picture.height} x {picture.width} (height x width){way}, {says} {size[0]} x {size[1]}; "
        "image, PNG and JSON must agree: export it again"
    )


def load_picture(path: Path, *, allow_16_bits: bool = False) -> Image.Image:
    """Decodes an image file as it is stored.

    The checksums of a PNG are held, which Pillow does not do for pixels: in a damaged label it would read other ids.

    Raises:
        InputError: Missing, empty, damaged, or more than 8 bits a channel where those are not allowed.
    """
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
            picture.load()
            return picture
    except InputError:
        raise
    except Exception as error:  # a decoder raises whatever it stumbles over
        reason = "no image format known" if isinstance(error, UnidentifiedImageError) else error
        raise InputError(f"{path} cannot be decoded ({reason}); restore or re-export the file") from error


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
    try:
        if picture.getexif().get(ExifTags.Base.Orientation, 1) == 1:
            return picture
        return ImageOps.exif_transpose(picture)
    except Exception as error:  # parsers of EXIF raise whatever they stumble over
        raise InputError(f"{path} has EXIF data that cannot be read ({error}); save it without") from error


def _rgb(picture: Image.Image, path: Path) -> NDArray[np.uint8]:
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        if picture.getchannel("A").getextrema() != (255, 255):
            raise InputError(
                f"{path} has transparent pixels; only opaque images are read: flatten it onto a background"
            )
    elif picture.mode not in ("RGB", "L", "P", "1"):
        raise InputError(f"{path} has mode {picture.mode}; 8-bit RGB or grey is read: convert it to RGB")
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))
