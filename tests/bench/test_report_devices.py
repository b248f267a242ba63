"""The report's devices: side by side, over minutes, beside other tools, and which file a person should take."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest

from edgeseg.bench.foreign_results import Summary
from edgeseg.bench.imported import Imported
from edgeseg.bench.measurement import Agreement, Device, DeviceState, Measurement
from edgeseg.bench.report import render_report
from edgeseg.bench.report_choice import choice
from edgeseg.bench.report_data import ArtifactReport, ReportData, Score, Verdict
from edgeseg.bench.report_devices import imported, side_by_side, sustained
from edgeseg.bench.report_latency import latency_against_quality, latency_table
from tests.bench.test_report import Page, full_report, measurement

PHONE = Device("Google Pixel 8", 9, "Android 16 (API 36)", "aarch64", 8192, "Tensor G3")
BOARD = Device("Cortex-A76", 4, "Linux 6.6", "aarch64", 4096)


def on(device: Device, latency_ms: float, file: str = "m.int8.tflite", **changes: Any) -> Measurement:
    """20 equal calls in each of two rounds: steady, and 40 runs."""
    row = measurement(file, "onnx" if file.endswith("onnx") else "litert", "int8", 1, latency_ms)
    row = dataclasses.replace(row, samples_ms=(latency_ms,) * 40, round_sizes=(20, 20), device=device, device_key="k")
    return dataclasses.replace(row, **changes)


def published(device: Device, latency_ms: float, **changes: Any) -> Measurement:
    """What the rules let through: 1,024 calls and more."""
    row = on(device, latency_ms, publish=True, **changes)
    return dataclasses.replace(row, samples_ms=(latency_ms,) * 1100, round_sizes=(550, 550))


def report(*rows: Measurement, **changes: Any) -> ReportData:
    artifacts = (
        ArtifactReport("torch float32", "best", "torch", "float32", "app", 4_000_000, Score(0.60, 0.8, 0.75)),
        artifact("litert int8", "m.int8.tflite", "litert", 1_000_000, 0.598),
        artifact("onnx int8", "m.int8.onnx", "onnx", 900_000, 0.595),
        artifact("litert ternary", "m.ternary.tflite", "litert", 250_000, 0.58),
        artifact("coreml int8", "m.int8.mlpackage", "coreml", 950_000, None),
    )
    return dataclasses.replace(full_report(), artifacts=artifacts, measurements=rows, **changes)


def artifact(name: str, file: str, runtime: str, size: int, pq: float | None) -> ArtifactReport:
    score = None if pq is None else Score(pq, 0.8, 0.75)
    return ArtifactReport(name, file, runtime, name.split()[1], "app", size, score, verdict=Verdict(1, 0.99, True, "x"))


def tables(markup: str) -> list[list[list[str]]]:
    """Text of every cell of every row of every table."""
    return [
        [[re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)]
         for row in re.findall(r"<tr.*?</tr>", table)]
        for table in re.findall(r"<table>.*?</table>", markup)
    ]  # fmt: skip


def test_devices_stand_beside_each_other_published_rows_first() -> None:
    markup = side_by_side(report(published(PHONE, 5.0), published(BOARD, 9.0), on(BOARD, 7.0, "m.int8.onnx")))
    about, fit, rest = tables(markup)
    assert [row[0] for row in about[1:]] == ["Google Pixel 8, Tensor G3", "Cortex-A76"]
    assert [row[6] for row in about[1:]] == ["1 of 1", "1 of 2"]
    assert fit == [
        ["artifact", "Google Pixel 8, Tensor G3", "Cortex-A76"],
        ["1 thread"],
        ["litert int8", "5.00", "9.00"],
    ]
    assert rest[1:] == [["1 thread"], ["onnx int8", "–", "7.00"]]
    assert "Cortex-A76: 0 s and 40 runs, 60 s or 1024 runs wanted (1 of 1)" in Page(markup).text


def test_an_emulators_times_are_in_no_table_and_its_pictures_count() -> None:
    right = Agreement(0.998, 0.997, 0.99, 1.0, 8)
    emulated = on(PHONE, 1234.56, publish=True, emulated=True, agreement=right)
    data = report(published(BOARD, 9.0), emulated)
    html = render_report(data)
    assert "1234.56" not in html
    about, fit = tables(side_by_side(data))
    assert about[1:] == [
        ["Cortex-A76", "4", "Linux 6.6, aarch64", "4.0 GiB", "app", "1", "1 of 1", "not asked (--verify)"],
        ["Google Pixel 8, Tensor G3", "9", "Android 16 (API 36), aarch64", "8.0 GiB", "app", "1", "EMULATED",
         "1 of 1 files"],
    ]  # fmt: skip
    assert fit[0] == ["artifact", "Cortex-A76"]
    assert "EMULATED: an emulator's times are no latencies" in Page(latency_table(data)).text


def test_one_device_needs_no_comparison_and_the_report_says_how_to_get_another() -> None:
    data = report(on(BOARD, 9.0))
    assert side_by_side(data) == ""
    assert "edgeseg bench BUNDLE --on adb:SERIAL" in Page(render_report(data)).text


def test_the_last_row_of_a_file_counts_and_minutes_do_not_replace_it() -> None:
    minutes = on(BOARD, 12.0, round_sizes=(40,), seconds=60.0, calls_per_second=(1,) * 40)
    (device,) = report(on(BOARD, 9.0), on(BOARD, 8.0), minutes).devices
    assert [row.samples_ms[0] for row in device.rows] == [8.0]
    assert device.sustained == (minutes,)
    (alone,) = report(minutes).devices
    assert alone.rows == (minutes,)


def test_a_curve_holds_the_median_of_every_stretch_and_what_the_device_said() -> None:
    """120 s at two calls a second: 10 ms in the first minute, 15 ms in the second. 60 points of 2 s each."""
    hot = (
        DeviceState(80, False, 30.0, 0, 40.0, ("schedutil",), (2000, 2400)),
        DeviceState(74, False, 37.5, 2, 71.5, ("schedutil",), (1000, 1400)),
    )
    slower = on(
        PHONE, 1.0, samples_ms=(10.0,) * 120 + (15.0,) * 120, round_sizes=(240,), seconds=120.0,
        calls_per_second=(2,) * 120, states=hot,
    )  # fmt: skip
    markup = sustained(report(slower))
    assert tables(markup)[0][1] == [
        "litert int8", "1", "10.00", "15.00", "+50 %",
        "processor 40 → 71.5 °C; clock 2200 → 1200 MHz; thermal status 0 → 2; battery 80 → 74 %; "
        "battery at 30 → 37.5 °C; governor schedutil",
    ]  # fmt: skip
    (path,) = re.findall(r'<path d="M([^"]+)" fill="none" stroke="#', markup)
    places = np.array([[float(number) for number in place.split()] for place in path.split("L")])
    assert len(places) == 60
    bottom = 16 + 220
    heights = bottom - places[:, 1]  # from zero up
    assert heights[:30] == pytest.approx(heights[0])
    assert heights[30:] / heights[0] == pytest.approx(1.5, abs=0.002)


def test_a_device_that_tells_nothing_of_its_heat_is_said_to() -> None:
    silent = on(
        BOARD, 2.0, round_sizes=(40,), seconds=60.0, calls_per_second=(4,) * 10,
        states=(DeviceState(load=0.5), DeviceState(load=1.25)),
    )  # fmt: skip
    assert "load 0.5 → 1.25 processes; it tells neither heat nor clocks" in sustained(report(silent))


def test_other_tools_numbers_are_labelled_and_in_no_other_table() -> None:
    summary = Summary("TFLite benchmark_model", 80, 987.654, "m.tflite", threads=4, accelerators="XNNPACK")
    foreign = Imported("Pixel <8>", "b.txt", "0" * 64, "2026-01-01T00:00:00+00:00", summary)
    html = render_report(report(on(BOARD, 9.0), imported=(foreign,)))
    assert tables(imported([foreign]))[0][1] == [
        "Pixel &lt;8&gt;", "IMPORTED from TFLite benchmark_model", "80", "987.65", "–", "–", "–", "–", "4", "XNNPACK",
    ]  # fmt: skip
    assert html.count("987.65") == 1
    assert Page(html).faults == []


def test_each_device_has_its_own_plot_and_a_marks_area_is_the_files_size() -> None:
    data = report(
        on(PHONE, 5.0),
        on(PHONE, 4.0, "m.ternary.tflite"),
        on(BOARD, 9.0),
        on(BOARD, 1.0, emulated=True),
    )
    markup = latency_against_quality(data)
    assert re.findall(r"<h3>(.*?)</h3>", markup) == ["Google Pixel 8, Tensor G3", "Cortex-A76"]
    radius = {
        title: float(r) for r, title in re.findall(r'<circle [^>]*r="([\d.]+)"[^>]*><title>([^:]+): p50 [45]', markup)
    }
    assert radius["litert int8, 1 thread"] / radius["litert ternary, 1 thread"] == pytest.approx(2.0, abs=0.05)


def chosen(data: ReportData) -> dict[str, list[str]]:
    (rows,) = tables(choice(data))
    return {row[0]: row[1:] for row in rows[1:]}


def test_a_person_is_told_the_fastest_right_file_on_their_kind_of_device() -> None:
    data = report(on(PHONE, 5.0), on(BOARD, 9.0), on(BOARD, 7.0, "m.int8.onnx"), on(PHONE, 1.0, "m.ternary.tflite"))
    rows = chosen(data)
    assert rows["Android phone"] == [
        "m.int8.tflite", "977 KiB", "59.8", "5.00", "fastest of 1 measured: Google Pixel 8, Tensor G3, 1 thread",
    ]  # fmt: skip
    assert rows["Board with 64-bit ARM Linux"][0] == "m.int8.onnx"


def test_where_nothing_was_measured_the_smallest_right_file_is_named_and_it_is_said() -> None:
    rows = chosen(report(on(BOARD, 3.0, emulated=True)))
    assert rows["Browser"] == ["m.int8.onnx", "879 KiB", "59.5", "–", "smallest of 2; not measured on such a device"]
    assert rows["Board with 64-bit ARM Linux"][4] == "smallest of 2; not measured on such a device"
    assert rows["iPhone, iPad"] == [
        "m.int8.mlpackage", "928 KiB", "–", "–", "smallest of 1; not measured on such a device; its PQ is not known",
    ]  # fmt: skip


def test_a_file_that_is_wrong_is_never_recommended() -> None:
    data = report()
    wrong = tuple(
        dataclasses.replace(a, verdict=Verdict(0.5, 0.99, False, "x")) if a.runtime == "coreml" else a
        for a in data.artifacts
    )
    rows = chosen(dataclasses.replace(data, artifacts=wrong))
    assert rows["iPhone, iPad"] == ["none", "–", "–", "–", "none of 1 files is right, or near enough to torch"]
