"""The report page: complete, well-formed, self-contained, the same every time."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeseg.bench.measurement import Device, Measurement
from edgeseg.bench.report import render_report, write_report
from edgeseg.bench.report_data import (
    ArtifactReport,
    CategoryScore,
    Example,
    Picture,
    ReportData,
    Score,
    TrainingCurve,
    Verdict,
)
from edgeseg.export.runtimes import Coverage
from edgeseg.structures import Category

VOID_TAGS = {"meta", "br", "img", "input", "hr", "link"}
DEVICE = Device("Some <fast> CPU", 4, "Linux 6.1", "x86_64", 4096)


def measurement(artifact: str, runtime: str, precision: str, threads: int, latency_ms: float) -> Measurement:
    return Measurement(
        bundle="street.edgeseg",
        artifact=artifact,
        sha256="0" * 64,
        runtime=runtime,
        runtime_version=f"{runtime} 1.2",
        precision=precision,
        merge="graph",
        threads=threads,
        samples_ms=(latency_ms, latency_ms, latency_ms),
        round_sizes=(3,),
        warmup_runs=10,
        is_settled=True,
        load_ms=(17.0,),
        peak_mib=123.0,
        rss_delta_mib=45.0,
        device=DEVICE,
        emulated=False,
        time_utc="2026-01-02T03:04:05+00:00",
        commit="",
    )


def full_report() -> ReportData:
    car, road = Category(1, "car & van", True, (200, 40, 40)), Category(2, "road", False, (90, 90, 100))
    rng = np.random.default_rng(0)
    pictures = tuple(
        Picture(name, rng.integers(0, 256, (24, 32, 3), dtype=np.uint8), "99.7 % as torch")
        for name in ("photo", "truth")
    )
    onnx = dataclasses.replace(
        measurement("m.int8.onnx", "onnx", "int8", 1, 12.34), samples_ms=(12.0, 12.34, 13.0), is_settled=False
    )
    core_ml = dataclasses.replace(
        measurement("m.int8.mlpackage", "coreml", "int8", 1, 1.0), samples_ms=(), load_ms=(), not_timed="No Mac <here>."
    )
    artifacts = (
        ArtifactReport("torch", "torch", "torch", "float32", "graph", 4 * 2**20, Score(0.6543, 0.81, 0.79, 2)),
        ArtifactReport(
            "ONNX int8",
            "m.int8.onnx",
            "onnx",
            "int8",
            "graph",
            2**20,
            Score(0.6487, 0.807, 0.782, 2),
            Score(0.567, 0.7, 0.6),
            Score(0.731, 0.8, 0.9),
            Coverage("CPUExecutionProvider", 1, {}, {"Conv": 40}),
            Verdict(0.99712, 0.99, True, "onnxruntime 1.31"),
        ),
        ArtifactReport(
            "Core ML int8",
            "m.int8.mlpackage",
            "coreml",
            "int8",
            "app",
            1_500_000,
            Score(0.6111, 0.8, 0.7, 2),
            coverage=Coverage("decided on the device", None, None, {"conv": 41}),
            verdict=Verdict(0.955, 0.99, False, "interpreter"),
        ),
        ArtifactReport(
            "ExecuTorch int8",
            "m.int8.pte",
            "executorch",
            "int8",
            "app",
            1_200_000,
            coverage=Coverage("XNNPACK", 3, {"argmax": 2}, None),
        ),
    )
    return ReportData(
        title="A <report>",
        summary="What & how.",
        facts=(("config", "street"), ("steps", "1234")),
        categories=(car, road),
        examples=(Example("val 7", pictures),),
        category_scores=(
            CategoryScore(car, Score(0.4321, 0.8, 0.54), Score(0.4222, 0.79, 0.53)),
            CategoryScore(road, Score(0.8765, 0.9, 0.97), None),
        ),
        artifacts=artifacts,
        measurements=(
            measurement("torch", "torch", "float32", 1, 61.7),
            onnx,
            measurement("m.int8.onnx", "onnx", "int8", 4, 5.67),
            core_ml,
        ),
        curve=TrainingCurve(
            (10, 20, 30), {"dice": (3.0, 2.0, 1.75), "class": (1.0, 0.5, 0.25)}, ((15, 0.3), (30, 0.654))
        ),
        environment=(("python", "3.11.2"), ("torch", "2.14.0")),
        caveats=("Trained for a minute only.",),
    )


class Page(HTMLParser):
    """Collects tags, attributes and text; notes every tag that is closed out of order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"{tag} at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_every_tag_is_closed_in_order() -> None:
    page = Page(render_report(full_report()))
    assert page.faults == []
    assert page.open == []


def test_nothing_is_loaded_from_anywhere_and_nothing_is_executed() -> None:
    html = render_report(full_report())
    page = Page(html)
    for tag, name, value in page.attributes:
        assert tag not in ("script", "link", "iframe", "object")
        assert not name.startswith("on")
        if name in ("src", "href", "xlink:href", "srcset"):
            assert value.startswith("data:image/")
    assert "http" not in html
    assert not re.search(r"@import|url\(", html)


@pytest.mark.parametrize(
    "number",
    [
        *("65.4", "64.9", "61.1", "-0.56", "-4.32"),  # PQ per file, change
        *("56.7", "73.1", "80.7", "78.2"),  # things, stuff, SQ, RQ
        *("43.2", "42.2", "87.6", "-0.99"),  # per category
        *("61.70", "12.34", "5.67", "12.00", "12.87", "17", "123", "45"),  # latency, load, memory
        *("4.00 MiB", "1.00 MiB", "1.43 MiB", "25%", "36%"),  # sizes
        *("99.712%", "95.500%", "99.0%", "passed", "failed", "1 of 2"),  # verification
        *("argmax x2", "XNNPACK", "known on the device only", "nothing", "41"),  # coverage
        *("1234", "3.11.2", "2.14.0", "1.75", "0.25", "99.7 % as torch"),
    ],
)
def test_a_number_of_the_run_is_in_the_text(number: str) -> None:
    assert number in Page(render_report(full_report())).text


def test_what_was_not_timed_says_why_and_what_had_not_settled_has_a_star() -> None:
    text = Page(render_report(full_report())).text
    assert "Core ML int8: not timed. No Mac <here>." in text
    assert "ONNX int8 *" in text
    assert "What these numbers do not say" in text
    assert "Trained for a minute only." in text


def test_text_from_outside_is_shown_and_not_interpreted() -> None:
    page = Page(render_report(full_report()))
    assert "A <report>" in page.text
    assert "car & van" in page.text
    assert "report" not in {tag for tag, _, _ in page.attributes}
    hostile = dataclasses.replace(full_report(), title="<script>x</script>", summary="$body $title")
    shown = Page(render_report(hostile))
    assert "<script>x</script>" in shown.text
    assert "$body $title" in shown.text


def test_pictures_are_embedded_at_their_size() -> None:
    sources = [
        value for tag, name, value in Page(render_report(full_report())).attributes if (tag, name) == ("img", "src")
    ]
    assert len(sources) == 2
    for source in sources:
        with Image.open(io.BytesIO(base64.b64decode(source.split(",", 1)[1]))) as picture:
            assert picture.size == (32, 24)


def test_a_drop_of_more_than_a_point_is_marked_bad_and_a_smaller_one_good() -> None:
    html = render_report(full_report())
    assert '<span class="good">-0.56</span>' in html
    assert '<span class="bad">-4.32</span>' in html


def test_bars_are_as_long_as_the_quality() -> None:
    widths = re.findall(r'style="width:([\d.]+)%"', render_report(full_report()))
    assert widths == ["43.2", "42.2", "87.6"]


def test_faster_points_lie_to_the_left_and_better_ones_above() -> None:
    html = render_report(full_report())
    marks = {
        title.split(":")[0]: (float(x), float(y))
        for x, y, title in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"[^>]*><title>([^<]*PQ[^<]*)</title>', html)
        if title.count(",")
    }
    x4, y4 = marks["ONNX int8, 4 threads"]
    x1, y1 = marks["ONNX int8, 1 thread"]
    torch_x, torch_y = marks["torch, 1 thread"]
    assert x4 < x1 < torch_x
    assert y4 == y1 > torch_y  # pixels grow downwards
    # equal ratios are equal distances on a logarithmic axis
    assert (torch_x - x1) / (x1 - x4) == pytest.approx(np.log(61.7 / 12.34) / np.log(12.34 / 5.67), rel=0.01)


def test_the_same_data_give_the_same_bytes() -> None:
    assert render_report(full_report()) == render_report(full_report())


def test_a_run_without_training_timing_or_pictures_still_has_a_page() -> None:
    data = dataclasses.replace(full_report(), examples=(), measurements=(), curve=None, category_scores=())
    page = Page(render_report(data))
    assert page.faults == []
    assert "Training" not in page.text
    assert "Latency" not in page.text
    assert "65.4" in page.text


def test_data_that_cannot_be_drawn_leave_the_old_report_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(full_report(), path)
    before = path.read_bytes()
    broken = dataclasses.replace(
        full_report(), examples=(Example("x", (Picture("x", np.zeros((2, 2, 7), np.uint8)),)),)
    )
    with pytest.raises((TypeError, ValueError)):
        write_report(broken, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
