"""What `edgeseg bench` and `edgeseg devices` show to people, and the options they take."""

from __future__ import annotations

import dataclasses

from edgeseg.bench.measurement import Agreement, Device
from edgeseg.bench.rows import device_row, row
from edgeseg.bench.worker import Split
from edgeseg.cli_bench import _joined
from edgeseg.readable_bench import bench_table, devices_table
from tests.bench.test_measurement import RECORD

PHONE = Device("Google Pixel 8", 9, "Android 16 (API 36)", "aarch64", 11561, "Google Tensor G3")
ROW = dataclasses.replace(
    RECORD,
    samples_ms=(10.0,) * 40,
    round_sizes=(20, 20),
    accelerator="XNNPACK: 1 piece, 0 operators outside",
    split=Split(None, 0.25, 9.5, 0.125, 2.0),
    agreement=Agreement(0.995, 0.98, 0.99, 1.0, 8, 0.97, 0.55, 0.551, 100),
)


def table(*records: object, emulated: str = "") -> str:
    rows = [row("adb:A", record) for record in records]  # type: ignore[arg-type]
    return bench_table(
        {"measurements": "m.jsonl", "devices": [device_row("adb:A", PHONE, emulated)], "artifacts": rows}
    )


def test_a_row_says_how_fast_on_what_in_which_parts_and_whether_it_is_right() -> None:
    text = table(ROW)
    assert "adb:A: Google Pixel 8, Google Tensor G3, 9 cores, Android 16 (API 36)" in text
    assert "10.00    10.00    10.00     40" in text
    assert "ran on XNNPACK: 1 piece, 0 operators outside" in text
    assert "in 0.25, network 9.50, out 0.12, merge 2.00" in text
    assert "WRONG on the device: 99.50 % of the pixels of 8 golden images as torch" in text
    assert "PQ 55.00 on 100 images, 55.10 on this computer" in text
    assert "NOISY" not in text


def test_a_noisy_warm_or_short_row_says_so() -> None:
    noisy = dataclasses.replace(ROW, samples_ms=(10.0,) * 20 + (12.0,) * 20, is_cool=False)
    assert "NOISY (stretches differ by 18 %), not cooled down" in table(noisy)
    assert "too few runs" in table(dataclasses.replace(ROW, samples_ms=(10.0,) * 8, round_sizes=(4, 4)))


def test_ten_minutes_show_the_first_against_the_last() -> None:
    samples = (10.0,) * 300 + (15.0,) * 300
    long = dataclasses.replace(ROW, samples_ms=samples, round_sizes=(600,), calls_per_second=(1,) * 600)
    assert "first minute 10.00, last minute 15.00 (+50 %)" in table(long)
    assert "NOISY" not in table(long)


def test_an_emulator_and_what_was_not_timed_are_told() -> None:
    text = table(
        dataclasses.replace(RECORD, samples_ms=(), round_sizes=(), not_timed="no runner"), emulated="qemu-user"
    )
    assert "EMULATED by qemu-user: these times are no latencies" in text
    assert "street.int8.onnx  not timed: no runner" in text


def test_devices_are_listed_with_what_keeps_them_from_use() -> None:
    ready = device_row("adb:A", PHONE, "") | {"state": "ready"}
    text = devices_table({"devices": [ready, {"on": "adb:B", "state": "offline"}], "absent": {"ios": "no Mac"}})
    assert text.splitlines() == [
        "adb:A  ready  Google Pixel 8, Google Tensor G3, 9 cores, Android 16 (API 36), aarch64",
        "adb:B  offline",
        "no ios: no Mac",
    ]


def test_devices_may_be_given_one_after_the_other() -> None:
    words = ["--on", "adb:A", "n.edgeseg", "--on=ssh:b", "--json"]
    assert _joined(words, "--on") == ["n.edgeseg", "--json", "--on", "adb:A", "ssh:b"]
    assert _joined(["n.edgeseg"], "--on") == ["n.edgeseg"]
