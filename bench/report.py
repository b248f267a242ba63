"""One self-contained HTML file that shows what a run gave."""

from __future__ import annotations

import html
import os
from pathlib import Path
from string import Template

from edgeseg.bench import report_sections as sections
from edgeseg.bench.report_coverage import operator_costs
from edgeseg.bench.report_data import ReportData

_TEMPLATE = Path(__file__).with_name("report.html")


def render_report(data: ReportData) -> str:
    """The report as HTML: no network, no script; the same data give the same bytes."""
    parts = [
        sections.facts(data.facts),
        sections.headlines(data),
        sections.pictures(data.examples, data.categories) if data.examples else "",
        sections.latency_against_quality(data),
        sections.artifact_table(data),
        sections.latency_table(data),
        sections.category_table(data.category_scores) if data.category_scores else "",
        sections.mistakes(data.mistakes) if data.mistakes else "",
        sections.coverage_and_verdicts(data.artifacts),
        operator_costs(data.coverage, {artifact.file: artifact.name for artifact in data.artifacts}),
        sections.training(data.curve),
        sections.closing(data),
    ]
    template = Template(_TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(title=html.escape(data.title), summary=html.escape(data.summary), body="\n".join(parts))


def write_report(data: ReportData, path: Path) -> None:
    """Writes the report aside and renames it to `path`."""
    page = render_report(data)
    aside = path.with_name(path.name + ".part")
    with aside.open("w", encoding="utf-8") as file:
        file.write(page)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
