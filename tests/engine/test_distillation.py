"""Training with a teacher."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edgeseg.config import Config
from edgeseg.data.coco_panoptic import PanopticFolder
from edgeseg.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgeseg.engine.distill import load_teacher
from edgeseg.engine.train import Trainer, make_fabric
from edgeseg.models import build_model
from edgeseg.structures import InputError
from tests.engine.conftest import tiny


@pytest.fixture(scope="module")
def teacher(samples: PanopticFolder, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Knows one category, that of most pixels; more slots than the student, images of twice the size."""
    config = tiny()
    config = replace(
        config, model=replace(config.model, num_queries=24), data=replace(config.data, image_size=(128, 128))
    )
    torch.manual_seed(1)
    model = build_model(config.model, [c.is_thing for c in samples.categories], config.data.image_size)
    largest = max(samples[0].segments, key=lambda segment: segment.area).category_id
    with torch.no_grad():
        model.head.classify.bias[[c.id for c in samples.categories].index(largest)] += 20  # type: ignore[index, operator, union-attr]
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    weights = {"weights": model.state_dict()}
    save_checkpoint(path, weights, config=config, categories=samples.categories, step=0, metrics={})
    return load_checkpoint(path)


def with_teacher(path: Path, **train: object) -> Config:
    return tiny(teacher=path, norm_batches=2, **train)


def test_a_teacher_adds_its_terms_and_does_not_change(
    teacher: Checkpoint, samples: PanopticFolder, tmp_path: Path
) -> None:
    config = with_teacher(teacher.path, steps=3)
    trainer = Trainer(config, samples.categories, tmp_path, make_fabric(config))
    model = trainer.task.module.teacher.model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trainer.fit(samples, samples, quiet=True)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for line in lines[:3]:
        parts = [line[k] for k in ("class", "dice", "mask_id", "discrimination", "semantic")]
        assert line["total"] == pytest.approx(sum(parts) + line["distill_mask"] + line["distill_class"], rel=1e-5)
        assert line["distill_mask"] > 0
    assert not model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    saved = load_checkpoint(tmp_path, prefer="last")
    assert not [name for group in saved.tensors.values() for name in group if "teacher" in name]
    assert saved.config.train.teacher == teacher.path


def test_a_teacher_of_other_categories_is_refused(teacher: Checkpoint, samples: PanopticFolder) -> None:
    renamed = [replace(samples.categories[0], name="unicorn"), *samples.categories[1:]]
    with pytest.raises(InputError, match="unicorn"):
        load_teacher(teacher.path, renamed, (64, 64), tiny().loss)


def test_a_teacher_of_images_of_another_shape_is_refused(teacher: Checkpoint, samples: PanopticFolder) -> None:
    with pytest.raises(InputError, match=r"takes images of 128 x 128 .*, the student 64 x 96"):
        load_teacher(teacher.path, samples.categories, (64, 96), tiny().loss)


def test_a_student_whose_masks_are_sigmoids_is_refused(teacher: Checkpoint, samples: PanopticFolder) -> None:
    with pytest.raises(InputError, match=r"masks by softmax, and loss.mask_activation is 'sigmoid'"):
        load_teacher(teacher.path, samples.categories, (128, 128), replace(tiny().loss, mask_activation="sigmoid"))


def test_a_student_whose_head_has_no_slots_in_training_is_refused(
    teacher: Checkpoint, samples: PanopticFolder, tmp_path: Path
) -> None:
    config = with_teacher(teacher.path)
    config = replace(config, model=replace(config.model, head="panoptic_deeplab"))
    trainer = Trainer(config, samples.categories, tmp_path, make_fabric(config))
    with pytest.raises(InputError, match=r"slots in training \(kmax, pem\)"):
        trainer.fit(samples, samples, quiet=True)
