"""`edgeseg quantize` on a float checkpoint: what it refuses, and that an interruption leaves no trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from edgeseg.cli import main
from edgeseg.config import Config
from edgeseg.data.sets import open_dataset
from edgeseg.data.street import make_street
from edgeseg.engine.checkpoint import load_checkpoint, save_checkpoint
from edgeseg.engine.train import Trainer, make_fabric
from edgeseg.models import build_model
from edgeseg.quantize.calibrate import is_noise
from edgeseg.quantize.fine_tune import Snapshot
from edgeseg.quantize.partial import open_partial
from edgeseg.quantize.recipes import find_recipe
from edgeseg.structures import Category, InputError
from tests.engine.conftest import tiny
from tests.quantize.tiny import images

RECIPE = "weight_bits = 4\nqat_steps = 20\nqat_lr = 1e-3\nqat_label_weight = 1.0\nqat_ema_decay = 0.5\n"


def save_untrained(path: Path, config: Config, categories: tuple[Category, ...]) -> None:
    """A checkpoint of random weights whose norms have seen noise."""
    torch.manual_seed(0)
    model = build_model(config.model, [category.is_thing for category in categories], config.data.image_size)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.ones_(module.weight)  # some begin with 0, and quantize refuses layers that are 0 throughout
            module.momentum = 0.5
    with torch.no_grad():
        for _ in range(5):
            model.train()(255 * torch.rand(4, 3, 64, 64))
    tensors = {"weights": model.state_dict()}
    save_checkpoint(path, tensors, config=config, categories=categories, step=3, metrics={})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder: a checkpoint with random weights, that says 36 scenes were its data."""
    folder = tmp_path_factory.mktemp("run")
    make_street(folder / "street", train=36, val=4, size=(64, 64), seed=2)
    config = tiny(save_every=2)
    config = replace(config, data=replace(config.data, root=folder / "street"))
    save_untrained(folder / "best.safetensors", config, open_dataset(folder / "street", "train").categories)
    (folder / "mine.toml").write_text(RECIPE)
    return folder


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """The one line that the command ends with."""
    code = main([*map(str, argv), "--quiet"])
    error = capsys.readouterr().err.strip()
    assert code == 2, error
    assert "\n" not in error
    return error


def test_a_recipe_that_a_runtime_can_not_hold(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "quantize", run, "--recipe", "w8", "--runtimes", "onnx,litert")
    assert "litert: its converter would keep the weights float" in said
    assert "take int8-full, or say --runtimes onnx" in said


def test_a_filter_that_fits_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "filter.toml").write_text('float_modules = ["hed.*"]\n')
    said = refused(capsys, "quantize", run, "--recipe", run / "filter.toml")
    assert "float_modules 'hed.*' fits no layer" in said


def test_random_numbers_instead_of_photos(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = tmp_path / "noise"
    make_street(noise, train=36, val=4, size=(64, 64), seed=2)
    photos = list((noise / "train").glob("*.jpg"))
    assert len(photos) == 36
    generator = np.random.default_rng(0)
    for photo in photos:
        Image.fromarray(generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(photo, quality=100)
    out = tmp_path / "out.safetensors"
    said = refused(capsys, "quantize", run, "--recipe", "int8-ptq", "--data", noise, "--out", out)
    assert "as in random numbers" in said
    assert "--force" in said


def test_noise_and_plain_images_are_told_from_pictures() -> None:
    generator = torch.Generator().manual_seed(0)
    assert is_noise(torch.randint(0, 256, (4, 3, 64, 64), generator=generator).float())
    assert is_noise(torch.full((2, 3, 64, 64), 128.0))
    assert not is_noise(images(8, seed=1))  # rectangles on weak noise


def test_a_quantized_checkpoint_names_its_recipe_and_is_no_float_one(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "last.safetensors"
    assert main(["quantize", str(run), "--recipe", "int8-ptq", "--out", str(out), "--quiet", "--json"]) == 0
    capsys.readouterr()
    assert "quantized already, by recipe 'int8-ptq'" in refused(capsys, "quantize", out, "--recipe", "int8")
    quantized = load_checkpoint(out)
    with pytest.raises(InputError, match="no optimiser state to resume from"):
        Trainer(quantized.config, quantized.categories, tmp_path, make_fabric(quantized.config), resume=True)


def test_resume_continues_only_what_it_began(run: Path, tmp_path: Path) -> None:
    out, teacher, recipe = tmp_path / "mine.safetensors", load_checkpoint(run), find_recipe(str(run / "mine.toml"))
    with pytest.raises(InputError, match=r"mine\.partial does not exist: nothing to resume"):
        open_partial(out, teacher, recipe, run, resume=True)
    snapshot = Snapshot(4, {"weights": {"a": torch.ones(2)}, "average": {}}, (2, 0.1, 1 / 3))
    open_partial(out, teacher, recipe, run, resume=False).save(snapshot)
    again = open_partial(out, teacher, recipe, run, resume=True)
    assert again.start is not None
    assert (again.every, again.start.step, again.start.best) == (2, 4, (2, 0.1, 1 / 3))
    assert torch.equal(again.start.tensors["weights"]["a"], torch.ones(2))
    with pytest.raises(InputError, match=r"holds 4 of 20 steps; continue with --resume, or delete it"):
        open_partial(out, teacher, recipe, run, resume=False)
    with pytest.raises(InputError, match="is of another recipe and data; resume with the same"):
        open_partial(out, teacher, replace(recipe, qat_steps=9), tmp_path, resume=True)


@pytest.mark.slow
def test_a_killed_quantization_resumed_equals_one_that_was_not(run: Path, tmp_path: Path) -> None:
    """Every tensor bit by bit, and the scores; the process is killed as soon as it has saved once."""

    def command(out: str) -> list[str]:
        mine = [sys.executable, "-m", "edgeseg", "quantize", run, "--recipe", run / "mine.toml"]
        return [*map(str, mine), "--out", str(tmp_path / out), "--quiet", "--json"]

    whole = subprocess.run(command("whole.safetensors"), check=True, capture_output=True, text=True)
    kill_after(subprocess.Popen(command("cut.safetensors")), tmp_path / "cut.partial")
    again = subprocess.run([*command("cut.safetensors"), "--resume"], check=True, capture_output=True, text=True)
    assert json.loads(again.stdout)["metrics"] == json.loads(whole.stdout)["metrics"]
    first, second = (load_checkpoint(tmp_path / f"{name}.safetensors") for name in ("whole", "cut"))
    assert first.extra == second.extra
    assert all(
        torch.equal(tensor, second.tensors["weights"][name]) for name, tensor in first.tensors["weights"].items()
    )
    assert not list(tmp_path.glob("*.partial"))


def kill_after(process: subprocess.Popen[bytes], file: Path) -> None:
    """SIGKILL as soon as the file is there; the process must not have ended by itself."""
    until = time.monotonic() + 600
    while not file.exists():
        assert process.poll() is None, "ended before it saved"
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_a_head_without_a_loss_on_slots_is_trained_without_its_labels(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = load_checkpoint(run)
    config = replace(own.config, model=replace(own.config.model, head="lraspp"))
    save_untrained(tmp_path / "best.safetensors", config, own.categories)
    code = main(["quantize", str(tmp_path), "--recipe", "int8", "--steps", "2", "--data", str(run / "street")])
    assert code == 0
    assert "a lraspp network has no loss on slots alone" in capsys.readouterr().err
    assert load_checkpoint(tmp_path / "int8.safetensors").extra["recipe"]["qat_label_weight"] == 0.0
