"""The report's quality per file and per category."""

from __future__ import annotations

from collections.abc import Sequence

from edgeseg.bench.report_data import MAX_DROP, CategoryScore, ReportData, Score
from edgeseg.bench.report_markup import chip, escape, num, points, section, signed, size, table


def artifact_table(data: ReportData) -> str:
    """Things, stuff, all, size of every file."""
    reference = data.reference
    cells = []
    for a in data.artifacts:
        change = ""
        if reference and reference.total and a.total and a is not reference:
            delta = 100 * (a.total.pq - reference.total.pq)
            change = f'<span class="{"good" if delta >= -MAX_DROP else "bad"}">{signed(delta)}</span>'
        is_known = reference is not None and reference.precision == "float32" and reference.size_bytes > 0
        share = f"{a.size_bytes / reference.size_bytes:.0%}" if reference and is_known else "–"
        weight = size(a.size_bytes) if a.size_bytes else "–"
        groups = "".join(num(points(s.pq) if s else "–") for s in (a.total, a.things, a.stuff))
        sq_rq = num(points(a.total.sq)) + num(points(a.total.rq)) if a.total else num("–") * 2
        cells.append(
            f"<tr><td>{escape(a.name)}</td><td>{escape(a.precision)}</td><td>{escape(a.merge)}</td>{groups}{sq_rq}"
            f"{num(change)}{num(weight)}{num(share)}<td class='dim'>{escape(a.file)}</td></tr>"
        )
    heads = ["artifact", "precision", "merge", "PQ", "things", "stuff", "SQ", "RQ"]
    heads += ["change", "size", "of float", "file"]
    note = (
        "Each file ran in its own runtime over the same images. Change is against the first torch row; below "
        f"-{MAX_DROP:g} point it is red."
    )
    return section("Quality and size per file", note, [table(heads, cells, left=3, last_left=True)])


def category_table(rows: Sequence[CategoryScore]) -> str:
    """PQ, SQ, RQ per category with float and int8 side by side."""
    head = '<p class="dim key">PQ in points <i class="pale"></i>float <i></i>int8</p>'
    cells = []
    for title, is_thing in (("things", True), ("stuff", False)):
        group = [row for row in rows if row.category.is_thing == is_thing]
        cells += [f'<tr class="rule"><td colspan="9">{title}</td></tr>'] if group else []
        for row in group:
            before, after = row.float_score, row.int8_score
            change = signed(100 * (after.pq - before.pq)) if before and after else "–"
            bars = "".join(
                f'<i{css} style="width:{100 * score.pq:.1f}%"></i>'
                for score, css in ((before, ' class="pale"'), (after, ""))
                if score
            )
            cells.append(
                f"<tr><td>{chip(row.category)}{escape(row.category.name)}</td><td class='bars'>{bars}</td>"
                f"{_scores(before)}{_scores(after)}{num(change)}</tr>"
            )
    heads = ["category", "", "float PQ", "SQ", "RQ", "int8 PQ", "SQ", "RQ", "change"]
    return section("Quality per category", "", [head, table(heads, cells, left=2)])


def _scores(score: Score | None) -> str:
    return "".join(num(points(v)) for v in (score.pq, score.sq, score.rq)) if score else num("–") * 3
