"""A bundle timed from end to end, with real files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgeseg.bench.measurement import read_measurements
from edgeseg.bench.run import Settings, bench_to_file
from edgeseg.structures import InputError
from tests.bench.tiny import write_bundle

BRIEF = Settings(threads=(1,), seconds=0.1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac would load the Core ML file, which is no real one")
def test_every_artifact_gets_a_row_and_a_second_run_adds_to_the_file(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path)
    result = bench_to_file(bundle, None, settings=BRIEF, quiet=True)
    path = tmp_path / "measurements.jsonl"
    assert result["measurements"] == str(path)
    core_ml, onnx = result["artifacts"]
    assert onnx["artifact"] == "tiny.float32.onnx"
    assert 0 < onnx["min_ms"] <= onnx["p50_ms"] <= onnx["p90_ms"] <= onnx["p99_ms"]
    assert onnx["runs"] >= 10
    assert "Apple" in core_ml["not_timed"]
    assert "p50_ms" not in core_ml
    first = read_measurements(path)
    assert [m.artifact for m in first] == ["tiny.float32.mlpackage", "tiny.float32.onnx"]
    bench_to_file(bundle, path, settings=BRIEF, quiet=True)
    assert read_measurements(path)[:2] == first
    assert len(read_measurements(path)) == 4


def test_a_file_of_something_else_is_refused_before_anything_is_timed(tmp_path: Path) -> None:
    out = tmp_path / "notes.jsonl"
    out.write_text('{"note": "mine"}\n')
    with pytest.raises(InputError, match=r"notes\.jsonl:1: schema 1 or 2 wanted"):
        bench_to_file(tmp_path / "missing.edgeseg", out, settings=BRIEF)
    assert out.read_text() == '{"note": "mine"}\n'


def test_a_changed_artifact_is_not_timed(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path)
    (bundle / "tiny.float32.mlpackage").write_text("something else")
    with pytest.raises(InputError, match=r"tiny\.float32\.mlpackage was changed"):
        bench_to_file(bundle, None, settings=BRIEF)
    assert not (tmp_path / "measurements.jsonl").exists()
