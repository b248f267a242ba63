"""Charts as inline SVG that follow the page's colours."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SERIES = ("#3b82f6", "#f59e0b", "#10b981", "#ef4444", "#8b5cf6", "#ec4899", "#14b8a6", "#84cc16")
"""Colours of series, legible on white and on near-black."""

_MAX_POINTS = 240  # of a curve; more are averaged


@dataclass(frozen=True)
class Point:
    """One mark of a scatter plot; `is_hollow` draws a ring, an empty label writes none, `detail` shows on hovering."""

    label: str
    x: float
    y: float
    color: str
    is_hollow: bool = False
    detail: str = ""
    radius: float = 5.5


@dataclass(frozen=True)
class Line:
    """One course over time: (minutes, value) in rising order."""

    label: str
    color: str
    points: tuple[tuple[float, float], ...]
    is_dashed: bool = False


@dataclass(frozen=True)
class _Frame:
    """Maps data to pixels; x is logarithmic where asked."""

    left: float
    top: float
    width: float
    height: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    is_log_x: bool = False

    def x(self, value: float) -> float:
        low, high = self.x_range
        if self.is_log_x:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.left + (value - low) / (high - low) * self.width

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.top + self.height - (value - low) / (high - low) * self.height


def scatter(
    trails: Sequence[Sequence[Point]], *, x_title: str, y_title: str, lines: Mapping[str, float] | None = None
) -> str:
    """A scatter plot with logarithmic x; a trail's points are joined, `lines` are named dashed horizontals."""
    lines = lines or {}
    points = [point for trail in trails for point in trail]
    xs, ys = [p.x for p in points], [p.y for p in points] + list(lines.values())
    margin = max(max(ys) - min(ys), 0.5) * 0.22
    x_range, y_range = (min(xs) / 1.25, max(xs) * 1.45), (min(ys) - margin, max(ys) + margin)
    frame = _Frame(64, 12, 740, 330, x_range, y_range, is_log_x=True)
    body = [_grid(frame, _log_ticks(*frame.x_range), _ticks(*frame.y_range), x_title, y_title)]
    for name, value in lines.items():
        y = frame.y(value)
        body.append(f'<path class="mark" d="M{frame.left:.1f} {y:.1f}h{frame.width:.1f}"/>')
        body.append(f'<text class="dim" x="{frame.left + frame.width - 6:.1f}" y="{y - 5:.1f}" text-anchor="end">')
        body.append(f"{html.escape(name)}</text>")
    body += [_polyline(frame, [(p.x, p.y) for p in trail], trail[0].color, width=1.0) for trail in trails if trail]
    taken = [(frame.x(p.x) - p.radius, frame.y(p.y) - p.radius, 2 * p.radius, 2 * p.radius) for p in points]
    for name, value in lines.items():
        width = 6.4 * len(name) + 12
        taken.append((frame.left + frame.width - width, frame.y(value) - 17, width, 14.0))
        taken.append((frame.left, frame.y(value) - 1, frame.width, 2.0))
    for trail in trails:
        for a, b in itertools.pairwise(sorted(trail, key=lambda p: p.x)):
            top, bottom = sorted((frame.y(a.y), frame.y(b.y)))
            taken.append((frame.x(a.x), top - 1, frame.x(b.x) - frame.x(a.x), bottom - top + 2))
    for point in sorted(points, key=lambda point: -point.radius):
        x, y = frame.x(point.x), frame.y(point.y)
        fill = "none" if point.is_hollow else point.color
        body.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{point.radius:.1f}" fill="{fill}" fill-opacity="0.6" '
            f'stroke="{point.color}" stroke-width="2" pointer-events="all">'
            f"<title>{html.escape(point.detail or point.label)}</title></circle>"
        )
    body += [_label(p.label, frame.x(p.x), frame.y(p.y), p.radius, frame, taken) for p in points if p.label]
    return _svg(820, 396, body, f"{y_title} against {x_title}")


def timeline(lines: Sequence[Line], *, y_title: str) -> str:
    """Courses over minutes from zero up, so that a curve that looks twice as high is."""
    top = max(y for line in lines for _, y in line.points) * 1.1
    frame = _Frame(64, 16, 500, 220, (0.0, max(x for line in lines for x, _ in line.points)), (0.0, top))
    body = [_grid(frame, _ticks(*frame.x_range), _ticks(0.0, top), "minutes", y_title)]
    ends = _spread([(line.points[-1][1], line.label) for line in lines], frame)
    for line in lines:
        body.append(_polyline(frame, line.points, line.color, is_dashed=line.is_dashed))
        body.append(f'<text x="{frame.left + frame.width + 8:.1f}" y="{ends[line.label] + 4:.1f}" fill="{line.color}">')
        body.append(f"{html.escape(line.label)} {line.points[-1][1]:.2f}</text>")
    return _svg(820, 290, body, f"{y_title} over minutes")


def curves(steps: Sequence[int], losses: Mapping[str, Sequence[float]], pq: Sequence[tuple[int, float]]) -> str:
    """Loss parts above, validation PQ (in points) below, over the same steps."""
    x_range = (0.0, float(max([*steps, *(s for s, _ in pq), 1])))
    body: list[str] = []
    height = 220 if losses else 0
    if losses:
        thinned = {name: _thin(steps, values) for name, values in losses.items()}
        top = max(y for line in thinned.values() for _, y in line) * 1.05 or 1.0
        frame = _Frame(64, 16, 610, 190, x_range, (0.0, top))
        body.append(_grid(frame, [], _ticks(0.0, top), "", "loss"))
        ends = _spread([(line[-1][1], name) for name, line in thinned.items()], frame)
        for number, (name, line) in enumerate(thinned.items()):
            color = SERIES[number % len(SERIES)]
            body.append(_polyline(frame, line, color))
            body.append(f'<text x="{frame.left + frame.width + 8:.1f}" y="{ends[name] + 4:.1f}" fill="{color}">')
            body.append(f"{html.escape(name)} {line[-1][1]:.2f}</text>")
    frame = _Frame(64, height + 16, 610, 150, x_range, (0.0, max([100 * v for _, v in pq], default=1.0) * 1.12 or 1.0))
    body.append(_grid(frame, _ticks(*x_range), _ticks(*frame.y_range, count=4), "step", "PQ, points"))
    line = [(float(step), 100 * value) for step, value in pq]
    body.append(_polyline(frame, line, "var(--accent)"))
    for x, y in line:
        body.append(f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3.5" fill="var(--accent)">')
        body.append(f"<title>step {x:.0f}: PQ {y:.1f}</title></circle>")
    if line:
        x, y = frame.x(line[-1][0]) + 9, frame.y(line[-1][1]) + 4
        body.append(f'<text class="strong" x="{x:.1f}" y="{y:.1f}">{line[-1][1]:.1f}</text>')
    return _svg(820, height + 216, body, "training curve")


def whisker(low: float, middle: float, high: float, *, scale: tuple[float, float], color: str) -> str:
    """A small line from low to high with a dot in the middle, on a logarithmic scale shared by a table."""
    frame = _Frame(4, 0, 152, 16, scale, (0.0, 1.0), is_log_x=True)
    x0, x1, x2 = frame.x(low), frame.x(middle), frame.x(high)
    return (
        f'<svg class="whisker" viewBox="0 0 160 16" width="160" height="16" role="img" '
        f'aria-label="{low:.2f} to {high:.2f} ms, median {middle:.2f}">'
        f'<path d="M{x0:.1f} 8H{x2:.1f}M{x0:.1f} 4v8M{x2:.1f} 4v8" stroke="{color}" stroke-width="1.5" fill="none"/>'
        f'<circle cx="{x1:.1f}" cy="8" r="4" fill="{color}"/></svg>'
    )


def _svg(width: int, height: int, body: Sequence[str], name: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(name)}">'
        + "".join(body)
        + "</svg>"
    )


def _grid(frame: _Frame, x_ticks: Sequence[float], y_ticks: Sequence[float], x_title: str, y_title: str) -> str:
    bottom = frame.top + frame.height
    parts = []
    for value in x_ticks:
        x = frame.x(value)
        parts.append(f'<path class="grid" d="M{x:.1f} {frame.top:.1f}v{frame.height:.1f}"/>')
        parts.append(f'<text class="dim" x="{x:.1f}" y="{bottom + 17:.1f}" text-anchor="middle">{value:g}</text>')
    for value in y_ticks:
        y = frame.y(value)
        parts.append(f'<path class="grid" d="M{frame.left:.1f} {y:.1f}h{frame.width:.1f}"/>')
        parts.append(f'<text class="dim" x="{frame.left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    middle = frame.top + frame.height / 2
    parts.append(
        f'<text class="dim" x="14" y="{middle:.1f}" text-anchor="middle" transform="rotate(-90 14 {middle:.1f})">'
    )
    parts.append(f"{html.escape(y_title)}</text>")
    if x_title:
        x = frame.left + frame.width / 2
        parts.append(
            f'<text class="dim" x="{x:.1f}" y="{bottom + 38:.1f}" text-anchor="middle">{html.escape(x_title)}</text>'
        )
    return "".join(parts)


def _polyline(
    frame: _Frame, line: Sequence[tuple[float, float]], color: str, *, width: float = 1.8, is_dashed: bool = False
) -> str:
    path = "M" + "L".join(f"{frame.x(x):.1f} {frame.y(y):.1f}" for x, y in line) if line else ""
    dashes = ' stroke-dasharray="5 3"' if is_dashed else ""
    style = f'stroke="{color}" stroke-width="{width}" stroke-linejoin="round"{dashes}'
    return f'<path d="{path}" fill="none" {style}/>'


def _label(
    text: str, x: float, y: float, radius: float, frame: _Frame, taken: list[tuple[float, float, float, float]]
) -> str:
    """Writes beside a point where no other label or point is, with a thin line where that is not next to it."""
    width, height = 6.4 * len(text) + 4, 14.0
    aside, above = radius + 4.5, radius + 10.5
    offsets = [(aside, 0.0), (-aside - width, 0.0), (-width / 2, -above), (-width / 2, above)]
    offsets += [
        (dx, dy * sign) for dy in (20.0, 36.0, 52.0, 68.0, 84.0) for sign in (-1, 1) for dx in (12.0, -12.0 - width)
    ]
    inside = [
        (x + dx, y + dy - height / 2, width, height)
        for dx, dy in offsets
        if frame.left < x + dx
        and x + dx + width < frame.left + frame.width + 14
        and frame.top <= y + dy - height / 2
        and y + dy + height / 2 <= frame.top + frame.height
    ]
    free = [box for box in inside if not any(_overlap(box, other) for other in taken)]
    box = (free or inside or [(x + 10, y - height / 2, width, height)])[0]
    taken.append(box)
    text_y = box[1] + height - 3
    leader = ""
    if abs(box[1] + height / 2 - y) > 17:
        end_x = box[0] if box[0] > x else box[0] + width
        leader = f'<path class="leader" d="M{x:.1f} {y:.1f}L{end_x:.1f} {box[1] + height / 2:.1f}"/>'
    return f'{leader}<text x="{box[0] + 2:.1f}" y="{text_y:.1f}">{html.escape(text)}</text>'


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def _spread(ends: Sequence[tuple[float, str]], frame: _Frame) -> dict[str, float]:
    """Pixel rows for the names at the lines' ends, at least 15 apart."""
    rows: dict[str, float] = {}
    below = frame.top + frame.height + 15
    for value, name in sorted(ends):
        below = min(frame.y(value), below - 15)
        rows[name] = below
    return rows


def _thin(steps: Sequence[int], values: Sequence[float]) -> list[tuple[float, float]]:
    """At most `_MAX_POINTS` points, each the mean of its stretch."""
    count = min(_MAX_POINTS, len(values))
    edges = [len(values) * i // count for i in range(count + 1)] if count else []
    spans = itertools.pairwise(edges)
    return [(sum(steps[a:b]) / (b - a), sum(values[a:b]) / (b - a)) for a, b in spans]


def _ticks(low: float, high: float, *, count: int = 5) -> list[float]:
    """Round values inside the range."""
    rough = (high - low) / count
    unit = 10 ** math.floor(math.log10(rough))
    step = min((m * unit for m in (1, 2, 2.5, 5, 10)), key=lambda s: abs(s - rough))
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    dense = [m * 10.0**e for e in exponents for m in (1, 1.5, 2, 3, 4, 5, 6, 8)]
    shown = [value for value in dense if low <= value <= high]
    return shown if len(shown) <= 9 else [v for v in shown if f"{v:e}"[0] in "125" and f"{v:e}"[2] == "0"]
