"""Networks: shapes, published counts, and what vanishes at deployment."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import fx

from edgeseg.config import ModelConfig
from edgeseg.models import HEADS, build_model, count_macs, count_parameters
from edgeseg.models.kmax import KMeansLayer
from edgeseg.structures import InputError

SIZE = (64, 96)
THINGS = (True, False, True, True, False)
PAIRS = [(ModelConfig().backbone, head) for head in HEADS]  # test_backbones.py has the others; a head sees channels


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("backbone, head", PAIRS)
def test_every_network_answers_slots_at_stride_4(backbone: str, head: str) -> None:
    config = ModelConfig(backbone=backbone, head=head, num_queries=10)
    model = build_model(config, THINGS, SIZE).eval()
    with torch.no_grad():
        slots = model(torch.rand(2, 3, *SIZE) * 255)
    num_slots = len(THINGS) if head in ("lraspp", "deeplab_v3plus") else 10  # semantic heads: one a category
    assert slots.class_logits.shape == (2, num_slots, 6)
    assert slots.mask_logits.shape == (2, num_slots, 16, 24)


@pytest.mark.parametrize("backbone, head", PAIRS)
def test_every_deployed_network_is_smaller_traceable_and_answers_the_same(backbone: str, head: str) -> None:
    model = build_model(ModelConfig(backbone=backbone, head=head, num_queries=10), THINGS, SIZE)
    with torch.no_grad():
        for _ in range(2):
            model(torch.rand(4, 3, *SIZE) * 255)  # gives the norms statistics of their own
        model.eval()
        deployed = model.deployable()
        image = torch.rand(1, 3, *SIZE) * 255
        # Positions are added as rows and columns there, in another order.
        torch.testing.assert_close(model(image).mask_logits, deployed(image).mask_logits, rtol=1e-4, atol=1e-5)
        assert torch.equal(fx.symbolic_trace(deployed)(image)[0], deployed(image)[0])
    assert count_parameters(deployed) <= count_parameters(model)


def test_training_branches_leave_nothing_in_the_deployed_network() -> None:
    """The branches' own parameters and the six-octave position maps are the whole difference."""
    model = build_model(ModelConfig(), (True,) * 16, (256, 256))
    assert model.head.training_branches is not None
    branches = count_parameters(model.head.training_branches)
    positions = sum(p.numel() for name, p in model.named_parameters() if "position" in name)
    deployed = model.deployable()
    assert count_parameters(model) - count_parameters(deployed) == branches + positions
    operators = {str(node.target) for node in fx.symbolic_trace(deployed).graph.nodes}
    assert not [name for name in operators if "branch" in name and "training" in name]
    with pytest.raises(RuntimeError, match="stripped"):
        deployed.forward_training(torch.zeros(1, 3, 256, 256))


def test_the_demo_network_keeps_its_budget() -> None:
    """The main job's bounds: 2.5 M parameters and 1.0 GMAC at 256 x 256, head included."""
    deployed = build_model(ModelConfig(), (True,) * 16, (256, 256)).deployable()
    assert count_parameters(deployed) < 2.5e6
    assert count_macs(deployed, (256, 256)) < 1.0e9


def test_assignment_marks_the_largest_slot_of_every_pixel_and_all_that_tie() -> None:
    layer = KMeansLayer(8, (1, 4), replace(ModelConfig(), num_queries=3))
    logits = torch.tensor([[[3.0, 1.0, -5.0, 2.0], [2.0, 1.5, -5.0, 2.0], [-1.0, 1.4999, -6.0, 1.0]]])
    expected = torch.tensor([[[1.0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]]])
    assert torch.equal(layer.assign(logits), expected)


@pytest.mark.parametrize("update", ["sum", "mean"])
def test_a_query_is_told_of_the_pixels_that_it_is_the_best_for(update: Literal["sum", "mean"]) -> None:
    layer = KMeansLayer(8, (2, 3), replace(ModelConfig(), num_queries=3, kmeans_update=update)).eval()
    told: list[torch.Tensor] = []
    layer.update_norm.register_forward_pre_hook(lambda _, arguments: told.append(arguments[0]))
    best = torch.tensor([0, 2, 0, 0, 2, 0])  # nothing for the slot between
    logits = torch.nn.functional.one_hot(best, 3).T[None].float()
    pixels = torch.rand(1, 128, 2, 3)
    with torch.no_grad():
        layer.update(pixels, torch.zeros(3, 128), logits)
        values = layer.value(pixels)[0].flatten(1).T  # (P, D)
    for slot, row in enumerate(told[0]):
        mine = values[best == slot]
        expected = mine.sum(0) / (max(len(mine), 1) if update == "mean" else 1)
        torch.testing.assert_close(row, expected)


def test_pixels_are_counted_exactly_whatever_a_mean_rounds() -> None:
    layer = KMeansLayer(8, (80, 80), replace(ModelConfig(), num_queries=64))
    mine = (torch.rand(1, 64, 6400) < torch.linspace(0, 1, 64)[None, :, None]).float()
    assert torch.equal(layer.count(mine), mine.sum(2, keepdim=True))
    nearly = mine * (1 + 2e-6)  # thirty roundings of a float32
    assert torch.equal(layer.count(nearly), mine.sum(2, keepdim=True))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"backbone": "mobilenet_v3_smal"}, "did you mean 'mobilenet_v3_small'"),
        ({"head": "kmx"}, "did you mean 'kmax'"),
        ({"num_queries": 255}, "1 to 254"),
        ({"query_dim": 130}, "not a multiple of num_heads"),
        ({"kmeans_strides": (64,)}, "strides are 32, 16, 8 and 4"),
    ],
)
def test_numbers_that_cannot_be_built_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_model(replace(ModelConfig(), **change), THINGS, SIZE)


def test_image_sizes_off_the_stride_are_refused() -> None:
    with pytest.raises(InputError, match="multiples of 32"):
        build_model(ModelConfig(), THINGS, (100, 128))
