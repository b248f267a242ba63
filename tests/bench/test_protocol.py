"""Timing: what a measurement says about files with a known cost, and how failures are told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeseg.bench import protocol
from edgeseg.bench.machine import this_machine, usable_cores
from edgeseg.bench.protocol import Target, measure
from edgeseg.bench.worker import _is_settled
from edgeseg.config import Config, DataConfig, ModelConfig
from edgeseg.engine.checkpoint import save_checkpoint
from edgeseg.models import build_model
from edgeseg.structures import CheckError, InputError
from tests.bench.tiny import CATEGORIES, SIZE, write_onnx


@pytest.mark.slow
def test_eight_times_the_products_take_about_eight_times_as_long(tmp_path: Path) -> None:
    """512^3 multiply-adds a product swamp everything else; the factor is wide because machines are shared."""
    few, many = write_onnx(tmp_path / "few.onnx", num_products=4), write_onnx(tmp_path / "many.onnx", num_products=32)
    seen: list[str] = []
    records = measure(
        [few, many], threads=(1,), seconds=0.3, rounds=2, on_done=lambda target: seen.append(target.artifact)
    )
    assert [record.artifact for record in records] == ["few.onnx", "many.onnx"]
    assert sorted(seen[:2]) == sorted(seen[2:]) == ["few.onnx", "many.onnx"]  # two rounds of both
    fast, slow = (record.latency for record in records)
    assert fast is not None
    assert slow is not None
    assert 4 < slow.min_ms / fast.min_ms < 16
    for record in records:
        assert sum(record.round_sizes) == len(record.samples_ms)
        assert len(record.round_sizes) == len(record.load_ms) == 2
        assert min(record.round_sizes) >= 5
        assert record.warmup_runs >= 20
        assert record.peak_mib > record.rss_delta_mib > 0
        assert record.runtime_version.startswith("onnxruntime 1.")
        assert not record.emulated


@pytest.mark.slow
def test_the_eager_reference_is_timed_from_a_checkpoint(tmp_path: Path) -> None:
    config = Config(data=DataConfig(image_size=SIZE), model=ModelConfig(num_queries=8))
    weights = build_model(config.model, [c.is_thing for c in CATEGORIES], SIZE).state_dict()
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, {"weights": weights}, config=config, categories=CATEGORIES, step=0, metrics={})
    target = Target(path, "tiny.edgeseg", "torch", "0" * 64, "torch", "float32", "graph", SIZE)
    (record,) = measure([target], threads=(1,), seconds=0.2, rounds=1)
    assert record.latency is not None
    assert record.latency.min_ms > 0.1
    assert record.runtime_version.startswith("torch 2.")


@pytest.mark.slow
def test_a_worker_that_dies_is_a_failed_check_with_its_last_words(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="pip install 'edgeseg[onnx]'")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a protobuf")
    target = Target(broken, "tiny.edgeseg", "broken.onnx", "0" * 64, "onnx", "int8", "graph", SIZE)
    with pytest.raises(CheckError, match=r"broken\.onnx with onnx failed \(exit 1\): .*[Pp]rotobuf"):
        measure([target], threads=(1,), seconds=0.1, rounds=1)


@pytest.mark.parametrize("runtime", ["coreml", "coreml-ios17", "coreml-ios16"])
def test_core_ml_off_a_mac_is_left_out_and_says_so(
    runtime: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(protocol.sys, "platform", "linux")
    target = Target(tmp_path / "m.mlpackage", "tiny.edgeseg", "m.mlpackage", "0" * 64, runtime, "int8", "app", SIZE)
    (record,) = measure([target], threads=(1, 2), seconds=0.1, rounds=1)
    assert record.latency is None
    assert record.samples_ms == ()
    assert "Apple" in record.not_timed


@pytest.mark.parametrize("threads, rounds, seconds", [((), 1, 1.0), ((0,), 1, 1.0), ((1,), 0, 1.0), ((1,), 1, 0.0)])
def test_numbers_out_of_range_are_refused(threads: tuple[int, ...], rounds: int, seconds: float) -> None:
    with pytest.raises(InputError, match="above zero"):
        measure([], threads=threads, rounds=rounds, seconds=seconds)


def test_calls_have_settled_when_two_stretches_of_five_agree_within_five_percent() -> None:
    assert _is_settled([9.0, 10, 10, 10, 10, 10, 10.4, 10.4, 10.4, 10.4, 10.4])
    assert not _is_settled([10.0] * 5 + [9.0] * 5)
    assert _is_settled([10.0] * 5 + [10.0, 10.0, 10.0, 50.0, 50.0])  # one hiccup is not a drift


def test_the_machine_is_named_as_its_system_names_it() -> None:
    device = this_machine()
    assert device.name
    assert usable_cores() <= device.cores <= (os.cpu_count() or 1)
    assert device.os.startswith(os.uname().sysname)
    assert device.machine == os.uname().machine
    assert device.memory_mib > 256
