"""Learned steps: values and gradients by hand, what AdamW does to them, and what is deployed of them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from edgeseg.quantize import ActivationQuantizer, QuantConv2d, Recipe, calibrate, deploy, prepare, quantize
from edgeseg.quantize.learned import learned_rounding, pass_gradient
from edgeseg.quantize.weights import Learned, Ternary, Uniform
from tests.quantize.tiny import SIZE, TinySlots, images, labelled, warmed

LEARNED = Recipe(
    name="test",
    ternary="twn",
    linears=True,
    learned_weight_steps=True,
    learned_activation_steps=True,
    qat_steps=4,
    qat_lr=1e-2,
)
CALIBRATION = [images(8, seed=seed) for seed in (1, 2)]


def test_gradients_are_those_of_the_paper() -> None:
    """Ternary, step 2: 0.6 and 1.4 lie between grid points 0 and 1, 5 beyond the last, -2.4 beyond the first.

    Esser et al. 2020, eq. 3: round(v/s) - v/s inside, the end outside; times 1 / sqrt(values x largest integer).
    """
    x = torch.tensor([[0.6, 1.4, 5.0, -2.4]], requires_grad=True)
    step = torch.tensor([2.0], requires_grad=True)
    rounded = learned_rounding(x, step, torch.zeros(1, dtype=torch.int32), low=-1, high=1)
    assert rounded.tolist() == [[0.0, 2.0, 2.0, -2.0]]
    (rounded * torch.tensor([[1.0, 10.0, 100.0, 1000.0]])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[1.0, 10.0, 0.0, 0.0]]
    assert step.grad is not None
    by_hand = (0 - 0.3) * 1 + (1 - 0.7) * 10 + 1 * 100 - 1 * 1000
    assert step.grad.item() == pytest.approx(by_hand / math.sqrt(4 * 1), rel=1e-5)


def test_gradient_of_an_activation_step_counts_levels_and_values_of_one_image() -> None:
    """Step 0.5, 0.0 is integer -128: 0.6 rounds to one step (1 - 1.2), 200 stops at 255 steps, -1 at none."""
    x = torch.tensor([[0.6, 200.0, -1.0]], requires_grad=True)
    step = torch.tensor(0.5, requires_grad=True)
    rounded = learned_rounding(x, step, torch.tensor(-128, dtype=torch.int32), low=-128, high=127)
    assert rounded.tolist() == [[0.5, 127.5, 0.0]]
    rounded.sum().backward()
    assert step.grad is not None
    assert step.grad.item() == pytest.approx((1 - 1.2 + 255) / math.sqrt(3 * 255), rel=1e-5)


def test_gradient_agrees_with_differences_where_rounding_stays() -> None:
    """Beyond the ends the output is a multiple of the step, so its slope can be measured."""
    x = torch.tensor([[30.0, -40.0]])
    zero = torch.zeros(1, dtype=torch.int32)
    step = torch.tensor([1.0], requires_grad=True)
    learned_rounding(x, step, zero, low=-7, high=7).square().sum().backward()
    assert step.grad is not None
    higher, lower = (
        learned_rounding(x, torch.tensor([s]), zero, low=-7, high=7).square().sum().item() for s in (1.001, 0.999)
    )
    assert step.grad.item() * math.sqrt(2 * 7) == pytest.approx((higher - lower) / 0.002, rel=1e-3)


def test_a_passed_gradient_leaves_the_value_exact() -> None:
    latent = torch.randn(1000, generator=torch.Generator().manual_seed(0), requires_grad=True)
    value = torch.full((1000,), 0.1)
    passed = pass_gradient(latent, value)
    assert torch.equal(passed, value)
    passed.sum().backward()
    assert latent.grad is not None
    assert torch.equal(latent.grad, torch.ones(1000))


@pytest.mark.parametrize("start", [Uniform(8), Uniform(4), Ternary("absmean"), Ternary("twn")])
def test_learning_starts_from_the_rules_own_steps(start: Uniform | Ternary) -> None:
    conv = nn.Conv2d(4, 6, 3)
    layer = QuantConv2d(conv, None, Learned(start))
    wanted = start.stored(start.step(conv.weight))
    assert torch.allclose(layer.weight_scale(), wanted, rtol=1e-2)  # bfloat16 has 8 bits
    layer.set_phase("train")
    weight, _ = layer.current()
    codes = weight / layer.weight_scale().view(-1, 1, 1, 1)
    assert torch.allclose(codes, codes.round(), atol=1e-4)
    assert codes.detach().abs().max().round() == start.high


def test_training_moves_steps_by_a_share_and_zero_points_not_at_all() -> None:
    """AdamW moves a parameter by at most about its rate a step: 4 steps of 1e-2 are 4 % of the step at most."""
    model = warmed(TinySlots())
    before = prepare(model, LEARNED, CALIBRATION[0][:1])
    calibrate(before, CALIBRATION)
    first = {name: m for name, m in before.named_modules() if isinstance(m, (ActivationQuantizer, QuantConv2d))}
    batches = (labelled(images(8, seed=1000 + step)) for step in range(4))
    trained = quantize(
        model,
        replace(LEARNED, qat_label_weight=1.0),  # with labels the last weights stay
        calibration=CALIBRATION,
        batches=batches,
        label_loss=lambda slots, batch: slots.mask_logits.square().mean(),
    )
    moved = 0
    for name, old in first.items():
        new = trained.get_submodule(name)
        if isinstance(old, ActivationQuantizer):
            assert isinstance(new, ActivationQuantizer)
            assert int(new.zero_point) == int(old.zero_point)
            ratio = new.scale / old.scale
            assert new.log_gain is not None
            assert float(new.log_gain) == 0.0  # absorbed
        else:
            assert isinstance(new, QuantConv2d)
            assert isinstance(old, QuantConv2d)
            ratio = new.weight_scale() / old.weight_scale()
        assert 0.95 < ratio.min().item() <= ratio.max().item() < 1.05
        moved += bool((ratio != 1).any())
    assert moved > len(first) / 2


def test_deployed_network_with_learned_steps_equals_the_trained_one() -> None:
    batches = (images(8, seed=1000 + step) for step in range(4))
    trained = quantize(warmed(TinySlots()), LEARNED, calibration=CALIBRATION, batches=batches)
    deployed = deploy(trained)
    batch = images(2, seed=5)
    with torch.no_grad():
        assert torch.equal(deployed(batch).mask_logits, trained(batch).mask_logits)
        assert torch.equal(deployed(batch).class_logits, trained(batch).class_logits)
    assert not [name for name in deployed.state_dict() if name.endswith(("log_step", "log_gain"))]
    restored = prepare(warmed(TinySlots(), seed=7), LEARNED, torch.zeros(1, 3, *SIZE))
    restored.load_state_dict(trained.state_dict())
