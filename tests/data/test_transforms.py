"""Geometry and colour between photo and network."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseg.config import DataConfig
from edgeseg.data.transforms import augment, fitted_size, letterbox, unletterbox_map

SIZES = st.tuples(st.integers(1, 400), st.integers(1, 400))

STILL = DataConfig(image_size=(32, 32), flip=False, min_scale=1.0, max_scale=1.0, color_jitter=0.0)
"""Augmentation with everything switched off."""


@pytest.mark.parametrize(
    ("original", "fitted"),
    [
        ((427, 640), (171, 256)),  # 170.8
        ((640, 427), (256, 171)),
        ((256, 512), (128, 256)),
        ((100, 100), (256, 256)),
        ((1, 1000), (1, 256)),  # never 0 rows
        ((512, 3), (256, 2)),  # 1.5 rounds up
    ],
)
def test_fitted_size_of_a_256_square(original: tuple[int, int], fitted: tuple[int, int]) -> None:
    assert fitted_size(original, (256, 256)) == fitted


@settings(max_examples=300, deadline=None)
@given(SIZES, SIZES)
def test_fitted_size_touches_a_side_and_keeps_the_aspect_ratio(
    original: tuple[int, int], size: tuple[int, int]
) -> None:
    height, width = fitted_size(original, size)
    assert 1 <= height <= size[0]
    assert 1 <= width <= size[1]
    assert height == size[0] or width == size[1]
    scale = min(size[0] / original[0], size[1] / original[1])
    assert abs(height - original[0] * scale) <= 0.5 + 1e-9 or height == 1
    assert abs(width - original[1] * scale) <= 0.5 + 1e-9 or width == 1


def test_letterbox_puts_the_image_top_left_and_zeros_around() -> None:
    padded, fitted = letterbox(np.full((20, 40, 3), 200, dtype=np.uint8), (64, 64))
    assert fitted == (32, 64)
    assert (padded[:32] == 200).all()
    assert (padded[32:] == 0).all()


def test_image_of_the_networks_size_passes_unchanged() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    padded, fitted = letterbox(image, (32, 64))
    assert fitted == (32, 64)
    assert np.array_equal(padded, image)


def test_shrinking_averages() -> None:
    stripes = np.zeros((96, 96, 3), dtype=np.uint8)
    stripes[::3] = 210
    padded, _ = letterbox(stripes, (32, 32))
    assert (padded == 70).all()  # one row of three; a bilinear or nearest sample would see the middle row only


@settings(max_examples=200, deadline=None)
@given(SIZES, st.sampled_from([1, 2, 4]))
def test_way_back_reads_the_pixel_below_each_centre(original: tuple[int, int], factor: int) -> None:
    network = (64, 96)
    fitted = fitted_size(original, network)
    slot_map = np.arange(network[0] // factor * (network[1] // factor)).reshape(network[0] // factor, -1)
    back = unletterbox_map(slot_map, fitted, network, original)
    assert back.shape == original
    rng = np.random.default_rng(0)
    for _ in range(20):
        y, x = int(rng.integers(original[0])), int(rng.integers(original[1]))
        # The centre in the input's pixels, exactly: numerators over 2 H and 2 W.
        row = (2 * y + 1) * fitted[0] // (2 * original[0]) // factor
        column = (2 * x + 1) * fitted[1] // (2 * original[1]) // factor
        assert back[y, x] == slot_map[row, column]


def test_padding_never_reaches_the_photo() -> None:
    slot_map = np.full((16, 16), 255, dtype=np.uint8)
    slot_map[:8] = 7  # the fitted part of a photo twice as wide as high
    assert (unletterbox_map(slot_map, (32, 64), (64, 64), (101, 202)) == 7).all()


def test_map_that_is_no_integer_part_of_the_input_is_refused() -> None:
    with pytest.raises(ValueError, match="over an integer"):
        unletterbox_map(np.zeros((24, 24), np.uint8), (64, 64), (64, 64), (10, 10))


def test_augmentation_with_everything_off_is_the_letterbox() -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 100, 3), dtype=np.uint8)
    label = np.zeros((50, 100), dtype=np.int16)
    augmented, augmented_label = augment(image, label, np.random.default_rng(1), STILL)
    assert np.array_equal(augmented, letterbox(image, (32, 32))[0])
    assert (augmented_label[:16] == 0).all()
    assert (augmented_label[16:] == -1).all()


@pytest.mark.parametrize("size", [(32, 32), (32, 64)])
def test_photo_and_label_move_together(size: tuple[int, int]) -> None:
    """Blocks of 16 pixels whose grey level says their row: inside a block the two must agree after any change."""
    rows = np.kron(np.arange(16).reshape(4, 4), np.ones((16, 16), dtype=int))
    image = np.repeat((rows * 15 + 10).astype(np.uint8)[..., None], 3, axis=2)
    config = DataConfig(image_size=size, flip=True, flip_vertical=True, min_scale=0.6, max_scale=1.8, color_jitter=0.0)
    rng = np.random.default_rng(0)
    for _ in range(50):
        augmented, label = augment(image, rows.astype(np.int16), rng, config)
        assert augmented.shape == (*size, 3)
        assert label.shape == size
        inside = np.zeros(size, dtype=bool)  # the 3 x 3 neighbourhood has one label
        inside[1:-1, 1:-1] = True
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                inside &= np.roll(label, (dy, dx), (0, 1)) == label
        shown = np.where(label >= 0, label * 15 + 10, 0)
        assert inside.any()
        assert (np.abs(augmented[..., 0].astype(int) - shown)[inside] <= 1).all()


@pytest.mark.parametrize(
    ("size", "flip", "flip_vertical", "num_poses"),
    [((32, 32), False, False, 1), ((32, 32), True, False, 2), ((32, 32), True, True, 8), ((32, 64), True, True, 4)],
)
def test_poses_that_occur(size: tuple[int, int], flip: bool, flip_vertical: bool, num_poses: int) -> None:
    label = np.arange(size[0] * size[1], dtype=np.int16).reshape(size)
    config = dataclasses.replace(STILL, image_size=size, flip=flip, flip_vertical=flip_vertical)
    rng = np.random.default_rng(0)
    image = np.zeros((*size, 3), dtype=np.uint8)
    poses = {augment(image, label, rng, config)[1].tobytes() for _ in range(100)}
    assert len(poses) == num_poses


def test_zoom_stays_within_its_bounds() -> None:
    label = np.zeros((32, 32), dtype=np.int16)
    config = dataclasses.replace(STILL, min_scale=0.5, max_scale=1.0)
    rng = np.random.default_rng(0)
    filled = [int((augment(np.zeros((32, 32, 3), np.uint8), label, rng, config)[1] == 0).sum()) for _ in range(200)]
    assert 16**2 <= min(filled) < 18**2
    assert 31**2 <= max(filled) <= 32**2


def test_zoomed_in_crop_reaches_every_edge_sometimes() -> None:
    label = np.arange(32 * 32, dtype=np.int16).reshape(32, 32)
    config = dataclasses.replace(STILL, min_scale=2.0, max_scale=2.0)
    rng = np.random.default_rng(0)
    seen = np.concatenate([augment(np.zeros((32, 32, 3), np.uint8), label, rng, config)[1].ravel() for _ in range(300)])
    assert set((seen // 32).tolist()) == set(range(32))
    assert set((seen % 32).tolist()) == set(range(32))


def test_colour_changes_stay_within_their_strength() -> None:
    image = np.full((32, 32, 3), 100, dtype=np.uint8)
    config = dataclasses.replace(STILL, color_jitter=0.2)
    rng = np.random.default_rng(0)
    label = np.zeros((32, 32), dtype=np.int16)
    values = np.array([augment(image, label, rng, config)[0][0, 0] for _ in range(500)]).astype(float)
    # Brightness times gain; contrast does not move an even image.
    assert values.min() >= 100 * 0.8 * 0.8 - 1
    assert values.max() <= 100 * 1.2 * 1.2 + 1
    assert values.std(axis=0).min() > 10  # a uniform of half-width 20 alone has 11.5
    assert np.ptp(values, axis=1).max() > 10  # channels change apart from each other
