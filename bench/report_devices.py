"""The report's devices side by side, their speed over minutes, and numbers of other tools."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeseg.bench import charts
from edgeseg.bench.imported import Imported
from edgeseg.bench.measurement import DeviceState, Measurement
from edgeseg.bench.report_data import DeviceRows, ReportData
from edgeseg.bench.report_markup import bullets, escape, num, num_threads, row, rule, section, table

_MAX_CURVE = 60  # points of a curve; each is the median of its stretch


def side_by_side(data: ReportData) -> str:
    """Every device, then the files with a column for each: what may be published first, the rest with its reasons."""
    devices = data.devices
    if len(devices) < 2 and not any(device.emulated for device in devices):
        return ""
    heads = ["device", "cores", "system", "memory", "runner", "timed", "fit to publish", "right there"]
    parts = [table(heads, [_about(device) for device in devices], left=3)]
    real = [device for device in devices if not device.emulated]
    published = [_fit(device.rows) for device in real]
    parts.append("<h3>Published: median latency, ms</h3>")
    if any(published):
        parts.append(_matrix(data, real, published))
    else:
        parts.append('<p class="dim">No row is fit to publish: edgeseg bench BUNDLE --publish on a quiet device.</p>')
    rest = [[m for m in device.rows if m.latency and m not in fit] for device, fit in zip(real, published, strict=True)]
    if any(rest):
        parts += ["<h3>Measured, not to be published: median latency, ms</h3>", _matrix(data, real, rest)]
        reasons = [f"{device.label}: {_reasons(rows)}" for device, rows in zip(real, rest, strict=True) if rows]
        parts.append(bullets(reasons))
    emulated = [f"{device.label}: EMULATED, in no table of times" for device in devices if device.emulated]
    note = "The same files on each device. The best of a column is bold; a column is one device, no ranks carry over."
    return section("Devices side by side", note, [*parts, bullets(emulated)])


def sustained(data: ReportData) -> str:
    """p50 over the minutes of one long run, with what the device said of its heat before and after."""
    parts = []
    for device in data.devices:
        if device.sustained and not device.emulated:
            lines = [_line(data, m) for m in device.sustained]
            cells = [_sustained_row(data, m, line) for m, line in zip(device.sustained, lines, strict=True)]
            heads = ["artifact", "threads", "begins", "ends", "change", "before → after"]
            parts += [
                f'<h3>{escape(device.label)}</h3><div class="scroll">{charts.timeline(lines, y_title="p50, ms")}</div>',
                table(heads, cells, left=1, last_left=True),
            ]
    note = (
        "One run without a pause. Begins and ends are medians of the first and the last minute, of runs under two "
        "minutes those of the first and the last tenth. The end is what a camera app gets."
    )
    return section("Speed over minutes", note, parts) if parts else ""


def imported(rows: Sequence[Imported]) -> str:
    """Other tools' summaries, apart from ours and labelled."""
    if not rows:
        return ""
    cells = []
    for result in rows:
        found = result.summary
        times = [found.mean_ms, found.p50_ms, found.p95_ms, found.min_ms, found.load_ms]
        texts = [str(found.num_runs), *("–" if ms is None else f"{ms:.2f}" for ms in times)]
        texts.append("–" if found.threads is None else str(found.threads))
        said = "; ".join(text for text in (found.accelerators, found.note) if text)
        cells.append(row((result.name, f"IMPORTED from {found.tool}"), texts, said or "–"))
    heads = ["name", "whose", "runs", "mean ms", "p50", "p95", "min", "load", "threads", "what the tool says"]
    note = (
        "Read from other tools' results with edgeseg bench import. They keep no samples and say nothing of the "
        "device's state: these rows follow another protocol, and stand in no other table or plot."
    )
    return section("Measured by other tools", note, [table(heads, cells, left=2, last_left=True)])


def _about(device: DeviceRows) -> str:
    timed = [m for m in device.rows if m.latency]
    checked = [m.agreement for m in device.rows if m.agreement]
    right = sum(agreement.judged >= agreement.floor for agreement in checked)
    texts = [
        f"{device.device.memory_mib / 1024:.1f} GiB",
        ", ".join(dict.fromkeys(m.runner or "app" for m in device.rows)),
        str(len(timed)),
        "EMULATED" if device.emulated else f"{len(_fit(device.rows))} of {len(timed)}",
        f"{right} of {len(checked)} files" if checked else "not asked (--verify)",
    ]
    words = (device.label, str(device.device.cores), f"{device.device.os}, {device.device.machine}")
    return row(words, texts)


def _fit(rows: Sequence[Measurement]) -> list[Measurement]:
    return [m for m in rows if m.publish and not m.unfit]


def _reasons(rows: Sequence[Measurement]) -> str:
    """Why rows may not be published, each reason once with how many rows it holds for."""
    counts: dict[str, int] = {}
    for m in rows:
        for reason in m.unfit or ("it was measured without --publish",):
            counts[reason] = counts.get(reason, 0) + 1
    return "; ".join(f"{reason} ({count} of {len(rows)})" for reason, count in counts.items())


def _matrix(data: ReportData, devices: Sequence[DeviceRows], rows: Sequence[Sequence[Measurement]]) -> str:
    """Files and threads down, devices across."""
    p50: dict[tuple[str, int], dict[str, float]] = {}
    for device, measured in zip(devices, rows, strict=True):
        for m in measured:
            if m.latency:
                name = data.name_of(m.artifact) + (" (native)" if m.runner == "native" else "")
                p50.setdefault((name, m.threads), {})[device.label] = m.latency.p50_ms
    best = {d.label: min((row[d.label] for row in p50.values() if d.label in row), default=0.0) for d in devices}
    cells = []
    for threads in sorted({threads for _, threads in p50}):
        cells.append(rule(num_threads(threads), 1 + len(devices)))
        for (name, count), by_device in p50.items():
            if count == threads:
                marked = [_cell(by_device.get(device.label), best[device.label]) for device in devices]
                cells.append(f"<tr><td>{escape(name)}</td>{''.join(marked)}</tr>")
    return table(["artifact", *(device.label for device in devices)], cells, left=1)


def _cell(ms: float | None, best: float) -> str:
    if ms is None:
        return num("–")
    return num(f"<b>{ms:.2f}</b>" if ms == best else f"{ms:.2f}")


def _line(data: ReportData, m: Measurement) -> charts.Line:
    """Medians of equal stretches of seconds against the stretch's middle in minutes."""
    ends = np.cumsum(m.calls_per_second)
    width = -(-len(ends) // _MAX_CURVE)
    points = []
    for first in range(0, len(ends), width):
        last = min(first + width, len(ends))
        calls = m.samples_ms[int(ends[first - 1]) if first else 0 : int(ends[last - 1])]
        if calls:
            points.append(((first + last) / 120, float(np.median(calls))))
    name = f"{data.name_of(m.artifact)}, {num_threads(m.threads)}"
    return charts.Line(name, data.color_of(m.runtime), tuple(points), is_dashed=m.threads > 1)


def _sustained_row(data: ReportData, m: Measurement, line: charts.Line) -> str:
    tenth = max(1, len(line.points) // 10)
    tenths = [float(np.median([ms for _, ms in part])) for part in (line.points[:tenth], line.points[-tenth:])]
    begins, ends = m.first_and_last_minute_ms or tenths
    texts = [str(m.threads), f"{begins:.2f}", f"{ends:.2f}", f"{100 * (ends / begins - 1):+.0f} %"]
    return row((data.name_of(m.artifact),), texts, _states(m.states))


def _states(states: Sequence[DeviceState]) -> str:
    """What changed between the first look at the device and the last."""
    if not states:
        return "the device's state was not read"
    before, after = states[0], states[-1]
    readings = {
        "processor": (before.hottest_celsius, after.hottest_celsius, "°C"),
        "clock": (_mean(before.clock_mhz), _mean(after.clock_mhz), "MHz"),
        "thermal status": (before.thermal_status, after.thermal_status, ""),
        "battery": (before.battery_percent, after.battery_percent, "%"),
        "battery at": (before.battery_celsius, after.battery_celsius, "°C"),
        "load": (before.load, after.load, "processes"),
    }
    said = [
        f"{name} {first:g} → {last:g} {unit}".strip()
        for name, (first, last, unit) in readings.items()
        if first is not None and last is not None
    ]
    if before.hottest_celsius is None and before.thermal_status is None and not before.clock_mhz:
        said.append("it tells neither heat nor clocks")
    return "; ".join([*said, *(["governor " + ", ".join(before.governors)] if before.governors else [])])


def _mean(clocks: Sequence[int]) -> float | None:
    return float(np.mean(clocks)) if clocks else None
