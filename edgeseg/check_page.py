"""The data doctor's report as one self-contained HTML file."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from string import Template

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeseg.check_pictures import draw_case
from edgeseg.data.doctor import CASES, Case, CheckReport
from edgeseg.data.doctor_balance import SplitStats
from edgeseg.data.doctor_codes import RULES, Finding, shown

_TEMPLATE = Path(__file__).with_name("check_page.html")
_MAX_PICTURES = 48
_EXAMPLES = 20  # findings listed under a code


def write_page(report: CheckReport, path: Path, *, on_progress: Callable[[int], None] = lambda count: None) -> None:
    """Writes the page aside and renames it to `path`; no network, no script.

    Args:
        report: What was found.
        path: File to write, replaced if present.
        on_progress: Called with the number of pictures just drawn.
    """
    parts = [
        _head(report),
        _findings(report),
        _pictures(report, on_progress),
        _balance(report),
        _void(report.splits),
    ]
    template = Template(_TEMPLATE.read_text(encoding="utf-8"))
    title = html.escape(f"data check: {shown(report.root.name)}")
    aside = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside.write_text(template.substitute(title=title, body="\n".join(parts)), encoding="utf-8")
    aside.replace(path)


def chosen_cases(report: CheckReport) -> list[Case]:
    """The cases that are drawn: the worst of each code first, until there are enough."""
    by_code = [list(group) for _, group in groupby(report.cases, key=lambda case: case.finding.code)]
    ranked = [cases[rank] for rank in range(CASES) for cases in by_code if rank < len(cases)]
    order = sorted(RULES, key=lambda code: RULES[code].severity)  # errors first
    return sorted(ranked[:_MAX_PICTURES], key=lambda case: order.index(case.finding.code))


def _head(report: CheckReport) -> str:
    verdict = {"errors": "has errors", "warnings": "no errors, but look at the warnings", "clean": "clean"}
    kind = {"errors": "error", "warnings": "warning", "clean": "clean"}[report.verdict]
    images = sum(split.num_images for split in report.splits)
    pixels = sum(split.num_pixels for split in report.splits)
    void = sum(split.void_pixels for split in report.splits) / pixels if pixels else 0.0
    cards = [
        ("errors", f"{report.num_errors:,}", "error" if report.num_errors else ""),
        ("warnings", f"{report.num_warnings:,}", "warning" if report.num_warnings else ""),
        ("images in " + " + ".join(html.escape(split.name) for split in report.splits), f"{images:,}", ""),
        ("segments", f"{sum(split.num_segments for split in report.splits):,}", ""),
        ("categories", f"{len(report.categories)}", ""),
        ("of the pixels void", f"{void:.1%}", ""),
    ]
    rows = [
        f'<div class="headline"><b class="{mark}">{value}</b><span>{name}</span></div>' for name, value, mark in cards
    ]
    return (
        f'<h1>{html.escape(shown(str(report.root)))}: <span class="{kind}">{verdict[report.verdict]}</span></h1>'
        f'<p class="dim">edgeseg data check, {report.seconds:.0f} s, every photo and every PNG opened</p>'
        f'<div class="headlines">{"".join(rows)}</div>'
    )


def _findings(report: CheckReport) -> str:
    if not report.counts:
        return '<section><h2>Findings</h2><p class="clean">None.</p></section>'
    rows = []
    for code in sorted(report.counts, key=lambda code: RULES[code].severity):  # errors first
        rule = RULES[code]
        kept = [finding for finding in report.findings if finding.code == code]
        listed = "".join(f"<li>{_place(finding)}: {html.escape(finding.value)}</li>" for finding in kept[:_EXAMPLES])
        more = report.counts[code] - min(len(kept), _EXAMPLES)
        rest = f"<li>{more:,} more; all counted, listed by --json</li>" if more else ""
        fix = f'<br><span class="dim">--fix: {html.escape(rule.fix)}</span>' if rule.fix else ""
        rows.append(
            f'<tr><td class="code"><b class="{rule.severity}">{rule.severity}</b><br><code>{code}</code></td>'
            f'<td class="num">{report.counts[code]:,}</td>'
            f"<td>{html.escape(rule.says)}<details><summary>where</summary><ul>{listed}{rest}</ul></details></td>"
            f"<td>{html.escape(rule.next_step)}{fix}</td></tr>"
        )
    return (
        '<section><h2>Findings</h2><div class="scroll"><table><tr><th>code</th><th class="num">count</th>'
        f"<th>the rule that is broken</th><th>next step</th></tr>{''.join(rows)}</table></div></section>"
    )


def _place(finding: Finding) -> str:
    parts = [finding.file or finding.split]
    if finding.segment is not None:
        parts.append(f"segment {finding.segment}")
    return html.escape(", ".join(parts)) or "the whole set"


def _pictures(report: CheckReport, on_progress: Callable[[int], None]) -> str:
    figures = []
    for case in chosen_cases(report):
        picture = draw_case(case, report.categories)
        on_progress(1)
        if picture is None:
            continue
        finding = case.finding
        rule = RULES[finding.code]
        figures.append(
            f'<figure><label class="zoom"><input type="checkbox"><img alt="" src="{_as_url(picture)}"></label>'
            f'<figcaption><code class="{rule.severity}">{finding.code}</code> {_place(finding)}'
            f'<br><span class="dim">{html.escape(finding.value)}</span></figcaption></figure>'
        )
    if not figures:
        return ""
    key = (
        "The segment in question is outlined in yellow, a box from the JSON is red, what the JSON does not list is "
        "magenta, void is dark. Click to enlarge."
    )
    pictures = f'<div class="pictures">{"".join(figures)}</div>'
    return f'<section><h2>Worst cases</h2><p class="dim">{key}</p>{pictures}</section>'


def _as_url(picture: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _balance(report: CheckReport) -> str:
    splits = report.splits
    most = {s.name: max((c.segments for c in s.categories.values()), default=0) for s in splits}
    heads = "".join(
        f'<th class="num">{html.escape(s.name)}: segments</th><th></th><th class="num">images</th>'
        f'<th class="num">pixels</th>'
        for s in splits
    )
    rows = []
    for id_, entry in report.categories.items():
        cells = []
        for split in splits:
            row = split.categories.get(id_)
            if row is None:
                cells.append('<td class="num">-</td><td></td><td class="num">-</td><td class="num">-</td>')
                continue
            width = 100 * row.segments / most[split.name] if most[split.name] else 0.0
            share = row.pixels / split.num_pixels if split.num_pixels else 0.0
            mark = "" if row.segments else " warning"
            cells.append(
                f'<td class="num{mark}">{row.segments:,}</td><td class="bar"><i style="width:{width:.1f}%"></i></td>'
                f'<td class="num">{row.images:,}</td><td class="num">{share:.2%}</td>'
            )
        kind = {True: "thing", False: "stuff", None: "?"}[entry.is_thing]
        name = html.escape(shown(entry.name or "?"))
        rows.append(
            f'<tr><td>{name} <span class="dim">{id_}</span></td><td class="dim">{kind}</td>{"".join(cells)}</tr>'
        )
    return (
        '<section><h2>Class balance</h2><div class="scroll"><table><tr><th>category</th><th></th>'
        f"{heads}</tr>{''.join(rows)}</table></div></section>"
    )


def _void(splits: Sequence[SplitStats]) -> str:
    parts = []
    for split in splits:
        most = max(split.void_histogram) or 1
        bins = "".join(
            f'<div>{count or ""}<i style="height:{85 * count / most:.1f}%"></i></div>' for count in split.void_histogram
        )
        parts.append(
            f"<h3>{html.escape(split.name)}: {split.void_share:.2%} of all pixels</h3>"
            f'<div class="bins">{bins}</div><div class="axis"><span>0 %</span><span>50 %</span><span>100 %</span></div>'
        )
    if not parts:
        return ""
    return (
        f'<section><h2>Void share</h2><p class="dim">Images by how much of them is void.</p>{"".join(parts)}</section>'
    )
