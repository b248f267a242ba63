"""The report's operators: which run outside the accelerator library, and where each file's time goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from edgeseg.bench.coverage import ArtifactCoverage, OperatorRow
from edgeseg.bench.report_data import ArtifactReport, ReportData
from edgeseg.bench.report_markup import num, section, table

MAX_ROWS = 8
"""Of each file; the rest stands in one row."""


def beside_latency(data: ReportData) -> str:
    """What each file delegated, beside its latency at one thread on the first real device."""
    covered = [artifact for artifact in data.artifacts if artifact.coverage]
    if not covered:
        return ""
    device = next((device for device in data.devices if not device.emulated), None)
    p50 = {m.artifact: m.latency.p50_ms for m in device.rows if m.threads == 1 and m.latency} if device else {}
    outside = {profile.file: profile.outside_share for profile in data.coverage}
    note = "What the runtime's accelerator library runs, in how many pieces, and what it left to plain kernels." + (
        f" Latency: one thread on {device.label}." if device and p50 else ""
    )
    heads = ["artifact", "delegate", "p50 ms", "time outside", "pieces", "operators", "inside", "left outside"]
    rows = [_delegated(artifact, p50.get(artifact.file), outside.get(artifact.file)) for artifact in covered]
    return section("What each file delegated", note, [table(heads, rows, left=2, last_left=True)])


def _delegated(artifact: ArtifactReport, p50_ms: float | None, outside_share: float | None) -> str:
    coverage = artifact.coverage
    assert coverage is not None
    total = sum(coverage.operators.values()) if coverage.operators is not None else None
    if coverage.outside is None:
        outside, inside = "known on the device only", "–"
    else:
        listed = sorted(coverage.outside.items(), key=lambda item: (-item[1], item[0]))
        outside = ", ".join(f"{operator} x{n}" if n > 1 else operator for operator, n in listed) or "nothing"
        inside = f"{1 - sum(coverage.outside.values()) / total:.0%}" if total else "–"
    texts = ["–" if p50_ms is None else f"{p50_ms:.2f}", "–" if outside_share is None else f"{outside_share:.1%}"]
    texts += ["–" if coverage.num_delegates is None else str(coverage.num_delegates)]
    numbers = "".join(map(num, [*texts, "–" if total is None else str(total), inside]))
    words = f"<td>{escape(artifact.name)}</td><td class='wrap'>{escape(coverage.delegate)}</td>"
    return f"<tr>{words}{numbers}<td class='wrap'>{escape(outside)}</td></tr>"


def operator_costs(covered: Sequence[ArtifactCoverage], names: Mapping[str, str]) -> str:
    """One table per file: its dearest operators with a bar for their share of the time, then advice.

    Args:
        covered: What was profiled.
        names: Short name by file.
    """
    if not covered:
        return ""
    note = (
        "Operators as each runtime's own profiler times them, lower quartiles; a bar is the share of the file's "
        "time, red where it ran outside the accelerator library. Profiling makes a call a little slower than in the "
        "table of latencies."
    )
    parts = "".join(_file(coverage, names.get(coverage.file, coverage.file)) for coverage in covered)
    return f'<section><h2>Where the time goes</h2><p class="dim">{note}</p>{parts}</section>\n'


def _file(coverage: ArtifactCoverage, name: str) -> str:
    advice = "".join(f"<li>{escape(line)}</li>" for line in coverage.advice)
    rows = [_row(row) for row in coverage.rows[:MAX_ROWS]]
    if rest := coverage.rows[MAX_ROWS:]:
        ms = [row.ms for row in rest if row.ms is not None]
        share = [row.share for row in rest if row.share is not None]
        cells = _cells(sum(row.count for row in rest), sum(ms) if ms else None, sum(share) if share else None)
        rows.append(f"<tr><td>{len(rest)} more kinds</td><td></td><td></td>{cells}</tr>")
    heads = '<th>operator</th><th>runs on</th><th></th><th class="num">count</th><th class="num">ms</th>'
    heads += '<th class="num">share</th>'
    return (
        f"<details{' open' if coverage.advice else ''}><summary><b>{escape(name)}</b> "
        f'<span class="dim">{escape(_headline(coverage))}</span></summary>'
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        + (f"<ul>{advice}</ul>" if advice else "")
        + "</details>"
    )


def _headline(coverage: ArtifactCoverage) -> str:
    pieces = coverage.num_delegates
    delegate = coverage.delegate + ("" if pieces is None else f", {pieces} piece{'s' * (pieces != 1)}")
    if coverage.operators_ms is None or coverage.outside_share is None:
        return f"{delegate}; not timed: {coverage.method}"
    return (
        f"{delegate}; {coverage.operators_ms:.2f} ms in operators, {coverage.outside_share:.1%} of it outside; "
        f"{coverage.threads} thread{'s' * (coverage.threads != 1)}, {coverage.method}"
    )


def _row(row: OperatorRow) -> str:
    color = "var(--bad)" if row.is_delegated is False else "var(--bar2)"
    width = 100 * (row.share or 0.0)
    bar = f'<i style="width:{width:.1f}%;background:{color}"></i>' if row.share is not None else ""
    made_from = f' <span class="dim">= {escape(" + ".join(row.made_from))}</span>' if row.made_from else ""
    where = f'<span class="bad">{escape(row.where)}</span>' if row.is_delegated is False else escape(row.where)
    return (
        f"<tr><td>{escape(row.operator)}{made_from}</td><td>{where}</td><td class='bars'>{bar}</td>"
        f"{_cells(row.count, row.ms, row.share)}</tr>"
    )


def _cells(count: int, ms: float | None, share: float | None) -> str:
    texts = (str(count), "–" if ms is None else f"{ms:.3f}", "–" if share is None else f"{share:.1%}")
    return "".join(f'<td class="num">{text}</td>' for text in texts)
