from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgeseg.quantize import (
    Progress,
    Quantized,
    Recipe,
    deploy,
    distillation_loss,
    find_recipe,
    load_quantized,
    quantize,
    save_quantized,
)
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
    batches = (images(8, seed=1000 + step) for step in range(150))
    steps: list[Progress] = []
    trained = quantize(
        model,
        replace(coarse, qat_steps=150, qat_lr=3e-3),
        calibration=CALIBRATION,
        batches=batches,
        on_progress=steps.append,
    )
    assert divergence(model, trained, held_out) < 0.5 * before
    assert [progress.step for progress in steps] == list(range(1, 151))


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


def test_saved_model_answers_the_same_after_loading(tmp_path: Path) -> None:
    quantized = saved(tmp_path)
    loaded = load_quantized(tmp_path, build)
    batch = images(2, seed=5)
    with torch.no_grad():
        assert torch.equal(loaded.model(batch).mask_logits, quantized.model(batch).mask_logits)
        assert torch.equal(deploy(loaded.model)(batch).class_logits, quantized.model(batch).class_logits)
    assert (loaded.recipe, loaded.meta) == (quantized.recipe, quantized.meta)


def test_nothing_but_the_two_files_is_left_in_the_folder(tmp_path: Path) -> None:
    saved(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["quantized.json", "weights.safetensors"]


def test_changed_byte_is_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    weights = tmp_path / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(InputError, match="sha256 differs"):
        load_quantized(tmp_path, build)


def test_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    with pytest.raises(InputError, match="another model"):
        load_quantized(tmp_path, lambda meta: TinySlots(num_queries=5))


@pytest.mark.parametrize(
    "content, reason",
    [("{", "is not JSON"), ("[]", "has schema None"), ('{"schema": 99}', "has schema 99"), ('{"schema": 1}', "lacks")],
)
def test_damaged_description_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    saved(tmp_path)
    (tmp_path / "quantized.json").write_text(content)
    with pytest.raises(InputError, match=reason):
        load_quantized(tmp_path, build)


def test_folder_without_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_quantized(tmp_path / "nothing", build)


def test_unknown_recipe_key_names_the_nearest(tmp_path: Path) -> None:
    saved(tmp_path)
    path = tmp_path / "quantized.json"
    description = json.loads(path.read_text())
    description["recipe"]["weight_bit"] = description["recipe"].pop("weight_bits")
    path.write_text(json.dumps(description))
    with pytest.raises(InputError, match="did you mean 'weight_bits'"):
        load_quantized(tmp_path, build)


def build(meta: dict[str, Any]) -> nn.Module:
    return TinySlots(num_queries=int(meta["num_queries"]))


def saved(folder: Path) -> Quantized:
    model = quantize(warmed(TinySlots()), PTQ, calibration=CALIBRATION)
    quantized = Quantized(model, PTQ, {"num_queries": 4})
    save_quantized(folder, quantized, image_size=SIZE)
    return quantized


@torch.no_grad()
def divergence(model: nn.Module, quantized: nn.Module, batch: torch.Tensor) -> float:
    return distillation_loss(quantized(batch), model(batch)).item()
