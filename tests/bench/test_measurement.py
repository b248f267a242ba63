"""The record of a measurement and its file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from edgeseg.bench.measurement import Device, Measurement, read_measurements, write_measurements
from edgeseg.structures import InputError

RECORD = Measurement(
    bundle="street.edgeseg",
    artifact="street.int8.onnx",
    sha256="ab" * 32,
    runtime="onnx",
    runtime_version="onnxruntime 1.31.1",
    precision="int8",
    merge="graph",
    threads=2,
    samples_ms=tuple(float(i) for i in range(101)),
    round_sizes=(50, 51),
    warmup_runs=20,
    is_settled=True,
    load_ms=(3.0, 9.0, 4.0),
    peak_mib=120.5,
    rss_delta_mib=11.25,
    device=Device("Some CPU", 2, "Linux 6", "x86_64", 4096),
    emulated=False,
    time_utc="2026-01-02T03:04:05+00:00",
    commit="",
)


def test_percentiles_of_0_to_100_are_their_own_rank() -> None:
    latency = RECORD.latency
    assert latency is not None
    assert dataclasses.astuple(latency) == pytest.approx((50.0, 90.0, 99.0, 0.0, 50.0))
    assert RECORD.median_load_ms == 4.0


def test_a_record_without_samples_has_no_latency() -> None:
    record = dataclasses.replace(RECORD, samples_ms=(), round_sizes=(), load_ms=(), not_timed="no Mac")
    assert record.latency is None
    assert record.median_load_ms is None


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "measurements.jsonl"
    other = dataclasses.replace(RECORD, samples_ms=(), round_sizes=(), load_ms=(), not_timed="no Mac")
    write_measurements(path, [RECORD, other])
    assert read_measurements(path) == [RECORD, other]
    assert list(tmp_path.iterdir()) == [path]


def test_each_line_is_json_with_raw_samples_and_percentiles(tmp_path: Path) -> None:
    path = tmp_path / "measurements.jsonl"
    write_measurements(path, [RECORD])
    (line,) = path.read_text().splitlines()
    table = json.loads(line)
    assert table["latency"]["p90_ms"] == pytest.approx(90.0)
    assert len(table["samples_ms"]) == 101
    assert table["emulated"] is False
    assert table["device"]["cores"] == 2


@pytest.mark.parametrize(
    "change, message",
    [
        ({"schema": 2}, "schema 1 wanted"),
        ({"p50": 3.0}, "unknown key 'p50'"),
        ({"threads": "two"}, "threads = 'two' is a str"),
        ({"threads": None}, "threads"),
    ],
)
def test_a_line_that_does_not_fit_is_refused_by_place_and_field(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "measurements.jsonl"
    write_measurements(path, [RECORD])
    path.write_text(json.dumps(json.loads(path.read_text()) | change) + "\n")
    with pytest.raises(InputError, match=message) as caught:
        read_measurements(path)
    assert f"{path}:1" in str(caught.value)


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    path = tmp_path / "measurements.jsonl"
    write_measurements(path, [RECORD])
    table = json.loads(path.read_text())
    del table["commit"]
    path.write_text(json.dumps(table))
    with pytest.raises(InputError, match="'commit'"):
        read_measurements(path)


def test_a_missing_file_names_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="edgeseg bench BUNDLE"):
        read_measurements(tmp_path / "measurements.jsonl")


def test_a_line_that_is_not_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "measurements.jsonl"
    path.write_text("{half a li")
    with pytest.raises(InputError, match=r"measurements\.jsonl:1 is not JSON"):
        read_measurements(path)
