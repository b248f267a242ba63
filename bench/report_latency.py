"""The report's latencies: per device as a table, and against quality and size."""

from __future__ import annotations

from collections.abc import Iterable

from edgeseg.bench import charts
from edgeseg.bench.measurement import Latency, Measurement
from edgeseg.bench.report_data import MAX_DROP, DeviceRows, ReportData
from edgeseg.bench.report_markup import bullets, escape, num, num_threads, rule, section, size, table
from edgeseg.bench.worker import REFERENCE

_HEADS = ["artifact", "min – p50 – p99", "p50 ms", "p90", "p99", "min", "mean", "load ms", "peak MiB", "model MiB"]
_MAX_RADIUS = 15.0  # pixels, of the largest file


def latency_table(data: ReportData) -> str:
    """Percentiles, load time, memory; what was not timed says why."""
    parts = [_device(data, device, is_first=not number) for number, device in enumerate(data.devices)]
    note = (
        "Each file in its own process, rounds in random order. Peak is the whole process, Python (where it is the "
        "runner) and libraries included; model is what loading and running added. A star marks a file whose calls were "
        "still drifting when its warm-up time was over, a tilde a machine too noisy to repeat the median within 5 %, a "
        "question mark too few calls to tell."
    )
    return section("Latency", note, parts) if parts else ""


def latency_against_quality(data: ReportData) -> str:
    """One scatter plot per device: filled at one thread, a ring at more; the area is the file's size."""
    plots = [(device, plot) for device in data.devices if not device.emulated and (plot := _scatter(data, device))]
    parts = [(f"<h3>{escape(device.label)}</h3>" if len(plots) > 1 else "") + plot for device, plot in plots]
    note = (
        "Left and up is better, small is lighter: a mark's area is the file's size. Filled: 1 thread; ring: more "
        "threads, same file. Hover for numbers."
    )
    return section("Latency against quality and size", note, parts) if parts else ""


def _device(data: ReportData, device: DeviceRows, *, is_first: bool) -> str:
    about = f"{device.device.cores} cores, {device.device.os}, {device.device.machine}"
    name = f"<b>{escape(device.label)}</b> <span class='dim'>{escape(about)}</span>"
    left_out = {(data.name_of(m.artifact), m.not_timed): None for m in device.rows if m.not_timed}
    missing = bullets(f"{artifact}: not timed. {reason}" for artifact, reason in left_out)
    if device.emulated:
        body = '<p class="bad">EMULATED: an emulator\'s times are no latencies and are not shown.</p>'
    else:
        body = table([*_HEADS, "runs"], _rows(data, device), left=2)
    return f"<details{' open' if is_first else ''}><summary>{name}</summary>{body}{missing}</details>"


def _rows(data: ReportData, device: DeviceRows) -> list[str]:
    timed = [(m, t) for m in device.rows if (t := m.latency)]
    scale = _scale(t for _, t in timed)
    found = []
    for threads in sorted({m.threads for m, _ in timed}):
        found.append(rule(num_threads(threads), len(_HEADS) + 1))
        group = sorted(((m, t) for m, t in timed if m.threads == threads), key=lambda pair: pair[1].p50_ms)
        found += [_row(data, m, t, scale) for m, t in group]
    return found


def _row(data: ReportData, m: Measurement, t: Latency, scale: tuple[float, float]) -> str:
    strip = charts.whisker(t.min_ms, t.p50_ms, t.p99_ms, scale=scale, color=data.color_of(m.runtime))
    load = f"{m.median_load_ms:.0f}" if m.median_load_ms is not None else "–"
    texts = [f"{ms:.2f}" for ms in (t.p50_ms, t.p90_ms, t.p99_ms, t.min_ms, t.mean_ms)]
    texts += [load, f"{m.peak_mib:.0f}", f"{m.rss_delta_mib:.0f}", str(len(m.samples_ms))]
    name = data.name_of(m.artifact) + (" (native)" if m.runner == "native" else "")
    name += ("" if m.is_settled else " *") + ("" if m.is_steady else " ?" if m.spread is None else " ~")
    return f"<tr><td>{escape(name)}</td><td>{strip}</td>{''.join(map(num, texts))}</tr>"


def _scatter(data: ReportData, device: DeviceRows) -> str:
    by_file = {artifact.file: artifact for artifact in data.artifacts if artifact.total}
    largest = max((artifact.size_bytes for artifact in data.artifacts), default=1)
    trails: dict[tuple[str, str], list[charts.Point]] = {}
    for m in sorted(device.rows, key=lambda m: m.threads):
        artifact, t = by_file.get(m.artifact), m.latency
        if artifact is None or artifact.total is None or t is None:
            continue
        quality, bytes_ = 100 * artifact.total.pq, artifact.size_bytes
        detail = (
            f"{artifact.name}, {num_threads(m.threads)}: p50 {t.p50_ms:.2f} ms, PQ {quality:.2f}, {size(bytes_)}"
            f"{f', {m.runner} runner' if m.runner else ''}"
        )
        trail = trails.setdefault((m.artifact, m.runner), [])
        radius = _MAX_RADIUS * (bytes_ / largest) ** 0.5
        label, color = "" if trail else artifact.name, data.color_of(m.runtime)
        trail.append(charts.Point(label, t.p50_ms, quality, color, m.threads > 1, detail, max(radius, 3.0)))
    if all(file not in by_file or by_file[file].runtime == REFERENCE for file, _ in trails):
        return ""  # torch alone is no choice
    lines = {}
    reference = data.reference
    if reference and reference.total:
        name = "float" if reference.precision == "float32" else reference.name
        lines = {name: 100 * reference.total.pq, f"{name} - {MAX_DROP:g} point": 100 * reference.total.pq - MAX_DROP}
    axes = {"x_title": "median latency, ms (logarithmic)", "y_title": "PQ, points"}
    return f'<div class="scroll">{charts.scatter(list(trails.values()), lines=lines, **axes)}</div>'


def _scale(latencies: Iterable[Latency]) -> tuple[float, float]:
    listed = list(latencies)
    low, high = min((t.min_ms for t in listed), default=1.0), max((t.p99_ms for t in listed), default=10.0)
    return low * 0.9, max(high, low * 1.01) * 1.1
