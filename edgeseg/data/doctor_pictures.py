"""Opening one photo and one panoptic PNG without giving up at the first fault."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from edgeseg.data.coco_panoptic import decode_ids
from edgeseg.data.doctor_codes import shown
from edgeseg.data.photo import load_picture

Say = Callable[[str, str], None]
"""Takes a code and the value found."""

_TURNED = (5, 6, 7, 8)  # orientations that swap height and width
_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".mpo"),
    "PNG": (".png",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "GIF": (".gif",),
}


_REWRITTEN = {"photo-exif-damaged", "photo-alpha", "photo-cmyk", "photo-grey", "photo-palette"}
"""What storing a photo again as 8-bit RGB cures."""

_LOSSY = {"photo-transparent", "photo-frames"}
"""What storing it again would throw away."""


@dataclass(frozen=True)
class Photo:
    """A decoded photo.

    Attributes:
        rgb: (H, W, 3) uint8, pixels as stored; None where it has no 8-bit RGB reading.
        size: Stored (height, width).
        orientation: EXIF orientation, 1 = none or unreadable.
        digest: Of the pixels; None with `rgb`, and where they are all equal.
        is_final: Nothing to gain, or nothing safe to gain, by storing it again as 8-bit RGB.
    """

    rgb: NDArray[np.uint8] | None
    size: tuple[int, int]
    orientation: int
    digest: bytes | None
    is_final: bool

    def size_for(self, wanted: tuple[int, int] | None) -> tuple[int, int]:
        """The size under a label: turned where that fits, else stored, as `read_labelled_image` has it."""
        return self.upright_size if self.upright_size == wanted else self.size

    @property
    def upright_size(self) -> tuple[int, int]:
        """(height, width) once turned by the EXIF orientation."""
        height, width = self.size
        return (width, height) if self.orientation in _TURNED else (height, width)


@dataclass(frozen=True)
class Label:
    """A decoded panoptic PNG.

    Attributes:
        ids: (H, W) int32.
        is_plain: Stored as 8-bit RGB in the right order of channels.
        is_certain: Its ids are exactly the JSON's, or there is only one way to read it.
    """

    ids: NDArray[np.int32]
    is_plain: bool
    is_certain: bool

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        height, width = self.ids.shape
        return height, width


def open_photo(path: Path, say: Say) -> Photo | None:
    """Decodes a photo, whatever its format; None where that fails.

    Args:
        path: The file.
        say: Takes what is wrong with it.
    """
    loaded = _load(path, "photo", say)
    if loaded is None:
        return None
    picture = loaded.picture
    allowed = _SUFFIXES.get(picture.format or "")
    if allowed and path.suffix.lower() not in allowed:
        say("photo-suffix", f"{shown(path.name)} is {picture.format}")
    said: set[str] = set()

    def tell(code: str, value: str) -> None:
        said.add(code)
        say(code, value)

    if loaded.num_frames > 1 and picture.format != "MPO":  # MPO: phones append a preview
        tell("photo-frames", f"{loaded.num_frames} frames")
    rgb = _as_rgb(loaded, tell)
    orientation = _orientation(picture, tell)
    is_odd = orientation != 1 or bool(said & _REWRITTEN)
    digest = None
    if rgb is not None:
        if (rgb[::8, ::8] == rgb[0, 0]).all() and (rgb == rgb[0, 0]).all():
            say("photo-blank", f"every pixel is {rgb[0, 0].tolist()}")
        else:
            digest = hashlib.blake2b(rgb.data, digest_size=16, person=f"{rgb.shape[1]}".encode()).digest()
    is_final = rgb is None or not is_odd or bool(said & _LOSSY)
    return Photo(rgb, (picture.height, picture.width), orientation, digest, is_final)


def open_label(path: Path, listed: set[int], say: Say) -> Label | None:
    """Decodes a panoptic PNG, whatever its kind; None where that fails.

    A PNG that is no 8-bit RGB can be meant in several ways; the one whose ids are nearest to the JSON's is taken.

    Args:
        path: The file.
        listed: Ids of the JSON's rows.
        say: Takes what is wrong with it.
    """
    loaded = _load(path, "png", say)
    if loaded is None:
        return None
    picture = loaded.picture
    if picture.format != "PNG":
        say("png-not-png", f"format {picture.format}")
        return None
    depth, color = loaded.data[24:26]  # of the header chunk
    kind = {0: "png-grey", 3: "png-palette", 4: "png-grey", 6: "png-alpha"}.get(color)
    if kind:
        say(kind, f"mode {picture.mode}, {depth} bits")
    if depth == 16:
        say("png-16-bit", f"mode {picture.mode}, {depth} bits")
    is_rgb = (depth, color) == (8, 2)
    readings = _readings(loaded, depth, color)
    ids = next(readings)
    wrong = len(_ids_in(ids) ^ listed)
    is_bgr = False
    for other in readings if wrong else ():
        other_wrong = len(_ids_in(other) ^ listed)
        if other_wrong < wrong and not (is_rgb and other_wrong):  # swapped channels only where that explains all
            ids, wrong, is_bgr = other, other_wrong, is_rgb
    if is_bgr:
        say("png-bgr", f"all {len(listed)} ids appear once red and blue are swapped")
    return Label(ids, is_plain=is_rgb and not is_bgr, is_certain=is_rgb or not wrong)


def _ids_in(ids: NDArray[np.int32]) -> set[int]:
    """The ids of a map without void, found at the ends of their runs."""
    flat = ids.ravel()
    return (set(flat[np.flatnonzero(flat[1:] != flat[:-1])].tolist()) | {int(flat[-1])}) - {0}


def turned(rgb: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The pixels as an EXIF orientation wants them shown."""
    picture = Image.fromarray(rgb)
    picture.getexif()[ExifTags.Base.Orientation] = orientation
    return np.asarray(ImageOps.exif_transpose(picture))


class _Loaded(NamedTuple):
    picture: Image.Image  # first frame, decoded
    data: bytes
    is_16_bit: bool
    num_frames: int


def _load(path: Path, what: str, say: Say) -> _Loaded | None:
    try:
        data = path.read_bytes()
        if not data:
            say(f"{what}-empty", "0 bytes")
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large pictures, odd EXIF: harmless, or said as findings
            with Image.open(io.BytesIO(data)) as header:
                is_16_bit = any("16" in str(tile[3]) for tile in header.tile)  # Pillow forgets it when decoding
                num_frames = getattr(header, "n_frames", 1)
            picture = load_picture(path, allow_16_bits=True)
    except Exception as error:  # decoders of hostile bytes raise whatever they like; each is one unreadable file
        is_unknown = isinstance(error, UnidentifiedImageError)  # whose message names a memory address
        say(f"{what}-unreadable", "not an image" if is_unknown else shown(str(error.__cause__ or error)))
        return None
    return _Loaded(picture, data, is_16_bit, num_frames)


def _orientation(picture: Image.Image, say: Say) -> int:
    try:
        value = picture.getexif().get(ExifTags.Base.Orientation, 1)
        if value != 1:
            ImageOps.exif_transpose(picture)
    except Exception as error:  # parsers of EXIF raise whatever they stumble over
        say("photo-exif-damaged", shown(str(error) or type(error).__name__))
        return 1
    return value if value in range(1, 9) else 1


def _as_rgb(loaded: _Loaded, say: Say) -> NDArray[np.uint8] | None:
    picture, mode = loaded.picture, loaded.picture.mode
    if loaded.is_16_bit:
        say("photo-mode", f"16 bits a channel, mode {mode}")
        return None
    if picture.has_transparency_data:
        alpha = picture.convert("RGBA").getchannel("A")
        if alpha.getextrema() != (255, 255):
            say("photo-transparent", f"mode {mode}, alpha {alpha.getextrema()}")
        else:
            say("photo-alpha", f"mode {mode}, opaque")
        return np.array(picture.convert("RGBA").convert("RGB"))
    if mode == "CMYK":
        say("photo-cmyk", "mode CMYK")
    elif mode in ("L", "1"):
        say("photo-grey", f"mode {mode}")
    elif mode == "P":
        say("photo-palette", "mode P")
    elif mode != "RGB":
        say("photo-mode", f"mode {mode}")
        return None
    return np.array(picture if mode == "RGB" else picture.convert("RGB"))


def _readings(loaded: _Loaded, depth: int, color: int) -> Iterator[NDArray[np.int32]]:
    """What the PNG's pixels may mean as ids, the likeliest first."""
    picture = loaded.picture
    if color in (2, 6) and depth == 16:
        raw = _decode_16_bit(loaded.data)[..., 2::-1]
        yield decode_ids(np.ascontiguousarray(raw & 255).astype(np.uint8))
        yield decode_ids(np.ascontiguousarray(raw >> 8).astype(np.uint8))
    elif color in (2, 6):
        rgb = np.ascontiguousarray(np.asarray(picture)[..., :3])
        yield decode_ids(rgb)
        yield decode_ids(np.ascontiguousarray(rgb[..., ::-1]))
    elif color == 3:
        yield decode_ids(np.asarray(picture.convert("RGB")))
        yield np.asarray(picture).astype(np.int32)
    elif depth == 16:
        raw = _decode_16_bit(loaded.data)
        values = (raw if raw.ndim == 2 else raw[..., 0]).astype(np.int32)
        yield values
        yield values >> 8
    else:
        scale = 255 // (2**depth - 1)  # Pillow stretches 1, 2 and 4 bits to 0..255
        values = np.asarray(picture.convert("L")).astype(np.int32) // scale
        yield values
        yield values * 0x010101


def _decode_16_bit(data: bytes) -> NDArray[np.uint16]:
    """(H, W) or (H, W, 3 or 4 in BGR order); Pillow keeps the high bytes only."""
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), dtype=np.uint16)
