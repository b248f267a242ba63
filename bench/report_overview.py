"""The report's first and last words: headlines, training, limits, what is missing."""

from __future__ import annotations

from edgeseg.bench import charts
from edgeseg.bench.report_data import ArtifactReport, ReportData, TrainingCurve
from edgeseg.bench.report_markup import bullets, card, facts, points, section, signed, size
from edgeseg.bench.worker import REFERENCE

_ALWAYS = (
    "A latency is the named device's alone. Another phone has another processor, other kernels, an accelerator and a "
    "thermal limit; ranks do not carry over. Measure on the phone before choosing.",
    "A latency covers the network and, where the table says so, the panoptic merge: not camera, scaling or drawing.",
    "PQ comes from the images named above. Photos of another kind will score differently.",
    "Core ML files are executed by an interpreter of their program on this computer, not by Apple's engine, unless "
    "the table says otherwise: their agreement is checked, their speed is not known here.",
)


def headlines(data: ReportData) -> str:
    """Cards with the few numbers that matter; a card appears only if its numbers exist."""
    return f'<div class="headlines">{"".join([*_quality_cards(data), *_speed_cards(data), *_file_cards(data)])}</div>'


def training(curve: TrainingCurve | None) -> str:
    """Loss parts and PQ over the steps."""
    if curve is None or not (curve.steps or curve.pq):
        return ""
    plot = charts.curves(curve.steps, curve.losses, curve.pq)
    return section("Training", "", [f'<div class="scroll">{plot}</div>'])


def missing(data: ReportData) -> str:
    """What the report would show too, and the command for it."""
    devices = [device for device in data.devices if not device.emulated]
    hints = {
        "latency: edgeseg bench BUNDLE": not data.measurements,
        "a phone or a board beside this computer: edgeseg bench BUNDLE --on adb:SERIAL (docs/benchmarking.md)": (
            len(devices) < 2
        ),
        "speed over minutes, when the device is warm: edgeseg bench BUNDLE --minutes 10": not any(
            device.sustained for device in devices
        ),
        "panoptic quality of each file: edgeseg verify BUNDLE --data FOLDER --out verified.json": not any(
            artifact.total for artifact in data.artifacts if artifact.runtime != REFERENCE
        ),
        "where each file's time goes: edgeseg bench report BUNDLE --profile 2": not data.coverage,
        "another tool's numbers beside these, labelled: edgeseg bench import FILE": not data.imported,
    }
    return section("What is not here, and how to get it", "", [bullets(line for line, is_so in hints.items() if is_so)])


def closing(data: ReportData) -> str:
    """Limits of the numbers, then versions."""
    limits = section("What these numbers do not say", "", [bullets((*_ALWAYS, *data.caveats))])
    return limits + section("Environment", "", [facts(data.environment)])


def _quality_cards(data: ReportData) -> list[str]:
    cards = []
    reference = data.reference
    if reference and reference.total:
        of = "" if reference.total.n is None else f", {reference.total.n} categories"
        which = "float" if reference.precision == "float32" else reference.precision
        cards.append(card(points(reference.total.pq), f"PQ of the {which} model{of}"))
    scored = [a for a in _files(data, _smallest_precision(data)) if a.total]
    if scored:
        worst = min(scored, key=_pq)
        what = f"PQ in {worst.precision}, lowest of {len(scored)} runtimes ({worst.name})"
        cards.append(card(points(_pq(worst)), f"{what}{_drop(worst, reference)}"))
    return cards


def _speed_cards(data: ReportData) -> list[str]:
    cards = []
    for device in data.devices:
        timed = [(t, m) for m in device.rows if m.threads == 1 and m.runtime != REFERENCE and (t := m.latency)]
        if device.emulated or not timed:
            continue
        latency, winner = min(timed, key=lambda pair: pair[0].p50_ms)
        eager = next((m.latency for m in device.rows if m.runtime == REFERENCE and m.threads == 1), None)
        times = f", {eager.p50_ms / latency.p50_ms:.1f} times as fast as eager torch" if eager else ""
        noisy = "" if winner.is_steady else "; the machine was noisy"
        what = f"median, 1 thread, {data.name_of(winner.artifact)} on {device.label}{times}{noisy}"
        cards.append(card(f"{latency.p50_ms:.1f} ms", what))
    return cards


def _file_cards(data: ReportData) -> list[str]:
    cards = []
    reference = data.reference
    if files := _files(data, _smallest_precision(data)):
        smallest = min(files, key=lambda a: a.size_bytes)
        share = ""
        if reference and reference.precision == "float32" and reference.size_bytes:
            share = f", {smallest.size_bytes / reference.size_bytes:.0%} of the float weights"
        what = f"smallest {smallest.precision} file ({smallest.name})"
        cards.append(card(size(smallest.size_bytes), f"{what}{share}"))
    judged = [a.verdict for a in data.artifacts if a.verdict]
    if judged:
        passed, lowest = sum(v.passed for v in judged), min(v.equal_pixels for v in judged)
        what = f"files verified against torch; at least {lowest:.2%} of pixels equal"
        cards.append(card(f"{passed} of {len(judged)}", what))
    return cards


def _smallest_precision(data: ReportData) -> str:
    """The precision of the smallest file: the one that a phone is meant to get."""
    return min((a for a in data.artifacts if a.runtime != REFERENCE), key=lambda a: a.size_bytes).precision


def _files(data: ReportData, precision: str) -> list[ArtifactReport]:
    return [a for a in data.artifacts if a.precision == precision and a.runtime != REFERENCE]


def _pq(artifact: ArtifactReport) -> float:
    return artifact.total.pq if artifact.total else 0.0


def _drop(artifact: ArtifactReport, reference: ArtifactReport | None) -> str:
    if reference is None or reference.total is None:
        return ""
    return f", {signed(100 * (_pq(artifact) - reference.total.pq))} points"
