"""Semantic, centre and offset terms, against closed forms and loops in double precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from edgeseg.config import LossConfig
from edgeseg.losses.panoptic_deeplab import CentreOffsetLoss, find_centres, heat_of
from edgeseg.losses.registry import LOSSES, build_loss
from edgeseg.losses.targets import pad_labels
from edgeseg.models import HEADS
from edgeseg.structures import Batch, DenseMaps, InputError

IS_THING = (False, True, True)
SIZE, STRIDE = (8, 8), 4


def batch() -> Batch:
    """Image 0: stuff 0, a 12 x 12 thing of category 2 and a void strip; image 1: stuff alone."""
    label_map = torch.zeros(2, 32, 32, dtype=torch.int16)
    label_map[0, 4:16, 8:20] = 1
    label_map[0, 28:] = -1
    categories = [torch.tensor([0, 2]), torch.tensor([0])]
    return Batch(torch.zeros(2, 3, 32, 32), label_map, categories, [0, 1])


def maps(seed: int = 0) -> DenseMaps:
    generator = torch.Generator().manual_seed(seed)
    return DenseMaps(*(torch.randn(2, c, *SIZE, generator=generator) for c in (2, 1, 1, 2)))


def test_the_centre_is_the_centre_of_mass_and_the_width_grows_with_the_area() -> None:
    labels = pad_labels(batch().categories)
    centres = find_centres(batch().label_map, labels, torch.tensor([*IS_THING, False]))
    assert centres.is_thing.tolist() == [[False, True], [False, False]]
    assert centres.position[0, 1].tolist() == [10.0, 14.0]
    assert centres.sigma[0, 1] == pytest.approx(0.25 * 12)
    heat = heat_of(centres, SIZE, STRIDE)
    # Cell (2, 3) has its centre at pixel (10, 14): the very centre. The next one is 4 pixels away.
    assert heat[0, 2, 3] == pytest.approx(1.0)
    assert heat[0, 2, 4] == pytest.approx(math.exp(-(4**2) / (2 * 3.0**2)))
    assert (heat[1] == 0).all()


def test_maps_that_say_the_truth_cost_nothing() -> None:
    truth = batch()
    labels = pad_labels(truth.categories)
    centres = find_centres(truth.label_map, labels, torch.tensor([*IS_THING, False]))
    rows = truth.label_map[:, 2::4, 2::4]
    things, stuff = torch.zeros(2, 2, *SIZE), torch.full((2, 1, *SIZE), 50.0)
    things[0, 1][rows[0] == 1] = 100.0
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    offset = torch.stack([10 / 4 - (y + 0.5), 14 / 4 - (x + 0.5)])[None].repeat(2, 1, 1, 1)
    said = DenseMaps(things, stuff, heat_of(centres, SIZE, STRIDE)[:, None], offset)
    terms = CentreOffsetLoss(LossConfig(), IS_THING)(said, truth, [])
    assert float(terms["total"]) == pytest.approx(0.0, abs=1e-6)


def test_every_term_equals_the_rule_in_loops() -> None:
    said, truth = maps(), batch()
    config = LossConfig(semantic_weight=0.7, centre_weight=3.0, offset_weight=0.2)
    terms = CentreOffsetLoss(config, IS_THING)(said, truth, [])

    channel = {1: 0, 2: 1, 0: 2}  # things first
    semantic, centre, offset = [], [], []
    for image in range(2):
        ce, mse, l1 = [], [], []
        for y in range(8):
            for x in range(8):
                row = int(truth.label_map[image, 4 * y + 2, 4 * x + 2])
                if row < 0:
                    continue
                logits = torch.cat([said.things[image, :, y, x], said.stuff[image, :, y, x]]).double().numpy()
                wanted = channel[int(truth.categories[image][row])]
                ce.append(np.log(np.exp(logits).sum()) - logits[wanted])
                at = np.array([4 * y + 2.0, 4 * x + 2.0])
                distance = ((at - [10.0, 14.0]) ** 2).sum()
                heat = math.exp(-distance / (2 * 3.0**2)) if image == 0 else 0.0
                mse.append((float(said.centre[image, 0, y, x]) - heat) ** 2)
                if row == 1:
                    pointed = at + 4 * said.offset[image, :, y, x].double().numpy()
                    l1.append(np.abs(pointed - [10.0, 14.0]).sum())
        semantic.append(np.mean(ce))
        centre.append(np.mean(mse))
        offset.append(np.mean(l1) if l1 else 0.0)
    assert float(terms["semantic"]) == pytest.approx(0.7 * np.mean(semantic), rel=1e-5)
    assert float(terms["centre"]) == pytest.approx(3.0 * np.mean(centre), rel=1e-5)
    assert float(terms["offset"]) == pytest.approx(0.2 * np.mean(offset), rel=1e-5)
    assert float(terms["total"]) == pytest.approx(sum(float(v) for k, v in terms.items() if k != "total"), rel=1e-6)


def test_every_head_has_a_loss_and_an_unknown_one_names_the_nearest() -> None:
    assert set(LOSSES) == set(HEADS)
    with pytest.raises(InputError, match="did you mean 'kmax'"):
        build_loss("kmx", LossConfig(), IS_THING)
