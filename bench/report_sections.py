"""The report's parts, each from records to HTML."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeseg.bench import charts
from edgeseg.bench.measurement import Latency, Measurement
from edgeseg.bench.report_data import (
    ArtifactReport,
    CategoryScore,
    Confused,
    Example,
    Mistakes,
    ReportData,
    Score,
    TrainingCurve,
)
from edgeseg.export.runtimes import Coverage
from edgeseg.structures import Category

MAX_DROP = 1.0
"""PQ points that a quantized artifact may lose against float."""

_JPEG_QUALITY = 88
_MAX_CONFUSED = 24  # rows that fit a page
_ALWAYS = (
    "The latencies are this computer's. A phone has another processor, other kernels, an accelerator and a thermal "
    "limit; host ranks do not carry over. Measure on the phone before choosing.",
    "A latency covers the network and, where the table says so, the panoptic merge: not camera, scaling or drawing.",
    "PQ comes from the validation split named above. Photos of another kind will score differently.",
    "Core ML files are executed by an interpreter of their program on this computer, not by Apple's engine, unless "
    "the table says otherwise: their agreement is checked, their speed is not known here.",
)


def headlines(data: ReportData) -> str:
    """Cards with the few numbers that matter; a card appears only if its numbers exist."""
    cards = []
    reference = _reference(data.artifacts)
    scored = [a for a in data.artifacts if a.precision == "int8" and a.total and a.runtime != "torch"]
    if reference and reference.total:
        n = reference.total.n
        cards.append(_card(_points(reference.total.pq), f"PQ of the float model, {n} categories"))
    if scored:
        worst = min(scored, key=lambda a: a.total.pq if a.total else 0.0)
        cards.append(
            _card(
                _points(_pq(worst)),
                f"PQ in int8, lowest of {len(scored)} runtimes ({worst.name}){_drop(worst, reference)}",
            )
        )
    timed = [(m.latency, m) for m in data.measurements if m.threads == 1 and m.precision == "int8"]
    fastest = min(((t, m) for t, m in timed if t), key=lambda pair: pair[0].p50_ms, default=None)
    if fastest:
        latency, winner = fastest
        eager = next((m.latency for m in data.measurements if m.runtime == "torch" and m.threads == 1), None)
        times = f", {eager.p50_ms / latency.p50_ms:.1f} times as fast as eager torch" if eager else ""
        cards.append(
            _card(f"{latency.p50_ms:.1f} ms", f"median, 1 thread, {_name(data, winner)} on this computer{times}")
        )
    files = [a for a in data.artifacts if a.precision == "int8" and a.runtime != "torch"]
    if files:
        smallest = min(files, key=lambda a: a.size_bytes)
        share = f", {smallest.size_bytes / reference.size_bytes:.0%} of the float weights" if reference else ""
        cards.append(_card(_size(smallest.size_bytes), f"smallest int8 file ({smallest.name}){share}"))
    judged = [a.verdict for a in data.artifacts if a.verdict]
    if judged:
        passed = sum(v.passed for v in judged)
        lowest = min(v.equal_pixels for v in judged)
        cards.append(
            _card(f"{passed} of {len(judged)}", f"files verified against torch; at least {lowest:.2%} of pixels equal")
        )
    return f'<div class="headlines">{"".join(cards)}</div>'


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Name and value pairs in a row."""
    return '<dl class="facts">' + "".join(f"<div><dt>{_e(n)}</dt><dd>{_e(v)}</dd></div>" for n, v in pairs) + "</dl>"


def pictures(examples: Sequence[Example], categories: Sequence[Category]) -> str:
    """The legend once, then every example's pictures."""
    kinds = "".join(f"<li>{_chip(c)}{_e(c.name)}</li>" for c in sorted(categories, key=lambda c: not c.is_thing))
    legend = f'<ul class="legend">{kinds}</ul>'
    return _section(
        "Pictures",
        "Things have a shade per instance; what is dark belongs to no segment. Click to enlarge.",
        [legend, *_gallery(examples)],
    )


def _gallery(examples: Sequence[Example]) -> list[str]:
    parts = []
    for example in examples:
        parts.append(f'<h3>{_e(example.name)}</h3><div class="example">')
        for picture in example.pictures:
            alt = _e(f"{example.name}: {picture.caption}")
            note = f' <span class="dim">{_e(picture.note)}</span>' if picture.note else ""
            parts.append(
                f'<figure><label class="zoom"><input type="checkbox" aria-label="enlarge {alt}">'
                f'<img alt="{alt}" src="{_data_uri(picture.image)}"></label>'
                f"<figcaption>{_e(picture.caption)}{note}</figcaption></figure>"
            )
        parts.append("</div>")
    return parts


def category_table(rows: Sequence[CategoryScore]) -> str:
    """PQ, SQ, RQ per category with float and int8 side by side."""
    head = '<p class="dim key">PQ in points <i class="pale"></i>float <i></i>int8</p>'
    cells = []
    for title, is_thing in (("things", True), ("stuff", False)):
        group = [row for row in rows if row.category.is_thing == is_thing]
        cells += [f'<tr class="rule"><td colspan="9">{title}</td></tr>'] if group else []
        for row in group:
            before, after = row.float_score, row.int8_score
            change = _signed(100 * (after.pq - before.pq)) if before and after else "–"
            bars = "".join(
                f'<i{css} style="width:{100 * score.pq:.1f}%"></i>'
                for score, css in ((before, ' class="pale"'), (after, ""))
                if score
            )
            cells.append(
                f"<tr><td>{_chip(row.category)}{_e(row.category.name)}</td><td class='bars'>{bars}</td>"
                f"{_scores(before)}{_scores(after)}{_num(change)}</tr>"
            )
    heads = ["category", "", "float PQ", "SQ", "RQ", "int8 PQ", "SQ", "RQ", "change"]
    return _section("Quality per category", "", [head, _table(heads, cells, left=2)])


def mistakes(found: Mistakes) -> str:
    """The confusion table, then the worst images."""
    note = (
        f"{found.model}. A row holds the segments of a true category by what they were taken for: the prediction that "
        "overlaps them by an IoU above 0.5, or nothing. Colour is the share of the row."
    )
    parts = [_confusion_table(found.confused)]
    if found.worst:
        parts += ["<h3>The images that score worst, each on its own</h3>", *_gallery(found.worst)]
    return _section("What is taken for what", note, parts)


def _confusion_table(cells: Sequence[Confused]) -> str:
    """The categories with the most mistakes, at most `_MAX_CONFUSED`."""
    errors: dict[Category, int] = {}
    for cell in cells:
        for category in filter(None, (cell.gt, cell.pred)):
            errors[category] = errors.get(category, 0) + (cell.segments if cell.gt != cell.pred else 0)
    shown = sorted(errors, key=lambda category: -errors[category])[:_MAX_CONFUSED]
    shown.sort(key=lambda category: (not category.is_thing, category.id))
    value = {(cell.gt, cell.pred): cell for cell in cells}
    head = "".join(f'<th class="turned"><span>{_e(category.name)}</span></th>' for category in shown)
    rows = []
    for gt in [*shown, None]:
        columns = "".join(_confused_cell(value.get((gt, pred)), gt is pred) for pred in [*shown, None])
        name = f"{_chip(gt)}{_e(gt.name)}" if gt else '<i class="dim">nothing (false)</i>'
        rows.append(f"<tr><td>{name}</td>{columns}</tr>")
    left_out = len(errors) - len(shown)
    rest = f'<p class="dim">{left_out} categories with fewer mistakes are left out.</p>' if left_out else ""
    turned = f'{head}<th class="turned"><span>nothing (missed)</span></th>'
    return (
        f'<div class="scroll"><table class="confusion"><thead><tr><th>true \\ taken for</th>{turned}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{rest}"
    )


def _confused_cell(cell: Confused | None, is_right: bool) -> str:
    if cell is None:
        return "<td></td>"
    color = f"color-mix(in srgb, var(--{'good' if is_right else 'bad'}) {100 * cell.share:.0f}%, transparent)"
    return f'<td style="background:{color}" title="{cell.share:.1%}">{cell.segments}</td>'


def artifact_table(data: ReportData) -> str:
    """Things, stuff, all, size of every file."""
    reference = _reference(data.artifacts)
    cells = []
    for a in data.artifacts:
        change = ""
        if reference and reference.total and a.total and a is not reference:
            delta = 100 * (a.total.pq - reference.total.pq)
            change = f'<span class="{"good" if delta >= -MAX_DROP else "bad"}">{_signed(delta)}</span>'
        share = f"{a.size_bytes / reference.size_bytes:.0%}" if reference else "–"
        groups = "".join(_num(_points(s.pq) if s else "–") for s in (a.total, a.things, a.stuff))
        sq_rq = _num(_points(a.total.sq)) + _num(_points(a.total.rq)) if a.total else _num("–") * 2
        cells.append(
            f"<tr><td>{_e(a.name)}</td><td>{_e(a.precision)}</td><td>{_e(a.merge)}</td>{groups}{sq_rq}"
            f"{_num(change)}{_num(_size(a.size_bytes))}{_num(share)}<td class='dim'>{_e(a.file)}</td></tr>"
        )
    heads = ["artifact", "precision", "merge", "PQ", "things", "stuff", "SQ", "RQ"]
    heads += ["change", "size", "of float", "file"]
    note = f"Each file ran in its own runtime over the same images. A change below -{MAX_DROP:g} point is red."
    return _section("Quality and size per file", note, [_table(heads, cells, left=3, last_left=True)])


def latency_table(data: ReportData) -> str:
    """Percentiles, load time, memory; what was not timed says why."""
    timed = [(m, t) for m in data.measurements if (t := m.latency)]
    if not data.measurements:
        return ""
    scale = _scale([t for _, t in timed])
    cells = []
    for threads in sorted({m.threads for m, _ in timed}):
        cells.append(f'<tr class="rule"><td colspan="11">{threads} thread{"s" if threads > 1 else ""}</td></tr>')
        group = sorted(((m, t) for m, t in timed if m.threads == threads), key=lambda pair: pair[1].p50_ms)
        for m, t in group:
            strip = charts.whisker(t.min_ms, t.p50_ms, t.p99_ms, scale=scale, color=_color(data, m))
            numbers = [t.p50_ms, t.p90_ms, t.p99_ms, t.min_ms, t.mean_ms]
            load = f"{m.median_load_ms:.0f}" if m.median_load_ms is not None else "–"
            texts = [f"{v:.2f}" for v in numbers]
            texts += [load, f"{m.peak_mib:.0f}", f"{m.rss_delta_mib:.0f}", str(len(m.samples_ms))]
            name = _name(data, m) + ("" if m.is_settled else " *")
            cells.append(f"<tr><td>{_e(name)}</td><td>{strip}</td>{''.join(map(_num, texts))}</tr>")
    heads = ["artifact", "min – p50 – p99", "p50 ms", "p90", "p99", "min", "mean"]
    heads += ["load ms", "peak MiB", "model MiB", "runs"]
    left_out = {(_name(data, m), m.not_timed): None for m in data.measurements if m.not_timed}
    missing = "".join(f"<li>{_e(name)}: not timed. {_e(reason)}</li>" for name, reason in left_out)
    device = data.measurements[0].device
    note = (
        f"{device.name}, {device.cores} cores, {device.os}. Each file in its own process, rounds in random order. "
        "Peak is the whole process, Python and libraries included; model is what loading and running added. "
        "A star marks a file whose calls were still drifting when its warm-up time was over."
    )
    return _section("Latency", note, [_table(heads, cells, left=2), f"<ul>{missing}</ul>" if missing else ""])


def latency_against_quality(data: ReportData) -> str:
    """The scatter plot: filled at one thread, hollow at more."""
    by_file = {a.file: a for a in data.artifacts if a.total}
    trails: dict[str, list[charts.Point]] = {}
    for m in sorted(data.measurements, key=lambda m: m.threads):
        artifact, t = by_file.get(m.artifact), m.latency
        if artifact is None or t is None:
            continue
        threads = "1 thread" if m.threads == 1 else f"{m.threads} threads"
        detail = f"{artifact.name}, {threads}: p50 {t.p50_ms:.2f} ms, PQ {100 * _pq(artifact):.2f}"
        trail = trails.setdefault(m.artifact, [])
        label = "" if trail else artifact.name
        trail.append(charts.Point(label, t.p50_ms, 100 * _pq(artifact), _color(data, m), m.threads > 1, detail))
    if not trails:
        return ""
    reference = _reference(data.artifacts)
    lines = {}
    if reference and reference.total:
        lines = {"float": 100 * reference.total.pq, f"float - {MAX_DROP:g} point": 100 * reference.total.pq - MAX_DROP}
    plot = charts.scatter(
        list(trails.values()), x_title="median latency, ms (logarithmic)", y_title="PQ, points", lines=lines
    )
    return _section(
        "Latency against quality", "Left and up is better. Filled: 1 thread; ring: more threads, same file.", [plot]
    )


def training(curve: TrainingCurve | None) -> str:
    """Loss parts and PQ over the steps."""
    if curve is None or not (curve.steps or curve.pq):
        return ""
    plot = charts.curves(curve.steps, curve.losses, curve.pq)
    return _section("Training", "", [f'<div class="scroll">{plot}</div>'])


def coverage_and_verdicts(artifacts: Sequence[ArtifactReport]) -> str:
    """What each file delegated and how its answer compares with torch."""
    covered, judged = [], []
    for a in artifacts:
        if a.coverage:
            covered.append(_coverage_row(a.name, a.coverage))
        if a.verdict:
            v = a.verdict
            mark = '<span class="good">passed</span>' if v.passed else '<span class="bad">failed</span>'
            numbers = _num(f"{v.equal_pixels:.3%}") + _num(f"{v.floor:.1%}")
            judged.append(f"<tr><td>{_e(a.name)}</td>{numbers}<td>{mark}</td><td>{_e(v.judged_by)}</td></tr>")
    parts = ""
    if judged:
        note = (
            "Share of equal pixels over the golden images, against the torch model of the same precision. The floor is "
            "for all images in float32, for their lower quartile else: in a rare one a nearly tied segment tips over."
        )
        heads = ["artifact", "equal pixels", "floor", "", "judged by"]
        parts += _section("Same answer as torch", note, [_table(heads, judged, left=1, last_left=True)])
    if covered:
        note = "What the runtime's accelerator library runs, in how many pieces, and what it left to plain kernels."
        heads = ["artifact", "delegate", "pieces", "operators", "inside", "left outside"]
        parts += _section("What each file delegated", note, [_table(heads, covered, left=2, last_left=True)])
    return parts


def _coverage_row(name: str, coverage: Coverage) -> str:
    total = sum(coverage.operators.values()) if coverage.operators is not None else None
    if coverage.outside is None:
        outside, inside = "known on the device only", "–"
    else:
        listed = sorted(coverage.outside.items(), key=lambda item: (-item[1], item[0]))
        outside = ", ".join(f"{operator} x{n}" if n > 1 else operator for operator, n in listed) or "nothing"
        inside = f"{1 - sum(coverage.outside.values()) / total:.0%}" if total else "–"
    pieces = "–" if coverage.num_delegates is None else str(coverage.num_delegates)
    numbers = _num(pieces) + _num("–" if total is None else str(total)) + _num(inside)
    return f"<tr><td>{_e(name)}</td><td>{_e(coverage.delegate)}</td>{numbers}<td class='wrap'>{_e(outside)}</td></tr>"


def closing(data: ReportData) -> str:
    """Limits of the numbers, then versions."""
    limits = "".join(f"<li>{_e(line)}</li>" for line in (*_ALWAYS, *data.caveats))
    return _section("What these numbers do not say", "", [f"<ul>{limits}</ul>"]) + (
        _section(
            "Environment",
            "",
            [facts(data.environment).replace('class="facts"', 'class="facts" style="border:0;padding:0"')],
        )
    )


def _reference(artifacts: Sequence[ArtifactReport]) -> ArtifactReport | None:
    return next((a for a in artifacts if a.runtime == "torch" and a.precision == "float32"), None)


def _pq(artifact: ArtifactReport) -> float:
    return artifact.total.pq if artifact.total else 0.0


def _drop(artifact: ArtifactReport, reference: ArtifactReport | None) -> str:
    if reference is None or reference.total is None:
        return ""
    return f", {_signed(100 * (_pq(artifact) - reference.total.pq))} points"


def _name(data: ReportData, measurement: Measurement) -> str:
    return next((a.name for a in data.artifacts if a.file == measurement.artifact), measurement.artifact)


def _color(data: ReportData, measurement: Measurement) -> str:
    runtimes = list(dict.fromkeys(m.runtime for m in data.measurements))
    return charts.SERIES[runtimes.index(measurement.runtime) % len(charts.SERIES)]


def _scale(latencies: Iterable[Latency]) -> tuple[float, float]:
    listed = list(latencies)
    low, high = min((t.min_ms for t in listed), default=1.0), max((t.p99_ms for t in listed), default=10.0)
    return low * 0.9, max(high, low * 1.01) * 1.1


def _section(title: str, note: str, parts: Iterable[str]) -> str:
    lead = f'<p class="dim">{_e(note)}</p>' if note else ""
    return f"<section><h2>{_e(title)}</h2>{lead}{''.join(parts)}</section>\n"


def _table(heads: Sequence[str], rows: Sequence[str], *, left: int, last_left: bool = False) -> str:
    cells = []
    for i, head in enumerate(heads):
        is_left = i < left or (last_left and i == len(heads) - 1)
        cells.append(f"<th>{_e(head)}</th>" if is_left else f'<th class="num">{_e(head)}</th>')
    head, body = "".join(cells), "".join(rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _card(value: str, text: str) -> str:
    return f'<div class="headline"><b>{_e(value)}</b><span>{_e(text)}</span></div>'


def _chip(category: Category) -> str:
    return f'<span class="chip" style="background:rgb{tuple(category.color)}"></span>'


def _scores(score: Score | None) -> str:
    return "".join(_num(_points(v)) for v in (score.pq, score.sq, score.rq)) if score else _num("–") * 3


def _num(markup: str) -> str:
    return f'<td class="num">{markup}</td>'


def _points(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def _signed(points: float) -> str:
    return f"{points:+.2f}"


def _size(count: int) -> str:
    return f"{count / 2**20:.2f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"


def _e(text: str) -> str:
    return html.escape(text)


def _data_uri(image: NDArray[np.uint8]) -> str:
    """The image as a JPEG data URI: a report of PNGs would be five times as large."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
