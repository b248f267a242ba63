"""What a report is made of: plain records that a run fills."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeseg.bench.coverage import ArtifactCoverage
from edgeseg.bench.measurement import Measurement
from edgeseg.export.runtimes import Coverage
from edgeseg.structures import Category


@dataclass(frozen=True)
class Score:
    """Panoptic quality, its factors in 0..1, and the number of categories averaged."""

    pq: float
    sq: float
    rq: float
    n: int = 1


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
    """

    equal_pixels: float
    floor: float
    passed: bool
    judged_by: str


@dataclass(frozen=True)
class ArtifactReport:
    """One file of the bundle, or torch itself as the reference.

    Attributes:
        name: Short name for tables and plots, unique.
        file: File name inside the bundle; measurements refer to it.
        runtime: Registered runtime, `torch` for the reference.
        precision: `float32`, `int8`, ...
        merge: `graph` or `app`.
        size_bytes: Size on disk.
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
