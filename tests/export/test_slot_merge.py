"""The merge inside the deployed graph against the numpy reference (edgeseg/merge.py)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch

from edgeseg.config import MergeConfig
from edgeseg.export.graph import SlotMerge
from edgeseg.merge import merge_slots

IS_THING = (True, False, True, False, False)
Upsample = Literal[1, 2, 4]


@pytest.fixture(params=[False, True], ids=["by maxima", "by argmax"], autouse=True)
def _form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SlotMerge, "by_argmax", request.param)


def assert_equal_to_reference(class_logits: torch.Tensor, mask_logits: torch.Tensor, config: MergeConfig) -> None:
    wanted = merge_slots(class_logits.numpy(), mask_logits.numpy(), config=config, is_thing=IS_THING)
    slot_map, slot_category, slot_score = SlotMerge(config, IS_THING)(class_logits[None], mask_logits[None])
    np.testing.assert_array_equal(slot_map[0].numpy(), wanted.slot_map)
    np.testing.assert_array_equal(slot_category[0].numpy(), wanted.slot_category)
    # One last place: numpy and torch add the exponentials of the softmax in another order.
    np.testing.assert_allclose(slot_score[0].numpy(), wanted.slot_score, rtol=1e-6)
    assert (slot_map.dtype, slot_category.dtype, slot_score.dtype) == (torch.uint8, torch.int32, torch.float32)


@pytest.mark.parametrize("num_slots", [1, 2, 7, 32, 64, 65, 100, 254])
@pytest.mark.parametrize("upsample", [1, 2, 4])
@pytest.mark.parametrize("min_area", [0, 1, 16, 100])
def test_merge_in_the_graph_equals_the_reference_with_ties_everywhere(
    num_slots: int, upsample: Upsample, min_area: int
) -> None:
    """Whole-numbered logits: many ties, and every product of the bilinear weights is exact on both sides."""
    random = torch.Generator().manual_seed(1000 * num_slots + 10 * upsample + min_area)
    class_logits = torch.randint(-3, 4, (num_slots, len(IS_THING) + 1), generator=random).float()
    mask_logits = torch.randint(-2, 3, (num_slots, 6, 9), generator=random).float()
    assert_equal_to_reference(class_logits, mask_logits, MergeConfig(upsample=upsample, min_area=min_area))


@pytest.mark.parametrize("seed", range(5))
def test_merge_in_the_graph_equals_the_reference_on_real_valued_logits(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    class_logits = 3 * torch.randn(32, len(IS_THING) + 1, generator=random)
    mask_logits = 10 * torch.randn(32, 16, 16, generator=random)
    assert_equal_to_reference(class_logits, mask_logits, MergeConfig(upsample=1))


def test_lowest_slot_wins_a_tie() -> None:
    """Three slots of category 0 with equal masks; the first is below its threshold, so the second has all pixels."""
    class_logits = torch.tensor([[-9.0, 9.0], [9.0, -9.0], [9.0, -9.0]])
    merge = SlotMerge(MergeConfig(upsample=1, min_area=0), [True])
    slot_map, category, score = merge(class_logits[None], torch.zeros(1, 3, 2, 2))
    assert slot_map.tolist() == [[[1, 1], [1, 1]]]
    assert category.tolist() == [[-1, 0, -1]]
    assert score[0, 0] == 0
    assert score[0, 1] > 0.99
    assert score[0, 2] == 0


def test_pixels_are_void_where_no_slot_is_kept() -> None:
    slot_map, category, score = SlotMerge(MergeConfig(), [True])(
        torch.tensor([[[-9.0, 9.0], [-9.0, 9.0]]]), torch.randn(1, 2, 3, 3)
    )
    assert slot_map.unique().tolist() == [255]
    assert category.tolist() == [[-1, -1]]
    assert score.tolist() == [[0, 0]]


def test_area_is_counted_in_pixels_of_the_network_input() -> None:
    """One mask pixel won at stride 4 is 16 pixels of the input: kept at min_area 16, void at 17."""
    class_logits = torch.tensor([[[9.0, -9.0], [9.0, -9.0]]])
    mask_logits = torch.zeros(1, 2, 4, 4)
    mask_logits[0, 1, 2, 3] = 1
    for min_area, value in ((16, 1), (17, 255)):
        slot_map, _, _ = SlotMerge(MergeConfig(upsample=1, min_area=min_area), [True])(class_logits, mask_logits)
        assert slot_map[0, 2, 3] == value


def test_score_exactly_at_its_threshold_is_kept() -> None:
    """Two equal logits: probability 0.5 each, and thing_threshold 0.5 says "at least"."""
    merge = SlotMerge(MergeConfig(thing_threshold=0.5, upsample=1, min_area=0), [True])
    slot_map, _, score = merge(torch.zeros(1, 1, 2), torch.zeros(1, 1, 2, 2))
    assert slot_map.unique().tolist() == [0]
    assert score.tolist() == [[0.5]]
