"""Norm statistics that are taken anew before an evaluation."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from edgeseg.data.coco_panoptic import PanopticFolder
from edgeseg.engine.norms import batch_norms, settle_norms
from edgeseg.engine.train import Trainer, make_fabric
from edgeseg.models import build_model
from edgeseg.structures import Batch
from tests.engine.conftest import tiny


def test_statistics_become_the_means_over_the_batches() -> None:
    """Against the inputs that a hook sees at the deepest norm of the backbone's last stage."""
    torch.manual_seed(0)
    model = build_model(tiny().model, [True, False], (64, 64))
    name, norm = [(n, m) for n, m in model.backbone.named_modules() if isinstance(m, nn.BatchNorm2d)][-1]
    seen: list[torch.Tensor] = []
    norm.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    settle_norms(model, [255 * torch.rand(3, 3, 64, 64) for _ in range(4)])
    assert len(seen) == 4, name
    mean = torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0)
    variance = torch.stack([x.var((0, 2, 3), unbiased=True) for x in seen]).mean(0)
    assert isinstance(norm.running_mean, torch.Tensor)
    assert isinstance(norm.running_var, torch.Tensor)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)
    assert norm.momentum == 0.01
    assert not model.training


def test_weights_stay_as_they_are() -> None:
    model = build_model(tiny().model, [True, False], (64, 64))
    before = {name: p.clone() for name, p in model.named_parameters()}
    settle_norms(model, [torch.rand(2, 3, 64, 64)])
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())


def test_a_short_training_is_evaluated_with_the_statistics_of_its_last_weights(
    samples: PanopticFolder, tmp_path: Path
) -> None:
    """Forty steps: with running statistics, which then hold two thirds of their first value, nothing is found."""
    found = {}
    for norm_batches in (0, 8):
        config = tiny(steps=40, lr=3e-3, norm_batches=norm_batches)
        trainer = Trainer(config, samples.categories, tmp_path / str(norm_batches), make_fabric(config))
        trainer.fit(samples, samples, quiet=True)
        predictions = trainer.to_evaluate(
            torch.stack([torch.from_numpy(samples[i].image) for i in range(4)]).permute(0, 3, 1, 2).float()
        )
        found[norm_batches] = len(predictions.mask_logits.argmax(1).unique())
    assert found[8] > found[0]


def test_training_itself_does_not_change(samples: PanopticFolder, tmp_path: Path) -> None:
    weights = []
    for norm_batches in (0, 4):
        config = tiny(steps=4, eval_every=2, norm_batches=norm_batches)
        trainer = Trainer(config, samples.categories, tmp_path / str(norm_batches), make_fabric(config))
        trainer.fit(samples, samples, quiet=True)
        weights.append([p.detach().clone() for p in trainer.average.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_frozen_norms_train_as_they_are_deployed(samples: PanopticFolder, tmp_path: Path) -> None:
    """From the middle of four steps on no image's loss depends on its batch, and no statistic moves any more.

    The average begins anew there: of what the third and the fourth step leave, 2 / 11 and 9 / 11.
    """
    config = tiny(steps=4, frozen_norms_fraction=0.5, norm_batches=2)
    trainer = Trainer(config, samples.categories, tmp_path, make_fabric(config))
    course, weights, step = [], [], trainer.step

    def watched(batch: Batch) -> dict[str, float]:
        course.append({name: b.clone() for name, b in trainer.model.named_buffers() if "running" in name})
        values = step(batch)
        norms = batch_norms(trainer.model)
        assert {norm.training for norm in norms} == {len(course) <= 2}
        weights.append([p.detach().clone() for p in trainer.model.parameters()])
        return values

    trainer.step = watched  # type: ignore[method-assign]
    trainer.fit(samples, samples, quiet=True)
    last = dict(trainer.model.named_buffers())
    averaged = dict(trainer.average.module.named_buffers())
    for name, then in course[2].items():
        assert not torch.equal(course[0][name], then), name
        assert torch.equal(then, last[name]), name
        torch.testing.assert_close(averaged[name], then)
    for average, third, fourth in zip(trainer.average.module.parameters(), *weights[2:], strict=True):
        torch.testing.assert_close(average, (2 * third + 9 * fourth) / 11)
