from __future__ import annotations

import operator

import pytest
import torch
from torch import nn

from edgeseg.quantize.fold import fold
from edgeseg.structures import InputError
from tests.quantize.tiny import TinySlots, images, warmed


def test_folded_graph_answers_what_the_eval_model_does() -> None:
    model = warmed(TinySlots())
    folded = fold(model, images(1, seed=1))
    batch = images(3, seed=2)
    with torch.no_grad():
        expected, got = model(batch), folded(batch)
    torch.testing.assert_close(got.mask_logits, expected.mask_logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(got.class_logits, expected.class_logits, atol=1e-4, rtol=1e-4)


def test_no_norm_and_no_hard_sigmoid_is_left() -> None:
    folded = fold(warmed(TinySlots()), images(1, seed=1))
    assert not [m for m in folded.modules() if isinstance(m, (nn.BatchNorm2d, nn.BatchNorm1d, nn.Hardsigmoid))]
    assert not [node for node in folded.graph.nodes if node.target in ("squeeze", "unsqueeze", "detach")]


def test_the_model_that_is_folded_stays_as_it_was() -> None:
    model = warmed(TinySlots())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fold(model, images(1, seed=1))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("order", ["linear, norm", "norm, linear"])
def test_norm_of_rows_goes_into_the_linear_before_or_behind_it(order: str) -> None:
    torch.manual_seed(0)
    linear, norm = nn.Linear(6, 6, bias=False), nn.BatchNorm1d(6)
    head = nn.Sequential(linear, norm) if order == "linear, norm" else nn.Sequential(norm, linear)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.ReLU(), head).train()
    for _ in range(3):
        model(torch.randn(8, 3, 2, 2))
    folded = fold(model, torch.randn(2, 3, 2, 2))
    rows = torch.randn(5, 3, 2, 2)
    torch.testing.assert_close(folded(rows), model.eval()(rows), atol=1e-5, rtol=1e-5)
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm1d)]


class Scaled(nn.Module):
    """Pixels times a factor per channel, a product of rows and pixels, and one scale for its result."""

    def __init__(self, *, are_rows_seen: bool) -> None:
        super().__init__()
        self.register_buffer("factor", torch.tensor([0.5, 2.0, 3.0]).reshape(1, 3, 1, 1))
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.queries = nn.Linear(4, 8)
        self.norm = nn.BatchNorm2d(1)
        self.are_rows_seen = are_rows_seen

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = self.conv(image * self.factor)
        rows = self.queries(pixels.mean((2, 3))).reshape(-1, 2, 4)
        logits = self.norm(torch.bmm(rows, pixels.flatten(2)).unsqueeze(1)).squeeze(1)
        return logits, rows if self.are_rows_seen else logits


@pytest.mark.parametrize("are_rows_seen", [False, True])
def test_scales_go_into_the_layers_beside_them_unless_others_see_the_values(*, are_rows_seen: bool) -> None:
    model = warmed(Scaled(are_rows_seen=are_rows_seen))
    folded = fold(model, torch.zeros(1, 3, 4, 4))
    image = torch.randn(3, 3, 4, 4)
    torch.testing.assert_close(folded(image), model(image), atol=1e-5, rtol=1e-5)
    factors = [name for name, _ in folded.named_parameters() if name.endswith("scale")]
    assert factors == (["norm.scale"] if are_rows_seen else [])
    assert not [node for node in folded.graph.nodes if node.target is operator.mul]


def test_model_that_branches_on_values_is_refused() -> None:
    class Branches(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image if image.sum() > 0 else -image

    with pytest.raises(InputError, match="Branches can't be traced"):
        fold(Branches(), torch.zeros(1, 3, 4, 4))
