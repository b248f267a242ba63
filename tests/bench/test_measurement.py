"""The record of a measurement and its file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jsonschema
import pytest

from edgeseg.bench.measurement import (
    FIRST_KEYS,
    Agreement,
    Device,
    DeviceState,
    Measurement,
    append_measurement,
    measurement_to_dict,
    read_measurements,
    write_measurements,
)
from edgeseg.bench.spec_records import measurement_schema
from edgeseg.bench.worker import Split
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
        ({"schema": 3}, "schema 1 or 2 wanted"),
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


FULL = dataclasses.replace(
    RECORD,
    device=Device("A phone", 8, "Android 16 (API 36)", "aarch64", 8192, "Maker SoC 5"),
    device_key="0123456789ab",
    runner="native",
    seconds=30.0,
    publish=True,
    accelerator="XNNPACK: 1 piece, 0 operators outside",
    cpus=(4, 5, 6, 7),
    is_pinned=True,
    split=Split(1.5, 0.25, 5.0, 0.125, None),
    calls_per_second=(50, 51),
    overhead_fraction=0.001,
    states=(DeviceState(80, True, 31.5, 0, 40.25, ("schedutil",), (2000, 2800), 0.5), DeviceState()),
    agreement=Agreement(0.999, 0.998, 0.99, 1.0, 8, 0.97, 0.55, 0.551, 100),
)


def test_everything_that_the_second_schema_added_comes_back_and_is_as_the_json_schema_says(tmp_path: Path) -> None:
    path = tmp_path / "measurements.jsonl"
    append_measurement(path, RECORD)
    append_measurement(path, FULL)
    assert read_measurements(path) == [RECORD, FULL]
    for line in path.read_text().splitlines():
        jsonschema.validate(json.loads(line), measurement_schema())


def test_a_line_of_the_first_schema_is_read_and_written_as_it_was(tmp_path: Path) -> None:
    first = dataclasses.replace(RECORD, schema=1)
    table = json.loads(json.dumps(measurement_to_dict(first)))
    assert sorted(table) == sorted([*FIRST_KEYS, "latency"])
    assert "soc" not in table["device"]
    path = tmp_path / "measurements.jsonl"
    path.write_text(json.dumps(table))
    assert read_measurements(path) == [first]
    path.write_text(json.dumps(table | {"publish": True}))
    with pytest.raises(InputError, match="unknown key 'publish' in a line of schema 1"):
        read_measurements(path)


def timed(rounds: list[list[float]], **changes: object) -> Measurement:
    """The record with other samples."""
    samples = tuple(sample for samples in rounds for sample in samples)
    sizes = tuple(map(len, rounds))
    return dataclasses.replace(RECORD, samples_ms=samples, round_sizes=sizes, **changes)  # type: ignore[arg-type]


def test_the_spread_is_the_range_of_the_medians_of_the_rounds_quarters() -> None:
    """Quarters of 10, 10, 10, 12 and 10, 11, 10, 10; the median of all is 10."""
    first, second = [10.0] * 15 + [12.0] * 5, [10.0] * 5 + [11.0] * 5 + [10.0] * 10
    assert timed([first, second]).spread == pytest.approx(0.2)
    assert not timed([first, second]).is_steady
    assert timed([second]).spread == pytest.approx(0.1)
    assert timed([[10.0] * 20, [10.4] * 20]).is_steady
    assert timed([[10.0] * 19]).spread is None


def test_one_hiccup_is_no_noise() -> None:
    assert timed([[10.0] * 12 + [500.0] + [10.0] * 12]).is_steady


def test_the_first_minute_is_held_against_the_last() -> None:
    """Two calls a second for ten minutes, each a hundredth slower than the one before it."""
    samples = [100.0 + 0.01 * i for i in range(1200)]
    long = timed([samples], calls_per_second=(2,) * 600)
    assert long.first_and_last_minute_ms == pytest.approx((100.595, 111.395))
    assert timed([samples[:200]], calls_per_second=(2,) * 100).first_and_last_minute_ms is None
    assert timed([samples, samples], calls_per_second=(2,) * 1200).first_and_last_minute_ms is None


PUBLISHABLE = timed([[50.0] * 600, [50.0] * 600], commit="ab" * 20)


def test_a_steady_minute_on_a_cool_device_may_be_published() -> None:
    assert PUBLISHABLE.unfit == ()
    assert timed([[1.0] * 512, [1.0] * 512]).unfit == ()  # a second, but 1024 runs


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"emulated": True}, "emulator"),
        ({"samples_ms": (50.0,) * 1000, "round_sizes": (500, 500)}, "50 s and 1000 runs, 60 s or 1024 runs wanted"),
        ({"samples_ms": (), "round_sizes": (), "not_timed": "no runner"}, "not timed"),
        ({"commit": "ab" * 20 + "-dirty"}, "no commit holds"),
        ({"is_settled": False}, "never settled"),
        ({"samples_ms": (50.0,) * 600 + (60.0,) * 600}, "too noisy"),
        ({"is_cool": False}, "not cooled down"),
        ({"states": (DeviceState(thermal_status=2), DeviceState())}, "thermal status 2 at the start"),
        ({"states": (DeviceState(battery_percent=15, is_charging=False), DeviceState())}, "battery was low"),
        ({"agreement": Agreement(0.98, 0.98, 0.99, 1.0, 8)}, "below the floor"),
    ],
)
def test_what_may_not_be_published_says_why(change: dict[str, object], reason: str) -> None:
    record = dataclasses.replace(PUBLISHABLE, **change)  # type: ignore[arg-type]
    assert any(reason in text for text in record.unfit), record.unfit


def test_a_device_that_is_hot_after_a_round_only_or_charges_at_15_percent_is_fit() -> None:
    states = (DeviceState(battery_percent=15, is_charging=True), DeviceState(thermal_status=1, is_charging=True))
    assert dataclasses.replace(PUBLISHABLE, states=states).unfit == ()
