from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from edgeseg.quantize import Progress, Recipe, deploy, distillation_loss, find_recipe, prepare, quantize, set_phase
from edgeseg.structures import CheckError, InputError, Slots
from tests.quantize.tiny import SIZE, TinySlots, images, warmed

PTQ = Recipe(name="test")
CALIBRATION = [images(8, seed=seed) for seed in (1, 2)]


def test_distillation_loss_is_the_divergence_in_nats() -> None:
    """One pixel and one slot's categories at (3/4, 1/4) where the teacher says (1/2, 1/2): KL = ln 2 - ln(3)/2 each."""
    student, teacher = torch.tensor([0.75, 0.25]).log(), torch.tensor([0.5, 0.5]).log()
    loss = distillation_loss(
        Slots(student.reshape(1, 1, 2), student.reshape(1, 2, 1, 1)),
        Slots(teacher.reshape(1, 1, 2), teacher.reshape(1, 2, 1, 1)),
    )
    assert loss.item() == pytest.approx(2 * (math.log(2) - 0.5 * math.log(3)), abs=1e-6)


def test_training_brings_a_coarse_grid_back_to_the_float_model() -> None:
    """With 4-bit weights rounding hurts: unseen images' divergence must fall by half at least."""
    model = warmed(TinySlots())
    coarse = Recipe(name="test", weight_bits=4)
    held_out = images(16, seed=99)
    before = divergence(model, quantize(model, coarse, calibration=CALIBRATION), held_out)
    batches = (images(8, seed=1000 + step) for step in range(60))
    steps: list[Progress] = []
    trained = quantize(
        model,
        replace(coarse, qat_steps=60, qat_lr=3e-3),
        calibration=CALIBRATION,
        batches=batches,
        on_progress=steps.append,
    )
    assert divergence(model, trained, held_out) < 0.5 * before
    assert [progress.step for progress in steps] == list(range(1, 61))


def test_eight_bits_without_training_stay_close_to_float() -> None:
    """SQNR of the mask logits; 8-bit rounding noise of a handful of layers leaves more than 20 dB."""
    model = warmed(TinySlots())
    batch = images(16, seed=99)
    with torch.no_grad():
        expected, got = model(batch).mask_logits, quantize(model, PTQ, calibration=CALIBRATION)(batch).mask_logits
    sqnr_db = 10 * torch.log10(expected.var() / (got - expected).square().mean())
    assert sqnr_db > 20


def test_loss_that_is_not_finite_stops_with_its_step() -> None:
    broken = [images(4, seed=1), images(4, seed=2) * float("nan")]
    with pytest.raises(CheckError, match="loss nan at step 1"):
        quantize(warmed(TinySlots()), replace(PTQ, qat_steps=2), calibration=CALIBRATION, batches=broken)


def test_too_few_images_are_an_input_error() -> None:
    with pytest.raises(InputError, match="ran out of images at step 1 of 3"):
        quantize(warmed(TinySlots()), replace(PTQ, qat_steps=3), calibration=CALIBRATION, batches=[images(4, seed=1)])
    with pytest.raises(InputError, match="no calibration images"):
        quantize(warmed(TinySlots()), PTQ, calibration=[])


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'int8-ptq'"):
        find_recipe("int8-pqt")


@pytest.mark.parametrize("change", [{"weight_bits": 16}, {"activation_bits": 1}, {"qat_steps": -1}, {"qat_lr": 0.0}])
def test_recipe_that_can_not_be_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="recipe 'test'"):
        replace(PTQ, **change)


def test_state_dict_of_another_network_of_the_class_restores_the_answers() -> None:
    """Everything that training or calibration set is in the state: norms folded to scalars and position maps too."""
    model = quantize(warmed(TinySlots()), PTQ, calibration=CALIBRATION)
    restored = prepare(warmed(TinySlots(), seed=7), PTQ, torch.zeros(1, 3, *SIZE))
    restored.load_state_dict(model.state_dict())
    set_phase(restored, "train")
    batch = images(2, seed=5)
    with torch.no_grad():
        assert torch.equal(restored(batch).mask_logits, model(batch).mask_logits)
        assert torch.equal(deploy(restored)(batch).class_logits, model(batch).class_logits)


def test_graph_without_grids_can_not_be_deployed() -> None:
    with pytest.raises(RuntimeError, match="has no grid"):
        deploy(prepare(warmed(TinySlots()), PTQ, torch.zeros(1, 3, *SIZE)))


@torch.no_grad()
def divergence(model: nn.Module, quantized: nn.Module, batch: torch.Tensor) -> float:
    return distillation_loss(quantized(batch), model(batch)).item()


def test_training_that_only_leads_away_from_the_teacher_is_not_kept() -> None:
    """A rate a thousand times too high: the calibrated weights stay, bit by bit."""
    model = warmed(TinySlots())
    calibrated = quantize(model, PTQ, calibration=CALIBRATION)
    wild = replace(PTQ, qat_steps=6, qat_lr=10.0)
    trained = quantize(model, wild, calibration=CALIBRATION, batches=(images(8, seed=step) for step in range(6)))
    assert trained.meta["kept_step"] == 0
    assert all(torch.equal(value, calibrated.state_dict()[name]) for name, value in trained.state_dict().items())
