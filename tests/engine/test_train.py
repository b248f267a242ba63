"""Training: resume bit by bit, stop on signals and on nonsense, many processes equal one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeseg.config import Config, LossConfig
from edgeseg.data.coco_panoptic import PanopticFolder
from edgeseg.engine.checkpoint import load_checkpoint
from edgeseg.engine.schedule import Clock, learning_rate_factor
from edgeseg.engine.train import Trainer, make_fabric
from edgeseg.models import HEADS
from edgeseg.structures import CheckError, InputError
from tests.engine.conftest import tiny
from tests.small_disk import run_on_a_small_disk


def run(config: Config, samples: PanopticFolder, out: Path, *, resume: bool = False) -> Trainer:
    trainer = Trainer(config, samples.categories, out, make_fabric(config), resume=resume)
    trainer.fit(samples, samples, quiet=True)
    return trainer


def losses(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line["total"] for line in lines if "total" in line]


@pytest.mark.parametrize("frozen", [0.0, 0.3, 0.7])  # of 6 steps: never, after the stop at 3, before it
def test_a_resumed_run_is_bit_equal_to_one_that_never_stopped(
    frozen: float, samples: PanopticFolder, tmp_path: Path
) -> None:
    config = tiny(steps=6, save_every=3, frozen_norms_fraction=frozen)
    whole = run(config, samples, tmp_path / "whole")

    first = Trainer(config, samples.categories, tmp_path / "parts", make_fabric(config))
    original = first.step

    def step_then_stop(batch: object) -> dict[str, float]:
        values = original(batch)  # type: ignore[arg-type]
        if first.clock.step == 2:
            first.stop_signal = signal.SIGTERM
        return values

    first.step = step_then_stop  # type: ignore[assignment,method-assign]
    first.fit(samples, samples, quiet=True)
    assert first.clock.step == 3
    second = run(config, samples, tmp_path / "parts", resume=True)

    for (name, a), (_, b) in zip(whole.model.state_dict().items(), second.model.state_dict().items(), strict=True):
        assert torch.equal(a, b), name
    for (name, a), (_, b) in zip(whole.average.state_dict().items(), second.average.state_dict().items(), strict=True):
        assert torch.equal(a, b), name
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    assert whole.metrics == second.metrics


def test_training_learns(samples: PanopticFolder, tmp_path: Path) -> None:
    """Forty steps on twelve scenes bring the loss well under its start."""
    run(tiny(steps=40, lr=3e-3), samples, tmp_path)
    course = losses(tmp_path)
    assert np.mean(course[-5:]) < 0.9 * np.mean(course[:5])


def test_a_loss_that_is_not_finite_stops_with_step_and_images(samples: PanopticFolder, tmp_path: Path) -> None:
    config = tiny()
    trainer = Trainer(config, samples.categories, tmp_path, make_fabric(config))
    with torch.no_grad():
        trainer.model.head.queries.fill_(float("nan"))
    with pytest.raises(CheckError, match=r"not finite at step 1 .*images \["):
        trainer.fit(samples, samples, quiet=True)


def test_resuming_with_another_config_names_what_differs(samples: PanopticFolder, tmp_path: Path) -> None:
    run(tiny(steps=1), samples, tmp_path)
    other = replace(tiny(steps=1), loss=LossConfig(reclass=True))
    with pytest.raises(InputError, match=r"another loss\.reclass"):
        run(other, samples, tmp_path, resume=True)


def test_the_averaged_weights_are_what_is_evaluated_and_kept_as_best(samples: PanopticFolder, tmp_path: Path) -> None:
    trainer = run(tiny(steps=3), samples, tmp_path)
    best = load_checkpoint(tmp_path, prefer="best")
    for name, tensor in trainer.average.module.state_dict().items():
        assert torch.equal(best.tensors["weights"][name], tensor)
    assert best.metrics == trainer.metrics
    assert best.categories == samples.categories


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_writes_a_checkpoint_and_exits_clean(number: int, street: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgeseg", "train", "street", "--data.root", str(street), "--out", str(tmp_path)]
    command += ["--data.image-size", "64", "64", "--data.batch-size", "4", "--data.num-workers", "1", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    log = tmp_path / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (log.exists() and log.read_text().count("\n") >= 2):
        time.sleep(0.2)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    result = json.loads(out)
    assert result["interrupted"] is True
    assert load_checkpoint(tmp_path, prefer="last").step == result["step"] >= 2
    assert "--resume" in err


def test_half_a_line_that_a_kill_left_in_the_log_is_dropped(samples: PanopticFolder, tmp_path: Path) -> None:
    run(tiny(steps=2), samples, tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as log:
        log.write('{"step": 3, "to')
    run(tiny(steps=2), samples, tmp_path, resume=True)
    assert len(losses(tmp_path)) == 2


@pytest.mark.parametrize("head", HEADS)
def test_half_precision_has_the_loss_of_the_whole_one_and_leaves_the_weights_alone(
    head: str, samples: PanopticFolder, tmp_path: Path
) -> None:
    """bfloat16 has 8 significant bits: the first loss, of the same weights, may differ in the third digit."""
    config = tiny(steps=2)
    config = replace(config, model=replace(config.model, head=head))
    half = replace(config, train=replace(config.train, precision="bf16-mixed"))
    run(config, samples, tmp_path / "float32")
    trained = run(half, samples, tmp_path / "bf16")
    first, first_half = losses(tmp_path / "float32")[0], losses(tmp_path / "bf16")[0]
    assert first_half != first
    assert first_half == pytest.approx(first, rel=0.02)
    assert all(value.dtype == torch.float32 for value in trained.model.parameters())


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_leaves_the_checkpoint_before(street: Path, tmp_path: Path) -> None:
    """Room for the first checkpoint and not for the next beside it."""
    command = [sys.executable, "-m", "edgeseg", "train", "street", "--data.root", str(street), "--out", str(tmp_path)]
    command += ["--train.steps", "4", "--train.save-every", "2", "--data.image-size", "64", "64", "--quiet"]
    done = run_on_a_small_disk(tmp_path, 30_000, command)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert ".safetensors was not written: No space left on device" in line
    assert done.stdout.split() == ["config.json", "last.safetensors", "metrics.jsonl"]


def test_a_score_on_a_part_of_the_images_does_not_keep_out_the_one_on_all(
    samples: PanopticFolder, tmp_path: Path
) -> None:
    """A part may be easier by chance; the last evaluation takes all images, and its weights are kept."""
    config = tiny(steps=3, eval_every=1, eval_images=2)
    trainer = Trainer(config, samples.categories, tmp_path, make_fabric(config))
    trainer.best_pq = 2.0  # better than any score can be
    trainer.fit(samples, samples, quiet=True)
    best = load_checkpoint(tmp_path, prefer="best")
    assert (best.step, best.metrics) == (3, trainer.metrics)


@pytest.mark.slow
def test_two_processes_on_gloo_give_the_loss_of_one_with_the_same_global_batch(street: Path, tmp_path: Path) -> None:
    """Norm statistics, sampling and gradients are those of the global batch; float32 sums differ in order only."""
    arguments = ["-m", "edgeseg", "train", "street", "--data.root", str(street), "--train.steps", "3", "--quiet"]
    arguments += ["--data.image-size", "64", "64", "--data.batch-size", "4", "--data.num-workers", "0"]
    arguments += [
        "--model.backbone",
        "mobilenet_v3_small",
    ]  # smooth: behind ReLUs, last bits tip a matching in two steps
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
    for name, launch in (("one", []), ("two", torchrun)):
        command = [sys.executable, *launch, *arguments, "--out", str(tmp_path / name)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
    np.testing.assert_allclose(losses(tmp_path / "one"), losses(tmp_path / "two"), rtol=1e-4)


def test_the_schedule_warms_up_linearly_and_decays_to_nothing() -> None:
    config = replace(tiny().train, warmup_fraction=0.1, poly_power=1.0)
    factors = [learning_rate_factor(f, config) for f in (0.05, 0.1, 0.55, 1.0)]
    assert factors == pytest.approx([0.5, 0.9, 0.45, 0.0])


def test_a_clock_with_minutes_ends_by_time_and_one_without_by_steps() -> None:
    by_steps = Clock(tiny(steps=10).train, step=5, seconds=50.0)
    assert by_steps.fraction == 0.5
    assert by_steps.seconds_left == 50.0
    by_time = Clock(tiny(minutes=2.0).train, step=100, seconds=30.0)
    assert by_time.fraction == 0.25
    assert by_time.total_steps == 400
    assert by_time.seconds_left == 90.0
