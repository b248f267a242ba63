"""The analysis of layers as a chart: SVG that a browser shows by itself."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence

from edgeseg.quantize.sensitivity import Sensitivity

_ROW, _NAME, _BAR, _GAP, _TOP = 15, 290, 250, 70, 56  # pixels
_COLORS = {True: "#f59e0b", False: "#3b82f6"}  # fewer bits than 8, 8 bits
_MOST_ROWS = 120


def draw(rows: Sequence[Sensitivity], title: str) -> str:
    """A row per layer in the order given: SQNR in dB, and the PQ it costs in points, or its divergence where unscored.

    Args:
        rows: Result of `analyse`; the first 120 are drawn.
        title: Stands above.
    """
    shown = rows[:_MOST_ROWS]
    height = _TOP + _ROW * len(shown) + 12
    width = _NAME + 2 * (_BAR + _GAP)
    scored = any(row.pq_drop is not None for row in shown)
    heading = "PQ lost, points" if scored else "divergence, nats"
    body = [
        f'<text x="8" y="20" font-size="14" font-weight="600">{html.escape(title)}</text>',
        f'<text x="{_NAME}" y="{_TOP - 10}">SQNR, dB</text>',
        f'<text x="{_NAME + _BAR + _GAP}" y="{_TOP - 10}">{heading}</text>',
    ]
    for place, is_narrow, label in ((_NAME + 120, True, "fewer bits"), (_NAME + 200, False, "8 bits")):
        body.append(f'<rect x="{place - 14}" y="{_TOP - 19}" width="10" height="10" fill="{_COLORS[is_narrow]}"/>')
        body.append(f'<text x="{place}" y="{_TOP - 10}">{label}</text>')
    for index, row in enumerate(shown):
        y = _TOP + index * _ROW
        name = html.escape(f"{row.layer} ({row.weights:,})")
        body.append(f'<text x="{_NAME - 8}" y="{y + 11}" text-anchor="end">{name}</text>')
    cost = _points if scored else _nats
    body += _bars(shown, _NAME, lambda row: row.sqnr_db, "{:.1f}")
    body += _bars(shown, _NAME + _BAR + _GAP, cost, "{:+.2f}" if scored else "{:.4f}")
    style = 'font-family="system-ui, sans-serif" font-size="11" fill="currentColor"'
    frame = f'<rect width="{width}" height="{height}" fill="#fff"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" color="#111" {style}>{frame}{"".join(body)}</svg>\n'
    )


def _bars(rows: Sequence[Sensitivity], left: float, value: Callable[[Sensitivity], float], form: str) -> list[str]:
    values = [value(row) for row in rows]
    finite = [number for number in values if math.isfinite(number)]
    most = max([*finite, 1e-12])
    body = []
    for index, (row, number) in enumerate(zip(rows, values, strict=True)):
        y = _TOP + index * _ROW
        length = _BAR * min(max(number, 0.0) / most, 1.0)
        color = _COLORS[row.bits < 8]
        body.append(f'<rect x="{left}" y="{y + 2}" width="{length:.1f}" height="{_ROW - 4}" fill="{color}"/>')
        text = "exact" if number == math.inf else form.format(number)
        body.append(f'<text x="{left + length + 4:.1f}" y="{y + 11}">{text}</text>')
    return body


def _points(row: Sensitivity) -> float:
    return 0.0 if row.pq_drop is None else row.pq_drop


def _nats(row: Sensitivity) -> float:
    return row.divergence
