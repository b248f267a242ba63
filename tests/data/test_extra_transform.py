"""A user's torchvision transform behind ours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from edgeseg.data.extra_transform import apply_extra
from edgeseg.data.segment_table import label_rows
from edgeseg.structures import InputError

ROWS = np.kron(np.array([[0, 1], [2, -1]], dtype=np.int16), np.ones((16, 16), dtype=np.int16))
CATEGORIES = np.array([4, 4, 7])
IMAGE = np.repeat((ROWS * 60 + 70).astype(np.uint8)[None], 3, axis=0)  # 10 where ignored, 70, 130, 190


@pytest.mark.parametrize(
    "extra",
    [
        v2.RandomRotation(40),
        v2.RandomAffine(20, translate=(0.3, 0.3), shear=20),
        v2.RandomPerspective(0.6, p=1.0),
        v2.RandomHorizontalFlip(p=1.0),
        v2.ElasticTransform(alpha=30.0),
        v2.RandomZoomOut(p=1.0, side_range=(1.5, 2.0)),
    ],
    ids=lambda extra: type(extra).__name__,
)
def test_what_torchvision_fills_in_is_ignored_and_the_rest_stays_aligned(extra: v2.Transform) -> None:
    """Nearest in the mask, bilinear in the photo: levels agree up to the blend at the borders."""
    fitted = v2.Compose([extra, v2.Resize((32, 32))]) if isinstance(extra, v2.RandomZoomOut) else extra
    view, table = apply_extra(fitted, IMAGE, ROWS, CATEGORIES, seed=1)
    rows, categories = label_rows(view.panoptic_map, table, name="a")
    assert categories.tolist() == CATEGORIES.tolist()
    near = np.abs(view.image[0].astype(int) - (rows * 60 + 70)) <= 12
    filled = (rows == -1) & (view.image[0] == 0)
    assert (near | filled).mean() > 0.75
    for row in range(3):
        assert near[rows == row].mean() > 0.5


def test_color_leaves_the_label_alone() -> None:
    view, _ = apply_extra(v2.ColorJitter(0.5, 0.5, 0.5, 0.2), IMAGE, ROWS, CATEGORIES, seed=1)
    assert np.array_equal(view.panoptic_map, ROWS + 1)
    assert not np.array_equal(view.image, IMAGE)


def test_seed_decides_and_the_callers_stream_is_left_alone() -> None:
    extra = v2.RandomRotation(90)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    maps = [apply_extra(extra, IMAGE, ROWS, CATEGORIES, seed=seed)[0].panoptic_map for seed in (1, 1, 2)]
    assert np.array_equal(maps[0], maps[1])
    assert not np.array_equal(maps[0], maps[2])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (v2.Resize((16, 16)), r"turned the image into \(3, 16, 16\) torch.uint8; it must stay \(3, 32, 32\)"),
        (v2.ToDtype(torch.float32), r"turned the image into \(3, 32, 32\) torch.float32"),
        (
            lambda image, mask: (image, tv_tensors.Mask(mask + 1)),
            r"made labels 1 \.\. 4 out of 0 \.\. 3; masks are moved, never blended",
        ),
    ],
)
def test_transform_that_breaks_the_contract_is_refused_in_one_line(extra: v2.Transform, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        apply_extra(extra, IMAGE, ROWS, CATEGORIES, seed=0)
    assert "\n" not in str(caught.value)
