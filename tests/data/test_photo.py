"""Photos of every kind that people have."""

from __future__ import annotations

import contextlib
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgeseg.data.photo import LabelledPhoto, load_picture, read_image, read_labelled_image
from edgeseg.structures import InputError

STORED = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
"""Every pixel differs, so that a turned picture cannot be taken for the stored one."""

UPRIGHT = {
    1: STORED,
    2: STORED[:, ::-1],
    3: STORED[::-1, ::-1],
    4: STORED[::-1],
    5: STORED.T,
    6: np.rot90(STORED, -1),
    7: STORED[::-1, ::-1].T,
    8: np.rot90(STORED),
}
"""What the stored pixels show under each EXIF orientation (Exif 2.32, table 6: where row 0 and column 0 lie)."""


def save(path: Path, grey: NDArray[np.uint8], orientation: int | None = None) -> Path:
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(grey).save(path, exif=exif)
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("part", [0.2, 0.6])
def test_truncated_image_is_refused(suffix: str, part: float, tmp_path: Path) -> None:
    path = tmp_path / f"photo{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(InputError, match=f"photo{suffix} cannot be decoded"):
        read_image(path)


def test_grey_palette_and_opaque_alpha_become_rgb(tmp_path: Path) -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    expected = np.repeat(grey[..., None], 3, axis=2)
    picture = Image.fromarray(grey)
    for mode in ("L", "P", "LA", "RGBA"):
        picture.convert(mode).save(tmp_path / f"{mode}.png")
        assert np.array_equal(read_image(tmp_path / f"{mode}.png"), expected), mode


@pytest.mark.parametrize(
    ("mode", "name", "message"),
    [
        ("RGBA", "x.png", "transparent"),
        ("I;16", "x.png", "16 bits"),
        ("CMYK", "x.jpg", "mode CMYK"),
        ("F", "x.tiff", "mode F"),
    ],
)
def test_image_that_would_lose_something_is_refused(mode: str, name: str, message: str, tmp_path: Path) -> None:
    Image.new(mode, (4, 3)).save(tmp_path / name)
    with pytest.raises(InputError, match=message):
        read_image(tmp_path / name)


def test_16_bit_rgb_png_is_refused(tmp_path: Path) -> None:

    cv2.imwrite(str(tmp_path / "deep.png"), np.full((3, 4, 3), 513, dtype=np.uint16))
    with pytest.raises(InputError, match="16 bits a channel"):
        read_image(tmp_path / "deep.png")


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_photo_is_taken_as_stored_unless_it_is_wanted_upright(orientation: int, tmp_path: Path) -> None:
    path = save(tmp_path / "photo.png", STORED, orientation)
    assert np.array_equal(read_image(path)[..., 0], STORED)
    assert np.array_equal(read_image(path, upright=True)[..., 0], UPRIGHT[orientation])


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_labelled_photo_is_turned_where_it_then_has_the_labels_size(orientation: int, tmp_path: Path) -> None:
    path = save(tmp_path / "photo.png", STORED, orientation)
    upright = UPRIGHT[orientation]
    assert np.array_equal(read_labelled_image(path, upright.shape)[..., 0], upright)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_labelled_photo_is_taken_as_stored_where_that_is_the_labels_size(orientation: int, tmp_path: Path) -> None:
    path = save(tmp_path / "photo.png", STORED, orientation)
    assert np.array_equal(read_labelled_image(path, (3, 4))[..., 0], STORED)


def test_labelled_photo_of_neither_size_is_refused_with_both(tmp_path: Path) -> None:
    path = save(tmp_path / "my photo é.png", STORED, 6)
    message = r"my photo é\.png is 3 x 4 \(height x width\), 4 x 3 turned as its EXIF says, its JSON says 6 x 8"
    with pytest.raises(InputError, match=message):
        read_labelled_image(path, (6, 8))


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_orientation_that_means_nothing_changes_nothing(orientation: int, tmp_path: Path) -> None:
    path = save(tmp_path / "photo.png", STORED, orientation)
    assert np.array_equal(read_labelled_image(path, (3, 4))[..., 0], STORED)


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png"])
def test_empty_file_is_said_to_be_empty(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"is empty \(0 bytes\)"):
        read_image(tmp_path / name)


def test_text_is_no_photo(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("<html>404</html>")
    with pytest.raises(InputError, match=r"photo\.jpg cannot be decoded \(no image format known\)"):
        read_image(tmp_path / "photo.jpg")


def test_folder_is_no_photo(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_image(tmp_path)


def test_every_flipped_bit_of_a_png_is_noticed(tmp_path: Path) -> None:
    """Pillow alone reads other pixels for a tenth of them; what it reads here are the ids of a label."""
    path = save(tmp_path / "label.png", STORED)
    whole = path.read_bytes()
    for place in range(8, len(whole)):  # the signature says what kind of file it is
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(InputError, match=r"label\.png cannot be decoded"):
                load_picture(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_exif_is_refused_or_does_not_matter(tmp_path: Path) -> None:
    whole = save(tmp_path / "photo.jpg", STORED, 6).read_bytes()
    start = whole.index(b"Exif")
    for place in range(start, whole.index(b"\xff\xdb")):
        path = tmp_path / "damaged.jpg"
        path.write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
        with contextlib.suppress(InputError):
            assert read_labelled_image(path, (4, 3)).shape == (4, 3, 3)


def test_header_that_claims_a_giant_is_refused_without_the_memory(tmp_path: Path) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = [header, b"IDAT" + zlib.compress(b""), b"IEND"]
    body = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    (tmp_path / "giant.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    with pytest.raises(InputError, match=r"giant\.png cannot be decoded"):
        read_image(tmp_path / "giant.png")


def save_smooth(path: Path, size: tuple[int, int], orientation: int = 1) -> NDArray[np.float64]:
    """A JPEG without detail that a reduction could lose; its grey levels as stored."""
    y, x = np.mgrid[: size[0], : size[1]]
    grey = 128 + 50 * np.sin(y / 19) + 50 * np.cos(x / 23)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(grey.round().astype(np.uint8)).save(path, quality=95, exif=exif)
    return grey


@pytest.mark.parametrize("reduction", [2, 4, 8])
@pytest.mark.parametrize("size", [(96, 128), (83, 61), (97, 103)])
def test_reduced_jpeg_averages_squares_from_the_corner_on(
    size: tuple[int, int], reduction: int, tmp_path: Path
) -> None:
    """Expected: means of the grey levels that were stored; a shift by half a pixel would cost up to 5 levels at 1/4."""
    grey = save_smooth(tmp_path / "a.jpg", size)
    pixels, done = LabelledPhoto(tmp_path / "a.jpg", size).part(
        slice(0, size[0]), slice(0, size[1]), reduction=reduction
    )
    assert done == reduction
    assert pixels.shape == (-(-size[0] // reduction), -(-size[1] // reduction), 3)
    whole = size[0] // reduction, size[1] // reduction  # the last ones stand for fewer pixels
    squares = grey[: whole[0] * reduction, : whole[1] * reduction].reshape(whole[0], reduction, whole[1], reduction)
    assert np.abs(pixels[: whole[0], : whole[1], 0] - squares.mean(axis=(1, 3))).max() < 2


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
def test_part_is_cut_out_of_the_whole(reduction: int, tmp_path: Path) -> None:
    save_smooth(tmp_path / "a.jpg", (83, 61))
    photo = LabelledPhoto(tmp_path / "a.jpg", (83, 61))
    whole, _ = photo.part(slice(0, 83), slice(0, 61), reduction=reduction)
    part, _ = photo.part(slice(16, 45), slice(8, 61), reduction=reduction)
    assert np.array_equal(part, whole[16 // reduction : -(-45 // reduction), 8 // reduction :])


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_turned_jpeg_is_reduced_where_its_squares_stay_whole(orientation: int, tmp_path: Path) -> None:
    save_smooth(tmp_path / "even.jpg", (48, 96), orientation)
    size = (48, 96) if orientation < 5 else (96, 48)
    photo = LabelledPhoto(tmp_path / "even.jpg", size)
    pixels, done = photo.part(slice(0, size[0]), slice(0, size[1]), reduction=8)
    assert done == 8
    squares = photo.pixels()[..., 0].reshape(size[0] // 8, 8, size[1] // 8, 8).mean(axis=(1, 3))
    assert np.abs(pixels[..., 0] - squares).max() < 2
    save_smooth(tmp_path / "odd.jpg", (47, 95), orientation)
    size = (47, 95) if orientation < 5 else (95, 47)
    _, done = LabelledPhoto(tmp_path / "odd.jpg", size).part(slice(0, size[0]), slice(0, size[1]), reduction=8)
    assert done == (8 if orientation == 1 else 1)


def test_png_is_never_reduced(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", STORED)
    pixels, done = LabelledPhoto(path, (3, 4)).part(slice(0, 3), slice(2, 4), reduction=2)
    assert done == 1
    assert np.array_equal(pixels[..., 0], STORED[:, 2:])


def test_reduced_photo_of_another_size_than_its_label_is_refused(tmp_path: Path) -> None:
    """Reduced, 47 and 48 rows are the same."""
    save_smooth(tmp_path / "a.jpg", (48, 96))
    with pytest.raises(InputError, match=r"is 48 x 96 \(height x width\), its JSON says 47 x 96"):
        LabelledPhoto(tmp_path / "a.jpg", (47, 96)).part(slice(0, 47), slice(0, 96), reduction=2)
