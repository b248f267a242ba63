"""The loss that training steps are timed against is the same loss."""

from __future__ import annotations

import pytest
import torch

from edgeseg.bench.plain_loss import plain_loss
from edgeseg.bench.train_speed import labelled_batch
from edgeseg.config import LossConfig, ModelConfig
from edgeseg.losses.kmax import KMaxLoss
from edgeseg.models import build_model


@pytest.mark.parametrize("config", [LossConfig(), LossConfig(remask=True, reclass=True)])
def test_plain_and_vectorised_loss_and_gradient_are_equal(config: LossConfig) -> None:
    """To what float32 sums in another order differ by; a void corner included."""
    torch.manual_seed(0)
    is_thing = [True] * 8 + [False] * 8
    small = ModelConfig(num_queries=20, query_dim=32, ffn_dim=32, num_heads=2, decoder_dims=(8, 8, 8, 8))
    model = build_model(small, is_thing, (64, 64)).train()
    batch = labelled_batch((64, 64), 2, num_segments=9)
    batch.label_map[1, 32:, 32:] = -1
    predictions = model.forward_training(batch.image)
    generators = [[torch.Generator().manual_seed(seed) for seed in range(2)] for _ in range(2)]
    fast = KMaxLoss(config, is_thing)(predictions, batch, generators[0])["total"]
    slow = plain_loss(predictions, batch, generators[1], config)
    assert float(slow) == pytest.approx(float(fast), rel=1e-5)
    weight = model.head.queries
    assert isinstance(weight, torch.Tensor)
    for a, b in zip(*(torch.autograd.grad(x, [weight], retain_graph=True) for x in (fast, slow)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
