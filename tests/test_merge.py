"""The panoptic merge against docs/merge.md, read pixel by pixel."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeseg.config import MergeConfig
from edgeseg.enlarged_argmax import enlarged_argmax
from edgeseg.merge import merge_slots, merged_to_segments, upsample_bilinear
from edgeseg.structures import Category, Merged

OPEN = MergeConfig(thing_threshold=0.0, stuff_threshold=0.0, min_area=0, upsample=1)
"""Keeps every slot that has a pixel."""

CAR, DOG, ROAD = (
    Category(3, "car", True, (1, 1, 1)),
    Category(8, "dog", True, (2, 2, 2)),
    Category(21, "road", False, (3, 3, 3)),
)


def plain_merge(
    class_logits: NDArray[np.float32], mask_logits: NDArray[np.float32], config: MergeConfig, is_thing: list[bool]
) -> Merged:
    """docs/merge.md word by word: torch for softmax and enlargement, loops for the rest."""
    probability = torch.softmax(torch.from_numpy(class_logits), dim=1).numpy()
    num_slots = len(class_logits)
    category, score, kept = [-1] * num_slots, [0.0] * num_slots, []
    for n in range(num_slots):
        real = probability[n, :-1].tolist()
        category[n] = real.index(max(real))
        score[n] = max(real)
        threshold = config.thing_threshold if is_thing[category[n]] else config.stuff_threshold
        if np.float32(score[n]) >= np.float32(threshold):
            kept.append(n)
    big = torch.nn.functional.interpolate(
        torch.from_numpy(mask_logits)[None], scale_factor=config.upsample, mode="bilinear", align_corners=False
    )[0].tolist()
    height, width = mask_logits.shape[1] * config.upsample, mask_logits.shape[2] * config.upsample
    slot_map = np.full((height, width), 255, dtype=np.uint8)
    for y in range(height):
        for x in range(width):
            for n in kept:
                if slot_map[y, x] == 255 or big[n][y][x] > big[slot_map[y, x]][y][x]:
                    slot_map[y, x] = n
    for n in range(num_slots):
        area = int((slot_map == n).sum())
        if area == 0 or area * (4 / config.upsample) ** 2 < config.min_area:
            slot_map[slot_map == n] = 255
            category[n], score[n] = -1, 0.0
    return Merged(slot_map, np.array(category, dtype=np.int32), np.array(score, dtype=np.float32))


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_slots=st.integers(1, 6),
    upsample=st.sampled_from([1, 2, 4]),
    min_area=st.sampled_from([0, 1, 16, 17, 64]),
    threshold=st.sampled_from([0.0, 0.3, 0.5, 0.9]),
)
def test_random_slots_equal_the_rule_read_aloud(
    seed: int, num_slots: int, upsample: Literal[1, 2, 4], min_area: int, threshold: float
) -> None:
    rng = np.random.default_rng(seed)
    class_logits = rng.integers(-3, 4, (num_slots, 4)).astype(np.float32)
    # Few values, so that ties are common; the weights of the enlargement are eighths, so that they stay ties.
    mask_logits = rng.integers(-2, 3, (num_slots, 3, 5)).astype(np.float32)
    config = MergeConfig(threshold, threshold / 2, min_area, upsample)
    is_thing = [True, False, True]
    merged = merge_slots(class_logits, mask_logits, config=config, is_thing=is_thing)
    expected = plain_merge(class_logits, mask_logits, config, is_thing)
    assert np.array_equal(merged.slot_map, expected.slot_map)
    assert np.array_equal(merged.slot_category, expected.slot_category)
    assert merged.slot_score == pytest.approx(expected.slot_score, abs=1e-6)
    assert [a.dtype for a in merged] == [np.uint8, np.int32, np.float32]


def dense_argmax(logits: NDArray[np.float32], slots: NDArray[np.int64], factor: int) -> NDArray[np.uint8]:
    """Rule 2 of docs/merge.md: every slot enlarged everywhere."""
    slot_map = np.full((logits.shape[1] * factor, logits.shape[2] * factor), 255, dtype=np.uint8)
    best = np.full(slot_map.shape, -np.inf, dtype=np.float32)
    for slot, logit in zip(slots, logits, strict=True):
        with np.errstate(all="ignore"):
            enlarged = upsample_bilinear(logit, factor)
        slot_map[enlarged > best] = slot
        best = np.fmax(best, enlarged)
    return slot_map


def hard_logits(kind: str, size: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Maps on which a shortcut around the enlargement would fail if it were not exact."""
    noise = rng.normal(size=size)
    one_ulp = np.where(rng.random(size) < 0.5, np.inf, -np.inf).astype(np.float32)
    strange = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, -1e-40], np.float32)
    made = {
        "noise": noise,
        "steps of int8": rng.integers(-2, 3, size) * 0.1,
        "last bits": (1 + rng.integers(0, 3, size) * 2.0**-23) * rng.normal(),
        "neighbours in float32": np.nextafter(np.broadcast_to(noise[:1], size).astype(np.float32), one_ulp),
        "magnitudes": noise * np.exp(20 * rng.normal(size=(size[0], 1, 1))),
        "no numbers": np.where(rng.random(size) < 0.2, rng.choice(strange, size), noise),
        "segments": np.cumsum(np.cumsum(noise, axis=1), axis=2),
    }
    return made[kind].astype(np.float32)


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(
        ["noise", "steps of int8", "last bits", "neighbours in float32", "magnitudes", "no numbers", "segments"]
    ),
    size=st.tuples(st.integers(0, 9), st.integers(1, 12), st.integers(1, 12)),
    factor=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 2**32 - 1),
)
def test_enlarging_borders_only_equals_enlarging_everything_bit_by_bit(
    kind: str, size: tuple[int, int, int], factor: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    logits = hard_logits(kind, size, rng) if size[0] else np.empty(size, np.float32)
    slots = np.sort(rng.choice(254, size[0], replace=False))
    assert np.array_equal(enlarged_argmax(logits, slots, factor), dense_argmax(logits, slots, factor))


def test_a_slot_that_wins_only_between_pixels_is_found() -> None:
    """Two slots fall off against each other; the third, second at both pixels, is on top between them."""
    logits = np.array([[[4.0, 0.0]], [[0.0, 4.0]], [[3.0, 3.0]]], dtype=np.float32)
    assert enlarged_argmax(logits, np.arange(3), 4).tolist() == 4 * [[0, 0, 0, 2, 2, 1, 1, 1]]


def test_more_open_cells_than_are_taken_at_a_time() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 70, 60)).astype(np.float32)
    assert np.array_equal(enlarged_argmax(logits, np.arange(3), 2), dense_argmax(logits, np.arange(3), 2))


@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3), (16, 24)])
def test_enlargement_equals_torch(factor: int, size: tuple[int, int]) -> None:
    logits = np.random.default_rng(0).normal(size=(3, *size)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None], scale_factor=factor, mode="bilinear", align_corners=False
    )[0]
    assert np.abs(upsample_bilinear(logits, factor) - expected.numpy()).max() <= 1e-6


def test_score_at_the_threshold_is_kept_and_below_is_not() -> None:
    class_logits = np.zeros((1, 2), dtype=np.float32)  # softmax is exactly 0.5
    mask_logits = np.zeros((1, 2, 2), dtype=np.float32)
    at = dataclasses.replace(OPEN, thing_threshold=0.5)
    above = dataclasses.replace(OPEN, thing_threshold=float(np.nextafter(np.float32(0.5), np.float32(1))))
    assert merge_slots(class_logits, mask_logits, config=at, is_thing=[True]).slot_category.tolist() == [0]
    merged = merge_slots(class_logits, mask_logits, config=above, is_thing=[True])
    assert (merged.slot_category.tolist(), merged.slot_score.tolist()) == ([-1], [0.0])
    assert (merged.slot_map == 255).all()


def test_things_and_stuff_have_thresholds_of_their_own() -> None:
    class_logits = np.zeros((2, 3), dtype=np.float32)
    class_logits[0, 0] = class_logits[1, 1] = 0.5  # both 0.45 sure
    mask_logits = np.array([[[1.0, 0.0]], [[0.0, 1.0]]], dtype=np.float32)
    config = dataclasses.replace(OPEN, thing_threshold=0.5, stuff_threshold=0.3)
    merged = merge_slots(class_logits, mask_logits, config=config, is_thing=[True, False])
    assert merged.slot_category.tolist() == [-1, 1]
    assert merged.slot_map.tolist() == [[1, 1]]  # the slot that was not kept wins no pixel


def test_ties_go_to_the_lowest_slot_and_the_lowest_category() -> None:
    merged = merge_slots(
        np.zeros((3, 4), np.float32), np.zeros((3, 2, 2), np.float32), config=OPEN, is_thing=[True] * 3
    )
    assert (merged.slot_map == 0).all()
    assert merged.slot_category.tolist() == [0, -1, -1]


def test_all_void_gives_an_empty_map() -> None:
    class_logits = np.tile(np.array([0, 0, 20], dtype=np.float32), (5, 1))
    merged = merge_slots(class_logits, np.ones((5, 3, 3), np.float32), config=MergeConfig(), is_thing=[True, False])
    assert merged.slot_map.shape == (6, 6)
    assert (merged.slot_map == 255).all()
    assert (merged.slot_category == -1).all()
    assert (merged.slot_score == 0).all()


def test_no_slots_give_an_empty_map() -> None:
    merged = merge_slots(
        np.zeros((0, 3), np.float32), np.zeros((0, 2, 3), np.float32), config=OPEN, is_thing=[True] * 2
    )
    assert (merged.slot_map == 255).all()
    assert merged.slot_category.shape == (0,)


def test_254_slots_fit_beside_void_and_255_do_not() -> None:
    mask_logits = np.eye(254, dtype=np.float32).reshape(254, 1, 254)
    merged = merge_slots(np.zeros((254, 2), np.float32), mask_logits, config=OPEN, is_thing=[True])
    assert merged.slot_map.tolist() == [list(range(254))]
    with pytest.raises(ValueError, match="at most 254 slots"):
        merge_slots(np.zeros((255, 2), np.float32), np.zeros((255, 1, 1), np.float32), config=OPEN, is_thing=[True])


@pytest.mark.parametrize(("upsample", "pixels"), [(1, 1), (2, 4), (4, 16)])
@pytest.mark.parametrize(("min_area", "is_kept"), [(16, True), (17, False)])
def test_min_area_counts_pixels_of_the_input_at_every_enlargement(
    upsample: Literal[1, 2, 4], pixels: int, min_area: int, is_kept: bool
) -> None:
    # Slot 1 holds the right one of two logits; the border lies in the middle at every enlargement.
    mask_logits = np.array([[[1.0, -1.0]], [[-1.0, 1.0]]], dtype=np.float32)
    config = dataclasses.replace(OPEN, min_area=min_area, upsample=upsample)
    merged = merge_slots(np.zeros((2, 2), np.float32), mask_logits, config=config, is_thing=[True])
    assert merged.slot_category.tolist() == ([0, 0] if is_kept else [-1, -1])
    assert (merged.slot_map == 1).sum() == (pixels if is_kept else 0)


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        merge_slots(np.zeros((2, 3), np.float32), np.zeros((2, 1, 1), np.float32), config=OPEN, is_thing=[True])
    with pytest.raises(ValueError, match="do not fit"):
        merge_slots(np.zeros((2, 2), np.float32), np.zeros((3, 1, 1), np.float32), config=OPEN, is_thing=[True])


def test_stuff_slots_of_a_category_are_one_segment_and_things_are_not() -> None:
    slot_map = np.array([[0, 0, 1, 255], [2, 2, 4, 4]], dtype=np.uint8)
    merged = Merged(
        slot_map, np.array([2, 0, 0, 1, 2], dtype=np.int32), np.array([0.5, 0.9, 0.8, 0.7, 0.75], dtype=np.float32)
    )
    panoptic_map, segments = merged_to_segments(merged, slot_map, (CAR, DOG, ROAD))
    assert panoptic_map.dtype == np.int32
    assert panoptic_map.tolist() == [[1, 1, 2, 0], [3, 3, 1, 1]]
    rows = [(s.id, s.category_id, s.area, s.bbox, s.score) for s in segments]
    assert rows == [
        (1, 21, 4, (0, 0, 4, 2), 0.75),
        (2, 3, 1, (2, 0, 1, 1), pytest.approx(0.9)),
        (3, 3, 2, (0, 1, 2, 1), pytest.approx(0.8)),
    ]


def test_map_without_segments_gives_an_empty_table() -> None:
    slot_map = np.full((2, 2), 255, dtype=np.uint8)
    panoptic_map, segments = merged_to_segments(
        Merged(slot_map, np.array([-1], dtype=np.int32), np.zeros(1, dtype=np.float32)), slot_map, (CAR,)
    )
    assert (panoptic_map == 0).all()
    assert segments == ()
