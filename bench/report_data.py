"""What a report is made of: plain records that a run fills."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeseg.bench import charts
from edgeseg.bench.coverage import ArtifactCoverage
from edgeseg.bench.imported import Imported
from edgeseg.bench.measurement import Device, Measurement
from edgeseg.bench.worker import REFERENCE
from edgeseg.export.proof import VerifyResult
from edgeseg.export.runtimes import Coverage
from edgeseg.structures import Category

MAX_DROP = 1.0
"""PQ points that a quantized artifact may lose against float."""

_SUSTAINED_SECONDS = 60.0


@dataclass(frozen=True)
class Score:
    """Panoptic quality, its factors in 0..1, and the number of categories averaged; None where nobody counted."""

    pq: float
    sq: float
    rq: float
    n: int | None = None


@dataclass(frozen=True)
class CategoryScore:
    """One category under the float and the int8 model; None where the split does not have it."""

    category: Category
    float_score: Score | None
    int8_score: Score | None


@dataclass(frozen=True)
class Verdict:
    """How an artifact's answer compares with torch.

    Attributes:
        equal_pixels: Share of equal pixels over all golden images, 0..1.
        floor: What was demanded.
        passed: Whether the artifact was let through.
        judged_by: What ran the file: the runtime itself, or an interpreter in its place.
        judged: The share that the floor is for; None where only `equal_pixels` is known.
        segments_found: Share of torch's segments, 0..1.
        mask_logits_max_abs: Largest difference of a mask logit; None with the merge in the graph.
        scores_median_abs: Median difference of a segment's score.
    """

    equal_pixels: float
    floor: float
    passed: bool
    judged_by: str
    judged: float | None = None
    segments_found: float | None = None
    mask_logits_max_abs: float | None = None
    scores_median_abs: float | None = None


@dataclass(frozen=True)
class ArtifactReport:
    """One file of the bundle, or torch itself as the reference.

    Attributes:
        name: Short name for tables and plots, unique.
        file: File name inside the bundle; measurements refer to it.
        runtime: Registered runtime, `torch` for the reference.
        precision: `float32`, `int8`, ...
        merge: `graph` or `app`.
        size_bytes: Size on disk; 0 where there is no file of its own.
        total: Score over all categories; None if it was not evaluated.
        things: Score over things.
        stuff: Score over stuff.
        coverage: None where the runtime has no notion of it.
        verdict: None for the reference.
    """

    name: str
    file: str
    runtime: str
    precision: str
    merge: str
    size_bytes: int
    total: Score | None = None
    things: Score | None = None
    stuff: Score | None = None
    coverage: Coverage | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Picture:
    """One image with what it shows: (H, W, 3) uint8 RGB."""

    caption: str
    image: NDArray[np.uint8]
    note: str = ""


@dataclass(frozen=True)
class Example:
    """Pictures of one photo: the photo, the truth, then each model."""

    name: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Confused:
    """True segments of one category that were taken for another; None stands for nothing, on either side."""

    gt: Category | None
    pred: Category | None
    segments: int
    share: float


@dataclass(frozen=True)
class Mistakes:
    """What one model takes for what, and where it fails most.

    Attributes:
        model: Name of the model.
        confused: Cells of the confusion table that are not 0, `share` of their row.
        worst: Pictures of the images with the least panoptic quality, worst first.
    """

    model: str
    confused: tuple[Confused, ...]
    worst: tuple[Example, ...]


@dataclass(frozen=True)
class TrainingCurve:
    """The training's course.

    Attributes:
        steps: Step of each loss value, rising.
        losses: Weighted value of each loss part at those steps.
        pq: (step, validation PQ in 0..1).
    """

    steps: tuple[int, ...]
    losses: Mapping[str, tuple[float, ...]]
    pq: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class DeviceRows:
    """What was measured on one device.

    Attributes:
        label: Its name, unique in the report.
        device: What it is.
        emulated: Whether an emulator ran it: its times are no latencies.
        rows: The last one of each file, runner and number of threads; of runs of minutes only where there is no other.
        sustained: Every run of a minute and more in one piece.
    """

    label: str
    device: Device
    emulated: bool
    rows: tuple[Measurement, ...]
    sustained: tuple[Measurement, ...]


@dataclass(frozen=True)
class ReportData:
    """Everything in a report.

    Attributes:
        title: Heading.
        summary: One or two sentences below it.
        facts: Name and value of the run's facts: config, steps, minutes, machine.
        categories: The data set's, for the legend.
        examples: Pictures.
        category_scores: PQ per category.
        artifacts: The reference first, then the bundle's files.
        measurements: Latencies; empty if nothing was timed.
        curve: None if nothing was trained in this run.
        mistakes: None if nobody looked.
        coverage: Operators and their cost by file; empty if nothing was profiled.
        imported: Results of other tools; empty if there are none.
        proof: What `edgeseg verify` found; None if nobody kept it.
        environment: Name and version of what ran.
        caveats: Sentences for "what these numbers do not say", beside those that always hold.
    """

    title: str
    summary: str
    facts: tuple[tuple[str, str], ...]
    categories: tuple[Category, ...]
    examples: tuple[Example, ...]
    category_scores: tuple[CategoryScore, ...]
    artifacts: tuple[ArtifactReport, ...]
    measurements: tuple[Measurement, ...]
    curve: TrainingCurve | None
    environment: tuple[tuple[str, str], ...]
    caveats: tuple[str, ...] = ()
    mistakes: Mistakes | None = None
    coverage: tuple[ArtifactCoverage, ...] = ()
    imported: tuple[Imported, ...] = ()
    proof: VerifyResult | None = None

    @property
    def reference(self) -> ArtifactReport | None:
        """Torch's float model, or torch at the only precision that there is."""
        torchs = [artifact for artifact in self.artifacts if artifact.runtime == REFERENCE]
        return next((artifact for artifact in torchs if artifact.precision == "float32"), next(iter(torchs), None))

    @property
    def devices(self) -> tuple[DeviceRows, ...]:
        """The measurements by device, in the order of the file."""
        groups: dict[tuple[object, ...], list[Measurement]] = {}
        for row in self.measurements:
            groups.setdefault((row.device_key, row.device, row.emulated), []).append(row)
        found: list[DeviceRows] = []
        for rows in groups.values():
            soc = rows[0].device.soc
            label = f"{rows[0].device.name}, {soc}" if soc else rows[0].device.name
            same = sum(other.label.startswith(label) for other in found)
            label += f" ({same + 1})" if same else ""
            kept = {_kind(row): row for row in sorted(rows, key=lambda row: not _is_sustained(row))}
            sustained = tuple(row for row in rows if _is_sustained(row))
            in_order = tuple(row for row in rows if kept[_kind(row)] is row)
            found.append(DeviceRows(label, rows[0].device, rows[0].emulated, in_order, sustained))
        return tuple(found)

    def name_of(self, file: str) -> str:
        """Short name of an artifact; the file itself where the report has no such artifact."""
        return next((artifact.name for artifact in self.artifacts if artifact.file == file), file)

    def color_of(self, runtime: str) -> str:
        """The runtime's colour in all plots."""
        held = [artifact.runtime for artifact in self.artifacts]
        runtimes = list(dict.fromkeys([*held, *(row.runtime for row in self.measurements)]))
        return charts.SERIES[runtimes.index(runtime) % len(charts.SERIES)]


def _kind(row: Measurement) -> tuple[str, str, int]:
    return row.artifact, row.runner, row.threads


def _is_sustained(row: Measurement) -> bool:
    return len(row.round_sizes) == 1 and row.seconds >= _SUSTAINED_SECONDS
