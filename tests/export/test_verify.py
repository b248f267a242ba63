from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeseg.config import MergeConfig
from edgeseg.export.bundle import Verdict
from edgeseg.export.golden import Golden, read_golden, write_golden
from edgeseg.export.verify import check, compare, equal_pixels
from edgeseg.structures import CheckError, Merged

WANTED = Merged(
    np.array([[0, 0], [1, 255]], np.uint8), np.array([3, 4, -1], np.int32), np.array([0.9, 0.8, 0], np.float32)
)


def verdict(pixels_equal: float, lower_quartile: float | None = None) -> Verdict:
    quartile = pixels_equal if lower_quartile is None else lower_quartile
    return Verdict(pixels_equal, 1.0, 1, 2, mask_logits_max_abs=None, engine="an engine", lower_quartile=quartile)


def test_pixel_counts_as_equal_only_in_the_matching_segment_of_the_same_category() -> None:
    other = Merged(np.array([[0, 1], [1, 255]], np.uint8), np.array([3, 5, -1], np.int32), WANTED.slot_score)
    assert equal_pixels(other, WANTED).tolist() == [[True, False], [False, True]]


def test_map_of_another_size_is_refused() -> None:
    with pytest.raises(CheckError, match=r"\(1, 2\)"):
        equal_pixels(WANTED._replace(slot_map=np.zeros((1, 2), np.uint8)), WANTED)


@pytest.mark.parametrize(
    "precision, share, passes",
    [
        ("float32", 0.9990, True),
        ("float32", 0.9989, False),
        ("int8", 0.9900, True),
        ("int8", 0.9899, False),
        ("ternary", 0.9899, False),
        ("float32", float("nan"), False),
    ],
)
def test_artifact_below_its_floor_is_refused(precision: str, share: float, passes: bool) -> None:
    if passes:
        check(verdict(share), file="a.onnx", precision=precision)
    else:
        with pytest.raises(CheckError, match=r"a\.onnx differs from the torch model"):
            check(verdict(share), file="a.onnx", precision=precision)


def test_one_tipped_image_does_not_fail_a_quantized_file_and_fails_a_float_one() -> None:
    """Seven images at 0.995 and one at 0.75: mean 0.964, lower quartile 0.995."""
    tipped = verdict(0.964, lower_quartile=0.995)
    check(tipped, file="a.onnx", precision="int8")
    with pytest.raises(CheckError, match=r"0\.9640"):
        check(tipped, file="a.onnx", precision="float32")
    with pytest.raises(CheckError, match="lower quartile of 1 golden"):
        check(verdict(0.995, lower_quartile=0.98), file="a.onnx", precision="int8")


def test_slots_that_swap_their_numbers_show_the_same_picture() -> None:
    other = Merged(np.array([[2, 2], [0, 255]], np.uint8), np.array([4, -1, 3], np.int32), WANTED.slot_score)
    assert equal_pixels(other, WANTED).all()
    one_category = other._replace(slot_category=np.array([3, -1, 3], np.int32))
    assert equal_pixels(one_category, WANTED).tolist() == [[True, True], [False, True]]


def test_a_segment_in_two_pieces_matches_with_the_larger_one() -> None:
    other = Merged(np.array([[0, 1, 1, 1]], np.uint8), np.array([3, 3], np.int32), np.ones(2, np.float32))
    wanted = Merged(np.array([[0, 0, 0, 0]], np.uint8), np.array([3, -1], np.int32), np.ones(2, np.float32))
    assert equal_pixels(other, wanted).tolist() == [[False, True, True, True]]


def test_comparison_counts_pixels_and_segments_over_all_images() -> None:
    """Image 1 is answered rightly; on image 2 one of four pixels and one of two segments are wrong."""
    image = np.zeros((2, 2, 3), np.uint8)
    wrong = Merged(np.array([[0, 0], [2, 255]], np.uint8), np.array([3, -1, 5], np.int32), WANTED.slot_score)
    answers = iter([WANTED, wrong])

    def predict(batch: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        assert batch.shape == (1, 2, 2, 3)
        return {name: value[None] for name, value in next(answers)._asdict().items()}

    goldens = [Golden(image, WANTED, None, None)] * 2
    result = compare(predict, goldens, config=MergeConfig(), is_thing=[True] * 5, engine="x")
    assert result.pixels_equal == 7 / 8
    assert result.lower_quartile == 3 / 4 + 1 / 16  # a quarter of the way from 3/4 to 1
    assert result.segments_found == 3 / 4
    assert (result.num_images, result.num_segments) == (2, 4)


def test_artifact_without_merge_is_merged_before_it_is_compared() -> None:
    class_logits = np.array([[9, -9], [9, -9]], np.float32)
    mask_logits = np.array([[[1, 0]], [[0, 1]]], np.float32)
    config = MergeConfig(upsample=1, min_area=0)
    merged = Merged(np.array([[0, 1]], np.uint8), np.array([0, 0], np.int32), np.ones(2, np.float32))
    golden = Golden(np.zeros((4, 8, 3), np.uint8), merged, mask_logits, class_logits)

    def predict(batch: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        return {"mask_logits": mask_logits[None] + 0.25, "class_logits": class_logits[None]}

    result = compare(predict, [golden], config=config, is_thing=[True], engine="x")
    assert result.pixels_equal == 1
    assert result.mask_logits_max_abs == 0.25


def test_golden_vectors_read_back_per_precision(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (4, 6, 3), dtype=np.uint8) for _ in range(2)]
    mask_logits, class_logits = np.ones((3, 1, 2), np.float32), np.zeros((3, 2), np.float32)
    write_golden(tmp_path, "float32", [Golden(image, WANTED, mask_logits, class_logits) for image in images])
    write_golden(tmp_path, "int8", [Golden(images[0], WANTED, mask_logits, class_logits)])
    back = read_golden(tmp_path, "float32")
    assert len(back) == 2
    assert len(read_golden(tmp_path, "int8")) == 1
    for golden, image in zip(back, images, strict=True):
        np.testing.assert_array_equal(golden.image, image)
        np.testing.assert_array_equal(golden.merged.slot_map, WANTED.slot_map)
    np.testing.assert_array_equal(back[0].mask_logits, mask_logits)
    assert back[1].mask_logits is None
