"""Schedules, running averages and interruptions of quantization-aware training."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import fx, nn

from edgeseg.quantize import QuantConv2d, Recipe, calibrate, prepare, quantize
from edgeseg.quantize.divergence import assignment_loss
from edgeseg.quantize.fine_tune import Saving, Snapshot, Tuning
from edgeseg.quantize.kept import Average
from edgeseg.quantize.qat import check_grids
from edgeseg.quantize.weights import Ternary, Uniform
from edgeseg.structures import CheckError, InputError, Slots
from tests.quantize.tiny import TinySlots, images, labelled, warmed

STEPS = 8
INT4 = Recipe(name="test", weight_bits=4, linears=True, qat_steps=STEPS, qat_lr=3e-3)
CALIBRATION = [images(4, seed=seed) for seed in (1, 2)]
RECIPES = {
    "best of checks": INT4,
    "labels, average": replace(INT4, qat_label_weight=1.0, qat_ema_decay=0.7),
    "free, then best averages": replace(INT4, qat_free_fraction=0.5, qat_ema_decay=0.7),
    "learned steps": replace(INT4, learned_weight_steps=True, learned_activation_steps=True),
    "gradually ternary": replace(INT4, ternary="twn", qat_gradual_fraction=0.6, qat_free_fraction=0.7),
    "half precision while free": replace(INT4, qat_free_fraction=0.5, qat_precision="bf16-mixed"),
}


def train(recipe: Recipe, *, first: int = 0, saving: Saving | None = None, seed: int = 0) -> fx.GraphModule:
    def label_loss(slots: Slots, batch: object) -> torch.Tensor:
        return slots.class_logits.square().mean()

    torch.manual_seed(seed)
    model = warmed(TinySlots(), seed=seed)
    batches = (labelled(images(4, seed=1000 + step)) for step in range(first, STEPS))
    return quantize(
        model, recipe, calibration=CALIBRATION, batches=batches, label_loss=label_loss, saving=saving
    )  # fmt: skip


def test_a_step_is_a_share_of_its_layers_weights() -> None:
    """AdamW's first step is its rate, here a hundredth, being warmed; sizes are powers of two within a root of 2."""

    def label_loss(slots: Slots, batch: object) -> torch.Tensor:
        return slots.class_logits.square().mean() + slots.mask_logits.square().mean()

    model, recipe = warmed(TinySlots()), replace(INT4, qat_label_weight=1.0)
    with torch.no_grad():
        next(model.parameters()).mul_(1e-2)
    tuning = Tuning(
        prepare(model, recipe, CALIBRATION[0][:1]), model, recipe, held_out=CALIBRATION, label_loss=label_loss
    )
    before = {name: value.detach().clone() for name, value in tuning.prepared.named_parameters()}
    tuning.take(labelled(images(4, seed=3)))
    shares = {}
    for name, value in tuning.prepared.named_parameters():
        size = max(float(before[name].square().mean().sqrt()), 1e-3)
        shares[name] = float((value.detach() - before[name]).abs().max()) / (size * 0.01 * INT4.qat_lr)
    assert len(shares) >= 6
    assert not {name: share for name, share in shares.items() if share and not 0.7 < share < 1.42}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("break_at", [3, 4, 6])
def test_a_training_continued_from_a_snapshot_equals_the_one_without_a_break(recipe: Recipe, break_at: int) -> None:
    """Bit by bit: weights, grids, and which step was kept."""
    kept: list[Snapshot] = []

    def save(snapshot: Snapshot) -> None:
        tensors = {group: {n: t.clone() for n, t in part.items()} for group, part in snapshot.tensors.items()}
        kept.append(replace(snapshot, tensors=tensors))

    whole = train(recipe, saving=Saving(break_at, save))
    assert kept[0].step == break_at
    again = train(recipe, first=break_at, saving=Saving(99, save, start=kept[0]))
    assert again.meta["kept_step"] == whole.meta["kept_step"]
    state = whole.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in again.state_dict().items())


def test_weights_go_over_from_8_bits_along_a_line() -> None:
    """Half way: the mean of both grids; the gradient stays that of the latent weight."""
    conv = nn.Conv2d(3, 2, 3, bias=False)
    layer = QuantConv2d(conv, None, Ternary("twn"))
    layer.set_phase("train")
    eight, ternary = (
        grid.rounded(conv.weight.detach(), grid.stored(grid.step(conv.weight))) for grid in (Uniform(8), Ternary("twn"))
    )
    layer.blend = 0.5
    weight, _ = layer.current()
    torch.testing.assert_close(weight.detach(), (eight + ternary) / 2)
    weight.sum().backward()
    assert layer.weight.grad is not None
    assert torch.equal(layer.weight.grad, torch.ones_like(layer.weight))
    layer.blend = 0.0
    torch.testing.assert_close(layer.current()[0].detach(), eight)


def test_the_last_of_a_gradual_training_is_on_its_grid() -> None:
    trained = train(RECIPES["gradually ternary"])
    layer = trained.get_submodule("lateral")
    assert isinstance(layer, QuantConv2d)
    codes = layer.current()[0] / layer.weight_scale().view(-1, 1, 1, 1)
    assert set(codes.unique().tolist()) == {-1.0, 0.0, 1.0}


def test_the_share_of_the_new_grid_grows_with_the_steps() -> None:
    """8 steps, over 0.6 of them: 0, 1/4.8, 2/4.8, ..., then 1; taken from the layers after each step."""
    seen: list[float] = []
    recipe = RECIPES["gradually ternary"]
    model = warmed(TinySlots())
    prepared = prepare(model, recipe, CALIBRATION[0][:1])

    from edgeseg.quantize.fine_tune import fine_tune

    def look(progress: Any) -> None:
        layer = prepared.get_submodule("lateral")
        assert isinstance(layer, QuantConv2d)
        seen.append(layer.blend)

    batches = [images(4, seed=1000 + step) for step in range(STEPS)]
    fine_tune(prepared, model, recipe, batches, held_out=CALIBRATION, on_progress=look)
    assert seen == pytest.approx([min(1.0, step / 4.8) for step in range(STEPS)])


@pytest.mark.parametrize("free_fraction", [0.0, 0.5])
def test_products_are_half_precision_until_activations_have_grids(free_fraction: float) -> None:
    """Weights alone: throughout. Seen at the output of a convolution, step by step; checks between steps and what is
    trained are float32."""
    recipe = replace(INT4, qat_free_fraction=free_fraction, activation_bits=8 if free_fraction else 0)
    recipe = replace(recipe, qat_precision="bf16-mixed")
    model, seen = warmed(TinySlots()), list[torch.dtype]()
    tuning = Tuning(prepare(model, recipe, CALIBRATION[0][:1]), model, recipe, held_out=CALIBRATION)
    tuning.prepared.get_submodule("lateral").register_forward_hook(lambda _m, _x, out: seen.append(out.dtype))
    for step in range(STEPS):
        seen.clear()
        tuning.take(images(4, seed=1000 + step))
        is_free = step < STEPS / 2 or not free_fraction
        assert (torch.bfloat16 in seen) == is_free, step
    assert {value.dtype for value in tuning.prepared.parameters()} == {torch.float32}


@pytest.mark.parametrize(("of_labels", "of_teacher"), [(1.0, 0.0), (0.0, 1.0), (2.0, 3.0)])
def test_labels_and_teacher_weigh_what_the_recipe_says(of_labels: float, of_teacher: float) -> None:
    """The first step's loss is linear in both weights; the weight that is 0 need not be computed."""

    def loss(labels: float, teacher: float) -> float:
        recipe = replace(INT4, qat_label_weight=labels, qat_teacher_weight=teacher)
        model = warmed(TinySlots())
        prepared = prepare(model, recipe, CALIBRATION[0][:1])
        calibrate(prepared, CALIBRATION)
        tuning = Tuning(prepared, model, recipe, held_out=CALIBRATION, label_loss=label_loss)
        return tuning.take(labelled(images(4, seed=3)))

    def label_loss(slots: Slots, batch: object) -> torch.Tensor:
        return slots.class_logits.square().mean()

    labels, both = loss(1.0, 0.0), loss(1.0, 1.0)
    assert labels > 0.01
    assert both - labels > 1e-4
    assert loss(of_labels, of_teacher) == pytest.approx(of_labels * labels + of_teacher * (both - labels), rel=1e-4)


def test_layers_are_pulled_to_their_teachers_assignment() -> None:
    """KL((1/2, 1/2) || (1/4, 3/4)) = ln 2 - ln 3 / 2, KL((1/2, 1/2) || (1/2, 1/2)) = 0; the mean over two pixels."""
    student = torch.tensor([[[0.25, 0.5], [0.75, 0.5]]]).log()  # (1, 2 slots, 2 pixels)
    teacher = torch.zeros(1, 1, 2, 2)
    apart = (math.log(2) - math.log(3) / 2) / 2
    assert assignment_loss([student], [teacher]).item() == pytest.approx(apart)
    assert assignment_loss([student, student], [teacher, student]).item() == pytest.approx(apart)
    assert assignment_loss([], []).item() == 0.0


def test_average_is_the_geometric_series_of_what_it_saw() -> None:
    """1, then 2 and 4 with decay 0.5: (1 + 2) / 2 = 1.5, (1.5 + 4) / 2 = 2.75."""
    network = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(1.0)
        average = Average(network, 0.5)
        for value in (2.0, 4.0):
            network.weight.fill_(value)
            average.update()
    with average.in_place():
        assert network.weight.item() == 2.75
    assert network.weight.item() == 4.0
    average.apply()
    assert network.weight.item() == 2.75


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"qat_steps": 10, "qat_gradual_fraction": 0.5}, "weights have 8 bits from the start"),
        ({"qat_steps": 10, "weight_bits": 4, "qat_gradual_fraction": 0.5}, "ranges would be measured on weights still"),
        ({"qat_ema_decay": 0.9}, "do nothing without training"),
        ({"qat_steps": 10, "qat_precision": "bf16-mixed"}, "activations have grids from the start"),
        ({"learned_weight_steps": True}, "do nothing without training"),
        ({"qat_steps": 10, "learned_activation_steps": True, "activation_bits": 0}, "activations stay float"),
        ({"qat_steps": 10, "qat_ema_decay": 1.0}, "qat_ema_decay = 1.0; 0 to below 1"),
        ({"qat_teacher_weight": -1.0}, "qat_teacher_weight = -1.0 must be >= 0"),
        ({"qat_steps": 10, "qat_teacher_weight": 0.0}, "both 0, so that training has no goal"),
    ],
)
def test_options_that_mean_nothing_together_are_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Recipe(name="test", **change)


@pytest.mark.parametrize(("value", "complaint"), [(0.0, "all its weights round to 0"), (float("nan"), "not finite")])
def test_weights_without_a_grid_stop_with_their_layers_name(value: float, complaint: str) -> None:
    model = warmed(TinySlots())
    assert isinstance(model.lateral, nn.Conv2d)
    with torch.no_grad():
        model.lateral.weight.fill_(value)
    with pytest.raises(CheckError, match=f"layer lateral: .*{complaint}"):
        quantize(model, Recipe(name="test"), calibration=CALIBRATION, is_trained=True)


@pytest.mark.parametrize(("value", "complaint"), [(0.0, "is 0 on all calibration images"), (float("inf"), "finite")])
def test_activations_without_a_range_stop_with_their_layers_name(value: float, complaint: str) -> None:
    model = warmed(TinySlots())
    assert isinstance(model.embed, nn.Conv2d)
    assert model.embed.bias is not None
    with torch.no_grad():
        model.embed.weight.mul_(1e-10)
        model.embed.bias.fill_(value)
    with pytest.raises(CheckError, match=f"grid_embed.* leaves embed.*{complaint}"):
        quantize(model, Recipe(name="test"), calibration=CALIBRATION, is_trained=True)


def test_a_network_before_its_training_may_have_branches_of_zeros() -> None:
    model = warmed(TinySlots())
    assert isinstance(model.lateral, nn.Conv2d)
    with torch.no_grad():
        model.lateral.weight.zero_()
    quantize(model, Recipe(name="test"), calibration=CALIBRATION)


def test_a_learned_step_that_is_lost_stops_with_its_layers_name() -> None:
    recipe = RECIPES["learned steps"]
    prepared = prepare(warmed(TinySlots()), recipe, CALIBRATION[0][:1])
    calibrate(prepared, CALIBRATION)
    gain = prepared.get_submodule("grid_embed").log_gain
    assert isinstance(gain, nn.Parameter)
    with torch.no_grad():
        gain.fill_(float("nan"))
    with pytest.raises(CheckError, match="grid_embed: the step of what leaves embed is nan"):
        check_grids(prepared)
