"""Ternary weights: their grids by hand, their gradient, training, and the way into a container and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from edgeseg.quantize import (
    RECIPES,
    ActivationQuantizer,
    QuantConv2d,
    Recipe,
    deploy,
    deploy_again,
    distillation_loss,
    find_recipe,
    quantize,
)
from edgeseg.quantize.packed import pack_state
from edgeseg.quantize.weights import Ternary, TernaryRule
from edgeseg.structures import Batch, InputError, Slots
from tests.quantize.tiny import SIZE, TinySlots, images, warmed

TERNARY = Recipe(name="test", ternary="twn", linears=True)
CALIBRATION = [images(8, seed=seed) for seed in (1, 2)]
ROW = torch.tensor([[2.0, -1.0, 0.5, 0.5]])  # mean magnitude 1


@pytest.mark.parametrize(
    "rule, step, rounded",
    [
        ("absmean", 1.0, [1.0, -1.0, 0.0, 0.0]),  # counts above 0.5, step = 1
        ("twn", 1.5, [1.5, -1.5, 0.0, 0.0]),  # counts above 0.7, step = (2 + 1) / 2
    ],
)
def test_grids_are_those_of_the_papers(rule: TernaryRule, step: float, rounded: list[float]) -> None:
    grid = Ternary(rule)
    assert grid.step(ROW).tolist() == [step]
    assert grid.rounded(ROW, grid.step(ROW)).tolist() == [rounded]


def test_the_scale_of_twn_is_the_best_for_its_codes() -> None:
    """Least squares of w over t: <w, t> / <t, t>."""
    weight = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    grid = Ternary("twn")
    codes = (grid.rounded(weight, torch.ones(6))).round()
    best = (weight * codes).sum(1) / codes.square().sum(1)
    torch.testing.assert_close(grid.step(weight), best)


def test_the_gradient_reaches_every_latent_weight() -> None:
    weight = ROW.clone().requires_grad_()
    Ternary().rounded(weight, torch.tensor([1.5])).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [[1.0, 1.0, 1.0, 1.0]]


def test_a_channel_of_zeros_stays_zero() -> None:
    conv = nn.Conv2d(4, 2, 1)
    nn.init.zeros_(conv.weight)
    quantizer = ActivationQuantizer()
    quantizer.scale.fill_(0.1)
    layer = QuantConv2d(conv, quantizer, Ternary())
    layer.set_phase("train")
    assert torch.isfinite(layer(torch.ones(1, 4, 1, 1))).all()
    layer.set_phase("deploy")
    assert not layer.weight_int8.any()


def test_a_deployed_network_holds_codes_and_answers_what_was_trained() -> None:
    trained = quantize(warmed(TinySlots()), TERNARY, calibration=CALIBRATION)
    deployed = deploy(trained)
    batch = images(2, seed=5)
    with torch.no_grad():
        assert torch.equal(deployed(batch).mask_logits, trained(batch).mask_logits)
    state = deployed.state_dict()
    codes = {name for name, tensor in state.items() if name.endswith("weight_int8") and tensor.abs().max() <= 1}
    assert codes == {f"{name}.weight_int8" for name in ("gate.1", "down.0", "lateral", "embed", "queries", "classify")}
    assert not [name for name in state if name.endswith((".weight", ".bias"))]  # no latent weight travels along


@pytest.mark.parametrize("recipe", [TERNARY, Recipe(name="test"), replace(TERNARY, activation_bits=0)])
def test_the_packed_state_rebuilds_the_deployed_network_bit_by_bit(recipe: Recipe) -> None:
    deployed = deploy(quantize(warmed(TinySlots()), recipe, calibration=CALIBRATION))
    packed = pack_state(deployed.state_dict())
    again = deploy_again(warmed(TinySlots(), seed=7), recipe, torch.zeros(1, 3, *SIZE), packed)
    batch = images(2, seed=5)
    with torch.no_grad():
        assert torch.equal(again(batch).mask_logits, deployed(batch).mask_logits)
        assert torch.equal(again(batch).class_logits, deployed(batch).class_logits)


def test_training_with_free_activations_brings_a_ternary_network_back() -> None:
    """Divergence on unseen images falls to a fifth at most; the kept step is one with activations on their grids."""
    model = warmed(TinySlots())
    held_out = images(16, seed=99)
    before = quantize(model, TERNARY, calibration=CALIBRATION)
    recipe = replace(TERNARY, qat_steps=60, qat_lr=5e-3, qat_free_fraction=0.5)
    batches = (images(8, seed=1000 + step) for step in range(60))
    trained = quantize(model, recipe, calibration=CALIBRATION, batches=batches)
    with torch.no_grad():
        wanted = model(held_out)
        assert distillation_loss(trained(held_out), wanted) < 0.2 * distillation_loss(before(held_out), wanted)
    assert trained.meta["kept_step"] >= 30


def test_labels_are_asked_for_where_the_recipe_weighs_them() -> None:
    recipe = replace(TERNARY, qat_steps=1, qat_label_weight=1.0)
    with pytest.raises(InputError, match="the batches have no labels"):
        quantize(warmed(TinySlots()), recipe, calibration=CALIBRATION, batches=[images(2, seed=1)])
    seen: list[Batch] = []

    def loss(slots: Slots, batch: Batch) -> torch.Tensor:
        seen.append(batch)
        return slots.mask_logits.square().mean()

    pixels = images(2, seed=1).clamp(0, 255).to(torch.uint8)
    batch = Batch(pixels, torch.zeros(2, *SIZE, dtype=torch.int16), [torch.tensor([0])] * 2, [1, 2])
    trained = quantize(warmed(TinySlots()), recipe, calibration=CALIBRATION, batches=[batch], label_loss=loss)
    assert seen == [batch]
    assert trained.meta["kept_step"] == 1


def test_a_recipe_of_ones_own_comes_from_a_toml_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('ternary = "absmean"\nlinears = true\nint8_modules = ["head.*"]\n')
    assert find_recipe(str(path)) == Recipe(name="mine", ternary="absmean", linears=True, int8_modules=("head.*",))
    path.write_text("weight_bit = 4\n")
    with pytest.raises(InputError, match=r"mine\.toml: unknown key 'weight_bit' \(did you mean 'weight_bits'\?\)"):
        find_recipe(str(path))
    taken = tmp_path / "int8.toml"
    taken.write_text("")
    with pytest.raises(InputError, match=r"int8\.toml: 'int8' is taken"):
        find_recipe(str(taken))


def test_the_recipes_of_the_docs_differ_from_the_named_one_in_what_they_say() -> None:
    folder = Path(__file__).parents[2] / "docs" / "recipes"
    short, alone = (find_recipe(str(folder / f"{name}.toml")) for name in ("ternary-bf16", "ternary-labels-alone"))
    assert short == replace(RECIPES["ternary"], name="ternary-bf16", qat_steps=3000, qat_precision="bf16-mixed")
    assert alone == replace(short, name="ternary-labels-alone", qat_teacher_weight=0.0)
