"""Random geometry and colour: photo and label are painted with the same ids, so that one can be read off the other."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from edgeseg.config import DataConfig
from edgeseg.data.augment import View, augment, check_augmentation, draw_look
from edgeseg.data.photo import LabelledPhoto
from edgeseg.data.transforms import letterbox
from edgeseg.structures import InputError

STILL = DataConfig(image_size=(32, 32), flip=False, min_scale=1.0, max_scale=1.0, color_jitter=0.0)
"""Augmentation with everything switched off."""

SIDES = st.integers(1, 90)


def configs(sides: st.SearchStrategy[int], scales: st.SearchStrategy[float]) -> st.SearchStrategy[DataConfig]:
    return st.builds(
        lambda size, zooms, flip, flip_vertical: DataConfig(
            image_size=size, min_scale=min(zooms), max_scale=max(zooms), flip=flip, flip_vertical=flip_vertical
        ),
        st.tuples(sides, sides),
        st.tuples(scales, scales),
        st.booleans(),
        st.booleans(),
    )


BLOCK = 8
"""Pixels of a painted block; the zooms below leave at least one of them, so that no block falls between two samples."""

PAINTED = hnp.arrays(np.int32, st.tuples(*[st.integers(1, 6)] * 2), elements=st.integers(1, 12).map(lambda n: 20 * n))
"""Ids of the blocks, 20 .. 240."""


def paint(blocks: NDArray[np.int32]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """A photo whose red level is its segment's id; green is 255 wherever there is photo."""
    ids = np.kron(blocks, np.ones((BLOCK, BLOCK), dtype=np.int32))
    return np.stack([ids, np.full_like(ids, 255), np.zeros_like(ids)], axis=2).astype(np.uint8), ids


def inner(values: NDArray[np.int32], radius: int) -> NDArray[np.bool_]:
    """Pixels around which one value fills a square of this radius inside the picture.

    Its edge counts as a border: the crop may leave a sliver of a segment there that the filter sees and no pixel of the
    label shows.
    """
    square = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    levels = np.pad(values.astype(np.float32), radius, constant_values=-1)
    same: NDArray[np.bool_] = cv2.erode(levels, square) == cv2.dilate(levels, square)
    return same[radius:-radius, radius:-radius]


def assert_aligned(view: View, *, growth: float) -> None:
    """Out of a filter's reach of a border the red level is the segment's id; in the padding everything is 0."""
    inside = inner(view.panoptic_map, 2 + int(np.ceil(growth)))
    assert (np.abs(view.image[0].astype(int) - view.panoptic_map)[inside] <= 1).all()
    shown = view.image[1] > 0
    assert np.array_equal(view.panoptic_map > 0, shown)
    assert not view.image[:, ~shown].any()


@settings(max_examples=150, deadline=None)
@given(PAINTED, configs(st.integers(16, 90), st.floats(0.4, 3.0)), st.integers(0, 2**32 - 1))
def test_photo_and_label_move_together(blocks: NDArray[np.int32], config: DataConfig, seed: int) -> None:
    sample = paint(blocks)
    view = augment(*sample, np.random.default_rng(seed), dataclasses.replace(config, color_jitter=0.0))
    assert (view.image.shape, view.image.dtype) == ((3, *config.image_size), np.uint8)
    assert (view.panoptic_map.shape, view.panoptic_map.dtype) == (config.image_size, np.int32)
    fit = min(size / side for size, side in zip(config.image_size, sample[1].shape, strict=True))
    assert_aligned(view, growth=max(1.0, config.max_scale * fit))


@settings(max_examples=50, deadline=None)
@given(PAINTED, configs(SIDES, st.floats(0.05, 4.0)), st.integers(0, 2**32 - 1))
def test_colour_moves_nothing_and_leaves_the_padding_black(
    blocks: NDArray[np.int32], config: DataConfig, seed: int
) -> None:
    sample = paint(blocks)
    plain, colored = (
        augment(*sample, np.random.default_rng(seed), dataclasses.replace(config, flip=False, flip_vertical=False, **c))
        for c in ({"color_jitter": 0.0}, {"color_jitter": 0.5})
    )
    assert np.array_equal(plain.panoptic_map, colored.panoptic_map)
    assert not colored.image[:, colored.panoptic_map == 0].any()


@settings(max_examples=100, deadline=None)
@given(st.tuples(SIDES, SIDES), configs(SIDES, st.floats(0.05, 4.0)), st.integers(0, 2**32 - 1))
def test_padding_is_right_and_below_in_every_pose(original: tuple[int, int], config: DataConfig, seed: int) -> None:
    image, label = np.full((*original, 3), 255, np.uint8), np.ones(original, np.int32)
    view = augment(image, label, np.random.default_rng(seed), dataclasses.replace(config, color_jitter=0.0))
    height, width = (int(np.flatnonzero(view.panoptic_map.any(axis=axis)).max()) + 1 for axis in (1, 0))
    assert (view.panoptic_map[:height, :width] == 1).all()
    assert view.panoptic_map.sum() == height * width
    assert np.array_equal(view.image, np.broadcast_to(view.panoptic_map * 255, view.image.shape))


@pytest.mark.parametrize("original", [(48, 96), (16, 32), (32, 32)])
def test_augmentation_with_everything_off_is_the_letterbox(original: tuple[int, int]) -> None:
    """At whole factors and on a slope, where every filter that averages gives the same up to rounding."""
    slope = np.add.outer(np.arange(original[0]), np.arange(original[1]))
    image = np.repeat((slope + 20).astype(np.uint8)[..., None], 3, axis=2)
    view = augment(image, np.ones(original, np.int32), np.random.default_rng(1), STILL)
    expected, (height, width) = letterbox(image, (32, 32))
    difference = np.abs(view.image.transpose(1, 2, 0).astype(int) - expected)
    assert difference[1 : height - 1, 1 : width - 1].max(initial=0) <= 1
    assert not view.image[:, height:].any()
    assert (view.panoptic_map[:height, :width] == 1).all()
    assert not view.panoptic_map[height:].any()


def test_shrinking_averages() -> None:
    stripes = np.zeros((96, 96, 3), dtype=np.uint8)
    stripes[::3] = 210
    shrunk = augment(stripes, np.ones((96, 96), np.int32), np.random.default_rng(0), STILL).image
    assert (np.abs(shrunk[:, 1:-1].astype(int) - 70) <= 1).all()  # one row of three; a sample would see 0 or 210


@pytest.mark.parametrize(("zoom", "reduction"), [(1.0, 1), (0.34, 1), (0.33, 2), (0.17, 2), (0.16, 4), (0.08, 8)])
def test_photo_is_reduced_where_it_still_shrinks_by_half_as_much_again(zoom: float, reduction: int) -> None:
    config = DataConfig(image_size=(600, 600), min_scale=zoom, max_scale=zoom)
    look = draw_look((600, 600), np.random.default_rng(0), config)
    assert look.reduction == reduction


@pytest.mark.parametrize("size", [(256, 256), (203, 245), (251, 127)])
@pytest.mark.parametrize(("zoom", "window"), [(0.1, 64), (0.19, 64), (0.32, 64), (2.5, 10)])
def test_reduced_photo_shows_the_same_part_as_the_whole(
    size: tuple[int, int], zoom: float, window: int, tmp_path: Path
) -> None:
    """Two ramps of one level a pixel: the mean difference is the shift in pixels of the photo.

    Less than a tenth of a pixel of the view is allowed; parts that start between two squares of the reduction would be
    off by up to 0.6 of one.
    """
    ramps = np.stack([*np.mgrid[: size[0], : size[1]], np.zeros(size)], axis=2).astype(np.uint8)
    Image.fromarray(ramps).save(tmp_path / "a.jpg", quality=98, subsampling=0)
    photo, label = LabelledPhoto(tmp_path / "a.jpg", size), np.ones(size, np.int32)
    config = DataConfig(image_size=(window, window), min_scale=zoom, max_scale=zoom, flip_vertical=True, color_jitter=0)
    for seed in range(12):
        look = draw_look(size, np.random.default_rng(seed), config)
        assert look.reduction > 1
        reduced, full = (augment(p, label, np.random.default_rng(seed), config) for p in (photo, photo.pixels()))
        assert np.array_equal(reduced.panoptic_map, full.panoptic_map)
        difference = (reduced.image.astype(float) - full.image)[:, full.panoptic_map == 1]
        shrinkage = (look.rows.stop - look.rows.start) / look.size[look.is_turned]
        assert np.abs(difference.mean(axis=1)).max() < 0.1 * shrinkage


@pytest.mark.parametrize(
    ("size", "flip", "flip_vertical", "num_poses"),
    [((32, 32), False, False, 1), ((32, 32), True, False, 2), ((32, 32), True, True, 8), ((32, 64), True, True, 4)],
)
def test_poses_that_occur(size: tuple[int, int], flip: bool, flip_vertical: bool, num_poses: int) -> None:
    label = np.arange(size[0] * size[1], dtype=np.int32).reshape(size)
    config = dataclasses.replace(STILL, image_size=size, flip=flip, flip_vertical=flip_vertical)
    rng = np.random.default_rng(0)
    image = np.zeros((*size, 3), dtype=np.uint8)
    poses = {augment(image, label, rng, config).panoptic_map.tobytes() for _ in range(100)}
    assert len(poses) == num_poses


@pytest.mark.parametrize(("relative_zoom", "low", "high"), [(1.0, 16, 32), (0.5, 8, 16)])
def test_zoom_stays_within_its_bounds(relative_zoom: float, low: int, high: int) -> None:
    image, label = np.zeros((32, 32, 3), np.uint8), np.ones((32, 32), dtype=np.int32)
    config = dataclasses.replace(STILL, min_scale=0.5, max_scale=1.0)
    rng = np.random.default_rng(0)
    views = [augment(image, label, rng, config, relative_zoom=relative_zoom) for _ in range(200)]
    filled = [int(view.panoptic_map.sum()) for view in views]
    assert low**2 <= min(filled) < (low + 2) ** 2
    assert (high - 1) ** 2 <= max(filled) <= high**2


def test_zoomed_in_crop_reaches_every_edge_sometimes() -> None:
    label = np.arange(32 * 32, dtype=np.int32).reshape(32, 32)
    config = dataclasses.replace(STILL, min_scale=2.0, max_scale=2.0)
    rng = np.random.default_rng(0)
    image = np.zeros((32, 32, 3), np.uint8)
    seen = np.concatenate([augment(image, label, rng, config).panoptic_map.ravel() for _ in range(300)])
    assert set((seen // 32).tolist()) == set(range(32))
    assert set((seen % 32).tolist()) == set(range(32))


def test_colour_changes_stay_within_their_strength() -> None:
    image = np.full((32, 32, 3), 100, dtype=np.uint8)
    config = dataclasses.replace(STILL, color_jitter=0.2)
    rng = np.random.default_rng(0)
    label = np.zeros((32, 32), dtype=np.int32)
    values = np.array([augment(image, label, rng, config).image[:, 0, 0] for _ in range(500)]).astype(float)
    # Brightness times gain; contrast does not move an even image.
    assert values.min() >= 100 * 0.8 * 0.8 - 1
    assert values.max() <= 100 * 1.2 * 1.2 + 1
    assert values.std(axis=0).min() > 10  # a uniform of half-width 20 alone has 11.5
    assert np.ptp(values, axis=1).max() > 10  # channels change apart from each other


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_scale": 0.0}, "data.min_scale = 0.0 and data.max_scale = 1.0 are no range"),
        ({"min_scale": 2.0}, "data.min_scale = 2.0 and data.max_scale = 1.0 are no range"),
        ({"max_scale": float("inf")}, "are no range of zooms"),
        ({"max_scale": float("nan")}, "are no range of zooms"),
        ({"color_jitter": -0.1}, r"data.color_jitter = -0.1 is outside 0 \.\. 1"),
        ({"copy_paste": 1.5}, r"data.copy_paste = 1.5 is outside 0 \.\. 1"),
        ({"balance": 5.0}, r"data.balance = 5.0 is outside 0 \.\. 1"),
        ({"balance": float("nan")}, "data.balance = nan is outside"),
        ({"image_size": (0, 64)}, r"data.image_size = \[0, 64\] has no pixel"),
    ],
)
def test_numbers_without_a_meaning_are_refused_in_one_line(change: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check_augmentation(dataclasses.replace(STILL, **change))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
