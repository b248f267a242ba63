from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeseg.config import MergeConfig
from edgeseg.export.bundle import Bundle, GoldenFiles
from edgeseg.export.golden import Golden, read_golden, write_golden
from edgeseg.structures import Category, Merged

MASKS, CLASSES = np.ones((3, 1, 2), np.float32), np.zeros((3, 2), np.float32)


def golden(seed: int, slot: int) -> Golden:
    image = np.random.default_rng(seed).integers(0, 256, (4, 8, 3), dtype=np.uint8)
    merged = Merged(np.full((1, 2), slot, np.uint8), np.array([-1, 0, 0], np.int32), np.ones(3, np.float32))
    return Golden(image, merged, MASKS, CLASSES)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Two images; torch's float network answers slot 1, its int8 network slot 2."""
    answers = {"float32": [golden(0, 1), golden(1, 1)], "int8": [golden(0, 2), golden(1, 2)]}
    return Bundle(
        path=tmp_path,
        name="x",
        image_size=(4, 8),
        num_slots=3,
        categories=(Category(1, "car", True, (0, 0, 0)),),
        merge=MergeConfig(),
        config={},
        metrics={},
        tools={},
        licence="CC0-1.0",
        artifacts=(),
        goldens=write_golden(tmp_path, answers),
    )


def test_answers_read_back_per_precision(bundle: Bundle) -> None:
    for precision, slot in (("float32", 1), ("int8", 2)):
        back = read_golden(bundle, precision)
        for index, found in enumerate(back):
            np.testing.assert_array_equal(found.image, golden(index, slot).image)
            assert found.merged.slot_map.tolist() == [[slot, slot]]
        assert len(back) == 2
    assert read_golden(bundle, "int4") == []


def test_an_image_is_written_once_and_logits_are_kept_of_the_first(bundle: Bundle) -> None:
    assert bundle.goldens == (
        GoldenFiles("golden/000.png", {"float32": "golden/000.float32.npz", "int8": "golden/000.int8.npz"}),
        GoldenFiles("golden/001.png", {"float32": "golden/001.float32.npz", "int8": "golden/001.int8.npz"}),
    )
    assert len(list((bundle.path / "golden").iterdir())) == 6
    first, second = read_golden(bundle, "int8")
    np.testing.assert_array_equal(first.mask_logits, MASKS)  # type: ignore[arg-type]
    assert second.mask_logits is None


def test_files_are_found_by_the_description_and_not_by_their_names(bundle: Bundle) -> None:
    (bundle.path / "golden/000.png").rename(bundle.path / "photo.png")
    (bundle.path / "golden/000.int8.npz").rename(bundle.path / "torch.npz")
    Image.new("RGB", (8, 4)).save(bundle.path / "golden/000.png")  # not listed, not read
    renamed = Bundle(**{**vars(bundle), "goldens": (GoldenFiles("photo.png", {"int8": "torch.npz"}),)})
    (found,) = read_golden(renamed, "int8")
    np.testing.assert_array_equal(found.image, golden(0, 2).image)
