"""Checkpoints: whole or not at all, and refused when they are not what they should be."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from edgeseg.config import ModelConfig
from edgeseg.engine.checkpoint import load_checkpoint, load_weights, pack_optimizer, save_checkpoint, unpack_optimizer
from edgeseg.models import build_model
from edgeseg.structures import Category, InputError
from tests.engine.conftest import tiny

CATEGORIES = (Category(1, "car", True, (1, 2, 3)), Category(9, "sky", False, (4, 5, 6)))


def write(path: Path) -> torch.nn.Module:
    model = build_model(tiny().model, (True, False), (64, 64))
    weights = {"weights": model.state_dict()}
    save_checkpoint(path, weights, config=tiny(), categories=CATEGORIES, step=7, metrics={"all": {"pq": 0.5}})
    return model


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    model = write(tmp_path / "best.safetensors")
    checkpoint = load_checkpoint(tmp_path)
    assert (checkpoint.config, checkpoint.categories, checkpoint.step) == (tiny(), CATEGORIES, 7)
    for name, tensor in checkpoint.model().state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])


@pytest.mark.parametrize("mask, mode", [(0o022, 0o644), (0o077, 0o600)])
def test_who_may_read_a_checkpoint_is_up_to_the_umask(mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        write(tmp_path / "best.safetensors")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "best.safetensors").stat().st_mode) == mode


@settings(max_examples=30, deadline=None)
@given(cut=st.floats(0.0, 0.999))
def test_a_cut_checkpoint_is_refused_by_name(cut: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("cut") / "best.safetensors"
    write(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(cut * len(content))])
    with pytest.raises(InputError, match=r"best\.safetensors is damaged"):
        load_checkpoint(path)


def test_a_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="not an edgeseg checkpoint"):
        load_checkpoint(tmp_path / "x.safetensors")


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "best.safetensors")
    checkpoint = load_checkpoint(tmp_path)
    other = build_model(ModelConfig(num_queries=20), (True, False), (64, 64))
    with pytest.raises(InputError, match=r"best\.safetensors is of another model"):
        load_weights(other, checkpoint.tensors["weights"], checkpoint.path)


def test_an_empty_folder_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither best\.safetensors nor last\.safetensors"):
        load_checkpoint(tmp_path)


def test_a_failed_write_leaves_the_old_checkpoint_and_no_scraps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "best.safetensors"
    write(path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match=r"best\.safetensors was not written: No space left"):
        write(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_optimizers_state_survives_the_round_trip() -> None:
    def optimizer() -> torch.optim.AdamW:
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(3, 3))
        adam = torch.optim.AdamW([weight], lr=0.1)
        weight.square().sum().backward()
        adam.step()
        return adam

    ours, theirs = optimizer(), optimizer()
    theirs.state.clear()
    unpack_optimizer(theirs, {name: tensor.clone() for name, tensor in pack_optimizer(ours).items()})
    for adam in (ours, theirs):
        adam.step()
    assert torch.equal(ours.param_groups[0]["params"][0], theirs.param_groups[0]["params"][0])
