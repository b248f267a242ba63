"""Checkpoints that come with edgeseg: found by name, good on what they were trained for, and not written beside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeseg.cli import main
from edgeseg.data.sets import open_dataset
from edgeseg.data.street import make_street
from edgeseg.engine.checkpoint import SHIPPED, load_checkpoint, shipped_checkpoints
from edgeseg.engine.evaluate import evaluate, torch_predictor
from edgeseg.engine.shipped import ship
from edgeseg.structures import InputError

NAMES = ("remax-t-nuclei", "remax-t-street")


def test_the_names_are_those_of_the_card() -> None:
    assert tuple(shipped_checkpoints()) == NAMES
    card = (SHIPPED / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in card for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_is_small_and_names_no_folder_of_the_machine_it_was_trained_on(name: str) -> None:
    assert shipped_checkpoints()[name].stat().st_size <= 8e6
    checkpoint = load_checkpoint(Path(name))
    assert checkpoint.config.data.root is None
    assert checkpoint.config.train.pretrained is None
    assert set(checkpoint.tensors) == {"weights"}


def test_street_sees_scenes_that_it_was_not_trained_on(tmp_path: Path) -> None:
    make_street(tmp_path / "street", train=1, val=24, size=(128, 128), seed=77)
    checkpoint = load_checkpoint(Path("remax-t-street"))
    predictor = torch_predictor(checkpoint.model().deployable(), checkpoint.config.merge, checkpoint.categories)
    val = open_dataset(tmp_path / "street", "val", "auto")
    result = evaluate(predictor, val, size=(128, 128), categories=checkpoint.categories)
    assert result.all.pq > 0.6  # 0.679 on the 200 scenes of its own val split


def test_nuclei_answers_a_segment_for_a_bright_disc_on_black() -> None:
    checkpoint = load_checkpoint(Path("remax-t-nuclei"))
    height, width = checkpoint.config.data.image_size
    y, x = np.mgrid[:height, :width]
    disc = (y - 100) ** 2 + (x - 150) ** 2 < 14**2
    image = np.where(disc[..., None], 140, 8).repeat(3, axis=2).astype(np.uint8)
    merged = torch_predictor(checkpoint.model().deployable(), checkpoint.config.merge, checkpoint.categories)(image)
    slot = merged.slot_map[100, 150]
    assert checkpoint.categories[merged.slot_category[slot]].name == "nucleus_fluorescent"
    inside = merged.slot_map == slot
    assert (inside & disc).sum() / (inside | disc).sum() > 0.7


def test_a_folder_of_that_name_comes_first_and_a_wrong_name_gets_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="did you mean 'remax-t-street'"):
        load_checkpoint(Path("remax-t-stret"))
    Path("remax-t-street").mkdir()
    with pytest.raises(InputError, match=r"holds neither best\.safetensors"):
        load_checkpoint(Path("remax-t-street"))


def test_nothing_is_written_into_the_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_street(tmp_path / "street", train=32, val=1, size=(128, 128), seed=3)
    for verb in (("quantize", "--recipe", "int8-ptq"), ("export",)):
        code = main([verb[0], "remax-t-street", *verb[1:], "--data", str(tmp_path / "street"), "--quiet"])
        assert code == 2
        assert "comes with edgeseg; say where to write with --out" in capsys.readouterr().err


def test_shipping_leaves_training_state_and_data_folder_behind(tmp_path: Path) -> None:
    path = ship(Path("remax-t-street"), "again", tmp_path)
    again, first = load_checkpoint(path), load_checkpoint(Path("remax-t-street"))
    assert again.metrics == first.metrics
    assert all((again.tensors["weights"][name] == tensor).all() for name, tensor in first.tensors["weights"].items())
