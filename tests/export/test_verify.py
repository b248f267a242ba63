from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeseg.config import MergeConfig
from edgeseg.export.bundle import Verdict
from edgeseg.export.golden import Golden
from edgeseg.export.verify import TIE_TOLERANCE, compare, equal_pixels, faults, tied_pixels
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
    assert (faults(verdict(share), precision) == []) == passes


def test_one_tipped_image_does_not_fail_a_quantized_file_and_fails_a_float_one() -> None:
    """Seven images at 0.995 and one at 0.75: mean 0.964, lower quartile 0.995."""
    tipped = verdict(0.964, lower_quartile=0.995)
    assert faults(tipped, "int8") == []
    assert "0.9640 of the pixels are equal or tied on 1 golden" in faults(tipped, "float32")[0]
    assert "lower quartile of 1 golden" in faults(verdict(0.995, lower_quartile=0.98), "int8")[0]


@pytest.mark.parametrize(
    "precision, change, wanted",
    [
        ("float32", {"mask_logits_max_abs": 1.9e-4}, ""),
        ("float32", {"mask_logits_max_abs": 2.1e-4}, "mask logits differ by 0.00021"),
        ("int8", {"mask_logits_max_abs": 3.0}, ""),
        ("int8", {"mask_logits_ratio": 1.09}, ""),
        ("int8", {"mask_logits_ratio": 2.0}, "mask logits are 2.00 times torch's"),
        ("int8", {"mask_logits_ratio": float("nan")}, "mask logits are nan times"),
        ("float32", {"scores_median_abs": 9e-4}, ""),
        ("float32", {"scores_median_abs": 2e-3}, "scores differ by 0.002"),
        ("int8", {"scores_median_abs": 0.04}, ""),
        ("int8", {"scores_median_abs": 0.06}, "scores differ by 0.06"),
    ],
)
def test_equal_maps_do_not_excuse_logits_and_scores(precision: str, change: dict[str, float], wanted: str) -> None:
    found = faults(replace(verdict(1.0), **change), precision)  # type: ignore[arg-type]
    assert len(found) == bool(wanted)
    assert wanted in "".join(found)


def tied_golden(gap: float) -> Golden:
    """Three slots on five pixels; on the middle one, slot 0 leads slot 1 by `gap` and slot 2 by 1."""
    mask_logits = np.array([[[1, 1, gap, 0, 0]], [[0, 0, 0, 1, 1]], [[0, 0, gap - 1, 0, 0]]], np.float32)
    merged = Merged(np.array([[0, 0, 0, 1, 1]], np.uint8), np.array([3, 3, 3], np.int32), np.ones(3, np.float32))
    return Golden(np.zeros((4, 20, 3), np.uint8), merged, mask_logits, np.zeros((3, 5), np.float32))


@pytest.mark.parametrize(
    "shown, gap, wanted",
    [
        (1, TIE_TOLERANCE / 2, True),  # torch was undecided between 0 and 1
        (1, TIE_TOLERANCE * 2, False),
        (2, TIE_TOLERANCE / 2, False),  # torch was undecided, but not about this one
        (255, TIE_TOLERANCE / 2, False),  # void is no slot
        (0, TIE_TOLERANCE / 2, False),  # equal
    ],
)
def test_a_tie_excuses_the_slot_that_torch_nearly_chose(shown: int, gap: float, wanted: bool) -> None:
    golden = tied_golden(gap)
    merged = golden.merged._replace(slot_map=np.array([[0, 0, shown, 1, 1]], np.uint8))
    tied = tied_pixels(merged, golden, config=MergeConfig(upsample=1))
    assert tied.tolist() == [[False, False, wanted, False, False]]
    renamed = merged._replace(slot_category=np.array([3, 2, 2], np.int32))
    assert not tied_pixels(renamed, golden, config=MergeConfig(upsample=1)).any()  # another category is no tie
    without = replace(golden, mask_logits=None)
    assert not tied_pixels(merged, without, config=MergeConfig(upsample=1)).any()


def test_tied_pixels_count_towards_the_floor_and_are_told_apart() -> None:
    """One of five pixels differs by a tie: equal 4/5, tied 1/5, judged 1."""
    golden = tied_golden(TIE_TOLERANCE / 2)
    other = golden.merged._replace(slot_map=np.array([[0, 0, 1, 1, 1]], np.uint8))

    def predict(batch: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        return {name: value[None] for name, value in other._asdict().items()}

    result = compare(predict, [golden], config=MergeConfig(upsample=1), is_thing=[True] * 4, engine="x")
    assert (result.pixels_equal, result.pixels_tied) == (0.8, 0.2)
    assert result.lower_quartile == 1
    assert faults(result, "float32") == []


def test_scores_are_compared_between_segments_that_match() -> None:
    """Slots 0 and 1 swap their numbers; the scores of the matching ones are 0.25 and 0.05 off."""
    other = Merged(np.array([[1, 1], [0, 255]], np.uint8), np.array([4, 3, -1], np.int32), np.array([0.85, 0.65, 0]))
    golden = Golden(np.zeros((2, 2, 3), np.uint8), WANTED, None, None)

    def predict(batch: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        return {name: value[None] for name, value in other._asdict().items()}

    result = compare(predict, [golden], config=MergeConfig(), is_thing=[True] * 5, engine="x")
    assert result.pixels_equal == 1
    assert result.scores_median_abs == pytest.approx(0.15)  # between the two


@pytest.mark.parametrize(
    "name, shape", [("slot_map", (1, 2, 3)), ("slot_category", (1, 4)), ("slot_score", (3,)), ("slot_map", (2, 2))]
)
def test_outputs_of_another_shape_are_refused_by_name(name: str, shape: tuple[int, ...]) -> None:
    outputs = {key: value[None] for key, value in WANTED._asdict().items()} | {name: np.zeros(shape, np.uint8)}
    golden = Golden(np.zeros((2, 2, 3), np.uint8), WANTED, None, None)
    with pytest.raises(CheckError, match=name):
        compare(lambda image: outputs, [golden], config=MergeConfig(), is_thing=[True] * 5, engine="x")


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
