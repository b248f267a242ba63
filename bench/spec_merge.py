"""Merge and self-check cases of apps/spec: logits to slot map by the numpy reference, and slot map against slot map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgeseg.config import MergeConfig
from edgeseg.export.verify import equal_pixels
from edgeseg.merge import merge_slots
from edgeseg.structures import Merged

Upsample = Literal[1, 2, 4]
UPSAMPLES: tuple[Upsample, ...] = (1, 2, 4)

SURE = 8.0
"""Class logit of a slot that is certain of its category."""


@dataclass(frozen=True)
class MergeCase:
    """One set of logits.

    Attributes:
        name: File name part.
        says: What an implementation that fails here gets wrong.
        class_logits: (N, K + 1) float32.
        mask_logits: (N, h, w) float32.
        is_thing: (K,).
        merge: Thresholds and enlargement.
    """

    name: str
    says: str
    class_logits: NDArray[np.float32]
    mask_logits: NDArray[np.float32]
    is_thing: tuple[bool, ...]
    merge: MergeConfig

    def expected(self) -> Merged:
        """The reference's answer."""
        return merge_slots(self.class_logits, self.mask_logits, config=self.merge, is_thing=self.is_thing)


def merge_cases() -> list[MergeCase]:
    """All cases.

    But in `random_floats`, mask logits are multiples of 1/16 below 16: every product and sum of the enlargement is then
    exact in float32, whatever its order, and maps must be equal to the last pixel, ties included.
    """
    rng = np.random.default_rng(8)
    return [*_kept_or_not(rng), *_areas(), *_maps(rng)]


def merge_table(case: MergeCase, keep: Callable[[str, NDArray[np.generic]], dict[str, object]]) -> dict[str, object]:
    """The case as merge.json holds it; `keep` writes an array and gives the reference to it."""
    merged = case.expected()
    return {
        "name": case.name,
        "says": case.says,
        "is_thing": list(case.is_thing),
        "merge": asdict(case.merge),
        "class_logits": keep(f"merge/{case.name}.class_logits", case.class_logits),
        "mask_logits": keep(f"merge/{case.name}.mask_logits", case.mask_logits),
        "slot_map": keep(f"merge/{case.name}.slot_map", merged.slot_map),
        "slot_category": merged.slot_category.tolist(),
        "slot_score": [round(float(score), 6) for score in merged.slot_score],
    }


def check_cases() -> list[dict[str, object]]:
    """An answer, the wanted one and the share of equal pixels (edgeseg.export.verify)."""
    wanted = _merged([[0, 0, 0, 1], [0, 0, 1, 1], [255, 255, 2, 2]], [0, 0, 1])
    tie = _merged([[0, 0, 1, 1], [2, 2, 3, 3]], [0, 0, 1, 1])
    pairs = {
        "equal": (wanted, wanted),
        "slots_swapped": (_merged([[1, 1, 1, 0], [1, 1, 0, 0], [255, 255, 2, 2]], [0, 0, 1]), wanted),
        "other_category": (_merged([[0, 0, 0, 1], [0, 0, 1, 1], [255, 255, 2, 2]], [0, 1, 1]), wanted),
        "border_moved": (_merged([[0, 0, 1, 1], [0, 1, 1, 1], [255, 255, 2, 2]], [0, 0, 1]), wanted),
        "merged_in_one": (_merged([[0, 0, 0, 0], [0, 0, 0, 0], [255, 255, 2, 2]], [0, -1, 1]), wanted),
        "void_filled": (_merged([[0, 0, 0, 1], [0, 0, 1, 1], [2, 2, 2, 2]], [0, 0, 1]), wanted),
        "nothing_found": (_merged([[255] * 4] * 3, [-1, -1, -1]), wanted),
        "halves": (_merged([[0, 0, 0, 0], [2, 2, 2, 2]], [0, -1, 1, -1]), tie),
    }
    return [
        {
            "name": name,
            "slot_map": got.slot_map.tolist(),
            "slot_category": got.slot_category.tolist(),
            "wanted_slot_map": want.slot_map.tolist(),
            "wanted_slot_category": want.slot_category.tolist(),
            "pixels_equal": float(equal_pixels(got, want).mean()),
        }
        for name, (got, want) in pairs.items()
    ]


def _merged(slot_map: list[list[int]], slot_category: list[int]) -> Merged:
    category = np.array(slot_category, dtype=np.int32)
    return Merged(np.array(slot_map, dtype=np.uint8), category, (category >= 0).astype(np.float32))


def _kept_or_not(rng: np.random.Generator) -> Iterator[MergeCase]:
    masks = _sixteenths(rng, (3, 4, 6))
    keep_all = MergeConfig(thing_threshold=0.0, stuff_threshold=0.0, min_area=0, upsample=1)
    yield MergeCase("one_slot", "a single slot wins every pixel", _sure([0], 2), masks[:1], (True, False), keep_all)
    nobody = np.zeros((3, 4), dtype=np.float32)
    strict = MergeConfig(thing_threshold=0.5, stuff_threshold=0.5, min_area=0, upsample=2)
    yield MergeCase("all_void", "no slot kept: 255 everywhere", nobody, masks, (True, False, True), strict)

    half = np.zeros((2, 2), dtype=np.float32)  # K = 1: both columns get exactly 1/2
    yield MergeCase("threshold_equal", "score equal to its threshold is kept", half, masks[:2], (True,), strict)
    above = MergeConfig(thing_threshold=float(np.nextafter(np.float32(0.5), np.float32(1))), upsample=1, min_area=0)
    yield MergeCase("threshold_above", "one float32 above the score: void", half, masks[:2], (True,), above)
    columns = next(n for n in range(3, 100) if float(np.float32(1) / np.float32(n)) < 1 / n)
    equal = np.zeros((2, columns), dtype=np.float32)
    float32 = MergeConfig(thing_threshold=1 / columns, stuff_threshold=1.0, min_area=0, upsample=1)
    says = "thresholds become float32 before they are compared: 1/n in float64 is above the score"
    yield MergeCase("threshold_float32", says, equal, masks[:2], (True,) * (columns - 1), float32)

    tie = np.array([[2, 2, 1, 0], [0, 3, 3, 1], [0, 0, 2, 2]], dtype=np.float32)
    low = MergeConfig(thing_threshold=0.3, stuff_threshold=0.3, min_area=0, upsample=1)
    says = "equal classes: the lowest index; a void column as large as the best does not matter"
    yield MergeCase("category_tie", says, tie, masks, (True, False, True), low)
    unlike = np.log([[0.45, 0.05, 0.5], [0.05, 0.45, 0.5], [0.2, 0.25, 0.55]]).round(3).astype(np.float32)
    says = "the thing at 0.45 is dropped, the stuff at 0.45 kept, the stuff at 0.25 dropped"
    apart = MergeConfig(thing_threshold=0.5, stuff_threshold=0.3, min_area=0, upsample=1)
    yield MergeCase("thing_and_stuff", says, unlike, masks, (True, False), apart)
    huge = np.array([[300, -300, 0], [-300, 300, 0], [0, 0, 300]], dtype=np.float32)
    yield MergeCase("large_class_logits", "exp of 300 overflows float32", huge, masks, (True, False), strict)


def _areas() -> Iterator[MergeCase]:
    """Slot 1 owns 2 x 3 cells of the mask logits and, enlarged, some of the slope around them."""
    masks = np.zeros((3, 6, 8), dtype=np.float32)
    masks[1, :2, :3] = 4
    masks[2] = -8
    for upsample in UPSAMPLES:
        free = MergeCase("", "", _sure([0, 1, 0], 2), masks, (False, True), _area(0, upsample))
        owned = int(np.count_nonzero(free.expected().slot_map == 1)) * (4 // upsample) ** 2
        for least, says in ((owned, "kept"), (owned + 1, "emptied, its pixels void and not another slot's")):
            name = f"min_area_{upsample}_{'equal' if least == owned else 'above'}"
            yield MergeCase(
                name,
                f"area {owned} against min_area {least} at upsample {upsample}: {says}; slot 2 never wins: empty",
                _sure([0, 1, 0], 2),
                masks,
                (False, True),
                _area(least, upsample),
            )


def _maps(rng: np.random.Generator) -> Iterator[MergeCase]:
    for upsample in UPSAMPLES:
        says = f"half-pixel centres, edges repeated, odd sides, enlarged by {upsample}"
        masks = _sixteenths(rng, (5, 9, 13))
        config = MergeConfig(thing_threshold=0.0, stuff_threshold=0.0, min_area=0, upsample=upsample)
        yield MergeCase(f"enlarge_{upsample}", says, _sure([0, 1, 2, 0, 1], 3), masks, (True, False, True), config)
    for upsample in UPSAMPLES:
        masks = rng.integers(-2, 3, (7, 6, 10)).astype(np.float32)  # as int8 logits do, they tie often
        config = MergeConfig(thing_threshold=0.5, stuff_threshold=0.5, min_area=16, upsample=upsample)
        classes = _sure([0, 1, 2, 0, 1, 2, 0], 3)
        classes[3] = 0  # not kept: it must not win a tie
        yield MergeCase(f"ties_{upsample}", "ties go to the lowest kept slot", classes, masks, (True,) * 3, config)
    flat = np.zeros((4, 1, 1), dtype=np.float32)
    config = MergeConfig(thing_threshold=0.5, stuff_threshold=0.5, min_area=0, upsample=4)
    yield MergeCase(
        "one_cell", "a map of one cell, all slots equal", _sure([1, 0, 1, 0], 2), flat, (True, False), config
    )
    classes = _sure([index % 5 for index in range(254)], 5)
    yield MergeCase(
        "254_slots",
        "slot 253 and void 255 fit a byte",
        classes,
        _sixteenths(rng, (254, 6, 6)),
        (True, True, False, False, True),
        _area(0, 2),
    )
    classes = (rng.standard_normal((24, 9)) * 3).astype(np.float32)
    blobs = _smooth(rng, (24, 16, 24))
    says = "floats as a network gives them; no pixel and no score is near a tie"
    config = MergeConfig(thing_threshold=0.5, stuff_threshold=0.3, min_area=64, upsample=4)
    yield MergeCase("random_floats", says, classes, blobs, (True,) * 4 + (False,) * 4, config)


def _sure(categories: list[int], num_categories: int) -> NDArray[np.float32]:
    logits = np.zeros((len(categories), num_categories + 1), dtype=np.float32)
    logits[np.arange(len(categories)), categories] = SURE
    return logits


def _sixteenths(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return (rng.integers(-128, 129, shape) / 16).astype(np.float32)


def _smooth(rng: np.random.Generator, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Bumps at random places."""
    slots, height, width = shape
    y, x = np.mgrid[:height, :width]
    top, left = rng.uniform(0, height, (slots, 1, 1)), rng.uniform(0, width, (slots, 1, 1))
    bumps = 9 - ((y - top) ** 2 + (x - left) ** 2) / 16 + rng.uniform(-1, 1, (slots, 1, 1))
    logits: NDArray[np.float32] = bumps.astype(np.float32)
    return logits


def _area(min_area: int, upsample: Upsample) -> MergeConfig:
    return MergeConfig(thing_threshold=0.5, stuff_threshold=0.5, min_area=min_area, upsample=upsample)
