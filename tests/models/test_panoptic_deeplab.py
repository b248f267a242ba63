"""Grouping of cells around centres, against hand-made maps and a slow implementation in loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseg.config import MergeConfig, ModelConfig
from edgeseg.merge import merge_slots
from edgeseg.models import build_model
from edgeseg.models.panoptic_deeplab import CentreGrouping
from edgeseg.structures import DenseMaps, InputError, Slots

IS_THING = (False, True, False, True)  # stuff 0 and 2, things 1 and 3
SIZE = (6, 8)


def group(maps: DenseMaps, num_centres: int = 4, threshold: float = 0.1) -> Slots:
    return CentreGrouping(IS_THING, SIZE, num_centres, threshold)(maps)  # type: ignore[no-any-return]


def flat_maps() -> DenseMaps:
    """Stuff 0 everywhere, no centre, offsets that point at the own cell."""
    things, stuff = torch.zeros(1, 2, *SIZE), torch.zeros(1, 2, *SIZE)
    stuff[:, 0] = 5.0
    return DenseMaps(things, stuff, torch.zeros(1, 1, *SIZE), torch.zeros(1, 2, *SIZE))


def two_things() -> DenseMaps:
    """Columns 0-3 are one thing of category 3 with its centre at (3, 1); columns 4-7 one of category 1 at (3, 6)."""
    maps = flat_maps()
    maps.things[:, 1, :, :4] = 9.0
    maps.things[:, 0, :, 4:] = 9.0
    maps.centre[0, 0, 3, 1], maps.centre[0, 0, 3, 6] = 0.8, 0.9
    return maps


def test_cells_of_things_go_to_the_nearest_centre_and_slots_are_ordered_by_heat() -> None:
    slots = group(two_things())
    merged = merge_slots(
        slots.class_logits[0].numpy(),
        slots.mask_logits[0].numpy(),
        config=MergeConfig(upsample=1, min_area=1),
        is_thing=IS_THING,
    )
    assert merged.slot_category.tolist() == [-1, -1, 1, 3, -1, -1]
    # Both stuff slots come first; then the stronger centre, of the right half. Column 4 is 2 cells from one, 3 from the
    # other.
    assert np.array_equal(merged.slot_map, np.repeat([[3, 3, 3, 3, 2, 2, 2, 2]], 6, axis=0))


def test_an_offset_moves_a_cell_to_another_centre() -> None:
    maps = two_things()
    maps.offset[0, 1, 0, 7] = -6.0  # the last cell of the first row points at column 1
    owner = group(maps).mask_logits[0, 2:].argmax(0)
    assert owner[0, 7] == 1
    assert owner[1, 7] == 0


def test_a_centre_of_heat_s_has_probability_s_over_s_plus_t_of_being_there() -> None:
    maps = two_things()
    probability = group(maps, threshold=0.2).class_logits[0].softmax(1)
    softmax = torch.tensor([9.0, 0.0]).softmax(0)[0]
    assert probability[2, 1] == pytest.approx(float(softmax) * 0.9 / 1.1, abs=1e-3)
    assert probability[3, 3] == pytest.approx(
        float(softmax) * 0.8 / 1.0, abs=1e-3
    )  # the tie-breaking ramp is below 1e-3
    assert (probability[4:, -1] > 0.99).all()  # no centre is void


def test_neighbours_of_equal_heat_are_one_centre() -> None:
    maps = two_things()
    maps.centre[0, 0, 3:5, 1:3] = 0.8  # as a coarse grid of int8 makes them
    probability = group(maps).class_logits[0].softmax(1)
    assert int((probability[2:, -1] < 0.5).sum()) == 2


def test_stuff_slots_are_always_there() -> None:
    slots = group(flat_maps())
    assert slots.class_logits[0, :2].argmax(1).tolist() == [0, 2]
    assert torch.equal(slots.mask_logits[0, :2], flat_maps().stuff[0])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), num_centres=st.integers(1, 9))
def test_grouping_equals_the_rule_in_loops(seed: int, num_centres: int) -> None:
    """Random maps; float64 loops over cells and centres."""
    rng = np.random.default_rng(seed)
    things, stuff, offset = (rng.normal(size=(c, *SIZE)).astype(np.float32) for c in (2, 2, 2))
    heat = rng.uniform(-0.2, 1.0, size=SIZE).astype(np.float32)
    maps = DenseMaps(*(torch.from_numpy(m)[None] for m in (things, stuff, heat[None], 2 * offset)))
    slots = group(maps, num_centres)

    ranked = heat - np.linspace(0, 1e-3, heat.size, dtype=np.float32).reshape(SIZE)  # ties go to the first
    peaks = []
    for y in range(SIZE[0]):
        for x in range(SIZE[1]):
            around = ranked[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            if ranked[y, x] == around.max() and ranked[y, x] > 0.1:
                peaks.append((float(ranked[y, x]), y, x))
    peaks = sorted(peaks, reverse=True)[:num_centres]
    probability = slots.class_logits[0, 2:].softmax(1)
    assert int((probability[:, -1] < 0.49).sum()) <= len(peaks)
    if not peaks:
        return
    centres = [(y + 0.5 + 2 * float(offset[0, y, x]), x + 0.5 + 2 * float(offset[1, y, x])) for _, y, x in peaks]
    for y in range(SIZE[0]):
        for x in range(SIZE[1]):
            down, right = y + 0.5 + 2 * float(offset[0, y, x]), x + 0.5 + 2 * float(offset[1, y, x])
            squares = np.array([(down - cy) ** 2 + (right - cx) ** 2 for cy, cx in centres])
            got = slots.mask_logits[0, 2 : 2 + len(peaks), y, x].double().numpy()
            wanted = things[:, y, x].max() - (squares - squares.min())
            assert got == pytest.approx(wanted, abs=2e-3, rel=1e-4)


@pytest.mark.parametrize(
    "is_thing, num_queries, message",
    [
        ((True, True), 10, "needs thing and stuff"),
        ((False, False), 10, "needs thing and stuff"),
        (IS_THING, 2, "one slot for each of 2 stuff"),
        (IS_THING, 100, "8 x 8 cells"),
    ],
)
def test_what_it_cannot_do_is_refused(is_thing: tuple[bool, ...], num_queries: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_model(ModelConfig(head="panoptic_deeplab", num_queries=num_queries), is_thing, (32, 32))
