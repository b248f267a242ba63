"""The report's short answer: which file for which phone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeseg.bench.measurement import Device
from edgeseg.bench.report_data import MAX_DROP, ArtifactReport, ReportData
from edgeseg.bench.report_markup import points, row, section, size, table
from edgeseg.export.runtimes import family


@dataclass(frozen=True)
class _Place:
    """Where an app runs, the runtimes that run there, and which measured devices stand for it."""

    name: str
    runtimes: tuple[str, ...]
    is_like: Callable[[Device], bool]


_PLACES = (
    _Place("iPhone, iPad", ("coreml", "coreai"), lambda device: device.os.startswith(("iOS", "iPadOS"))),
    _Place("Android phone", ("litert", "executorch"), lambda device: device.os.startswith("Android")),
    _Place(
        "Board with 64-bit ARM Linux",
        ("litert", "executorch", "onnx"),
        lambda device: device.os.startswith("Linux") and device.machine in ("aarch64", "arm64"),
    ),
    _Place("Browser", ("litert", "onnx"), lambda device: False),
    _Place(
        "Computer",
        ("litert", "executorch", "onnx"),
        lambda device: device.machine in ("x86_64", "AMD64") or device.os.startswith("Darwin"),
    ),
)


def choice(data: ReportData) -> str:
    """One row per kind of device: the fastest measured there of the files that are right, else the smallest."""
    rows = [_row(data, place) for place in _PLACES]
    note = (
        f"Of the files that passed verification and lose at most {MAX_DROP:g} point of PQ against torch (where PQ is "
        "known): the fastest on a device of that kind, and where none was measured, the smallest, which may not be the "
        "fastest."
    )
    heads = ["on", "take", "size", "PQ", "p50 ms", "why"]
    found = [markup for markup in rows if markup]
    return section("Which file for my phone", note, [table(heads, found, left=2, last_left=True)]) if found else ""


def _row(data: ReportData, place: _Place) -> str:
    held = [artifact for artifact in data.artifacts if family(artifact.runtime) in place.runtimes]
    good = [artifact for artifact in held if _is_right(artifact, data.reference)]
    if not held:
        return ""
    if not good:
        return row((place.name, "none"), ("–",) * 3, f"none of {len(held)} files is right, or near enough to torch")
    times = _times(data, place)
    timed = [artifact for artifact in good if artifact.file in times]
    if timed:
        best = min(timed, key=lambda artifact: times[artifact.file][0])
        why = f"fastest of {len(timed)} measured: {times[best.file][1]}"
    else:
        best = min(good, key=lambda artifact: artifact.size_bytes)
        why = f"smallest of {len(good)}; not measured on such a device"
    why += "" if best.total else "; its PQ is not known"
    pq = points(best.total.pq) if best.total else "–"
    p50 = f"{times[best.file][0]:.2f}" if best.file in times else "–"
    return row((place.name, best.file), (size(best.size_bytes), pq, p50), why)


def _is_right(artifact: ArtifactReport, reference: ArtifactReport | None) -> bool:
    if artifact.verdict and not artifact.verdict.passed:
        return False
    if artifact.total is None or reference is None or reference.total is None:
        return True
    return 100 * (artifact.total.pq - reference.total.pq) >= -MAX_DROP


def _times(data: ReportData, place: _Place) -> dict[str, tuple[float, str]]:
    """By file its shortest median on devices of that kind, whatever the number of threads, and where that was."""
    found: dict[str, tuple[float, str]] = {}
    for device in data.devices:
        if device.emulated or not place.is_like(device.device):
            continue
        for m in device.rows:
            if m.latency and m.latency.p50_ms < found.get(m.artifact, (float("inf"), ""))[0]:
                threads = f"{m.threads} thread{'s' * (m.threads != 1)}"
                noisy = "" if m.is_steady else ", noisy"
                found[m.artifact] = (m.latency.p50_ms, f"{device.label}, {threads}{noisy}")
    return found
