"""Geometry between photo and network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseg.data.transforms import fitted_size, letterbox, unletterbox_map

SIZES = st.tuples(st.integers(1, 400), st.integers(1, 400))


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
