"""One self-contained HTML file that shows what a run gave."""

from __future__ import annotations

import html
import os
from pathlib import Path
from string import Template

from edgeseg.bench import report_devices as devices
from edgeseg.bench import report_latency as latency
from edgeseg.bench import report_overview as overview
from edgeseg.bench import report_pictures as pictures
from edgeseg.bench import report_quality as quality
from edgeseg.bench import report_verify as proofs
from edgeseg.bench.report_choice import choice
from edgeseg.bench.report_coverage import beside_latency, operator_costs
from edgeseg.bench.report_data import ReportData
from edgeseg.bench.report_markup import facts

_TEMPLATE = Path(__file__).with_name("report.html")


def render_report(data: ReportData) -> str:
    """The report as HTML: no network, no script; the same data give the same bytes."""
    parts = [
        facts(data.facts),
        overview.headlines(data),
        choice(data),
        pictures.pictures(data.examples, data.categories) if data.examples else "",
        latency.latency_against_quality(data),
        quality.artifact_table(data),
        devices.side_by_side(data),
        latency.latency_table(data),
        devices.sustained(data),
        devices.imported(data.imported),
        quality.category_table(data.category_scores) if data.category_scores else "",
        pictures.mistakes(data.mistakes) if data.mistakes else "",
        proofs.verdicts(data.artifacts),
        proofs.ladder(data.proof),
        beside_latency(data),
        operator_costs(data.coverage, {artifact.file: artifact.name for artifact in data.artifacts}),
        overview.training(data.curve),
        overview.missing(data),
        overview.closing(data),
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
