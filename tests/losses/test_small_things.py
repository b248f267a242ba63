"""Weights of small things in the semantic cross entropy."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from edgeseg.config import LossConfig
from edgeseg.losses.kmax import semantic_loss
from edgeseg.losses.panoptic_deeplab import CentreOffsetLoss
from edgeseg.losses.small_things import small_thing_weights
from edgeseg.losses.targets import pad_labels, targets_at
from edgeseg.structures import DenseMaps

IS_THING = torch.tensor([True, False, False])  # car, road, void

LABEL_MAP = torch.tensor([[[0, 0, 1, 1], [1, 1, 1, 1], [2, 2, 2, -1], [2, 2, 3, -1]]])
"""Car of 2 pixels, road of 6, car of 5, road of 1."""

LABELS = pad_labels([torch.tensor([0, 1, 0, 1])])


def test_things_below_the_area_weigh_more_and_nothing_else_does() -> None:
    targets = targets_at(LABEL_MAP, LABELS, (4, 4))
    weights = small_thing_weights(targets, IS_THING, stride=1, max_area=5, weight=3.0)
    assert weights.reshape(4, 4).tolist() == [[3, 3, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]


def test_area_counts_in_pixels_of_the_input() -> None:
    enlarged = LABEL_MAP.repeat_interleave(4, 1).repeat_interleave(4, 2)
    targets = targets_at(enlarged, LABELS, (4, 4))
    for max_area, expected in ((32, 1.0), (33, 3.0)):  # the small car has 2 cells of 16 pixels
        weights = small_thing_weights(targets, IS_THING, stride=4, max_area=max_area, weight=3.0)
        assert float(weights[0, 0]) == expected


@pytest.mark.parametrize("head", ["kmax", "panoptic_deeplab"])
def test_semantic_term_grows_by_the_small_things_share(head: str) -> None:
    """With logits of 0 each of the 14 labelled pixels costs the same: weights 3 on 2 of them make 18 of 14."""
    targets = targets_at(LABEL_MAP, LABELS, (4, 4))
    config = LossConfig(small_thing_area=5)

    def term(weight: float) -> float:
        own = dataclasses.replace(config, small_thing_weight=weight)
        if head == "kmax":
            weights = small_thing_weights(targets, IS_THING, stride=1, max_area=5, weight=weight)
            return float(semantic_loss(torch.zeros(1, 3, 4, 4), targets, weights))
        plane = torch.zeros(1, 1, 4, 4)
        loss = CentreOffsetLoss(own, [True, False])
        return float(loss.semantic(DenseMaps(plane, plane, plane, torch.zeros(1, 2, 4, 4)), targets, stride=1))

    assert term(3.0) / term(1.0) == pytest.approx(18 / 14)
