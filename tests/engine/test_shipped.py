"""Checkpoints that come with edgeseg: found by name, good on what they were trained for, and not written beside."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeseg.cli import main
from edgeseg.data.photo import read_image
from edgeseg.data.sets import open_dataset
from edgeseg.data.street import make_street
from edgeseg.data.transforms import letterbox
from edgeseg.engine.checkpoint import SHIPPED, load_checkpoint, save_checkpoint, shipped_checkpoints, shipped_photos
from edgeseg.engine.evaluate import evaluate, torch_predictor
from edgeseg.engine.shipped import ship
from edgeseg.export.bundle import open_bundle
from edgeseg.export.golden import read_golden
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


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_each_is_exported_at_once_and_proven_on_the_photos_that_come_with_it(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="pip install 'edgeseg[onnx]'")
    assert main(["export", name, "--out", str(tmp_path / "box.edgeseg"), "--only", "onnx", "--quiet"]) == 0
    bundle = open_bundle(tmp_path / "box.edgeseg")
    photos = shipped_photos(load_checkpoint(Path(name)))
    size = bundle.image_size
    assert len(photos) == len(bundle.goldens) == 8
    for photo, golden in zip(photos, read_golden(bundle, "float32"), strict=True):
        np.testing.assert_array_equal(golden.image, letterbox(read_image(photo), size)[0])
        assert len(np.unique(golden.merged.slot_map)) > 2, f"{photo} shows nothing that the network knows"


def test_a_copy_elsewhere_has_no_photos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = Path(shutil.copy(shipped_checkpoints()["remax-t-street"], tmp_path / "mine.safetensors"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "0.png").touch()
    assert shipped_photos(load_checkpoint(copy)) == []
    assert main(["export", str(copy), "--out", str(tmp_path / "box.edgeseg")]) == 2
    assert "does not say what it was trained on; give --data FOLDER" in capsys.readouterr().err


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


def test_shipping_leaves_training_state_and_data_folder_behind_and_takes_photos_along(tmp_path: Path) -> None:
    make_street(tmp_path / "street", train=1, val=12, size=(64, 64), seed=0)
    first = load_checkpoint(Path("remax-t-street"))
    config = replace(first.config, data=replace(first.config.data, root=tmp_path / "street"))
    state = {"config": config, "categories": first.categories, "step": first.step, "metrics": first.metrics}
    tensors = {"weights": first.tensors["weights"], "optimizer": {"moment": torch.zeros(2)}}
    save_checkpoint(tmp_path / "last.safetensors", tensors, **state)
    again = load_checkpoint(ship(tmp_path / "last.safetensors", "again", tmp_path))
    assert (again.metrics, again.config, set(again.tensors)) == (first.metrics, first.config, {"weights"})
    assert all((again.tensors["weights"][name] == tensor).all() for name, tensor in first.tensors["weights"].items())
    val = open_dataset(tmp_path / "street", "val", "auto")
    for photo, index in zip(sorted((tmp_path / "again").iterdir()), (0, 1, 3, 4, 6, 7, 9, 10), strict=True):
        np.testing.assert_array_equal(read_image(photo), val[index].image)


def test_a_checkpoint_without_its_data_is_not_shipped(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no photos could come with it"):
        ship(Path("remax-t-street"), "again", tmp_path)
    assert not [*tmp_path.iterdir()]
