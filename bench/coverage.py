"""A bundle to its operators: which run where, how often, what they cost, and what to change (docs/coverage.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeseg.bench.coverage_advice import Facts, advise
from edgeseg.bench.operator_profile import OperatorRun, Profile, Request
from edgeseg.bench.profile_worker import profile_apart
from edgeseg.config import nearest
from edgeseg.display import progress
from edgeseg.export.bundle import Artifact, Bundle, map_size, open_bundle
from edgeseg.export.runtimes import get_runtime, require_runner
from edgeseg.structures import InputError


@dataclass(frozen=True)
class OperatorRow:
    """Operators of one kind at one place.

    Attributes:
        operator: Kind, as the runtime names it.
        where: What runs them.
        is_delegated: Whether that is the accelerator library; None where nobody knows.
        count: How many a call runs.
        ms: Of all together; None where they cannot be timed here.
        share: Of the operators' time, 0..1.
        made_from: Kinds of the file's operators that they stand for, where that is more than their own.
        source: Who says where they run, if this computer cannot.
    """

    operator: str
    where: str
    is_delegated: bool | None
    count: int
    ms: float | None
    share: float | None
    made_from: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class ArtifactCoverage:
    """The operators of one artifact.

    Attributes:
        file: In the bundle.
        runtime: Registered name.
        precision: Of the file.
        merge: Where the panoptic merge runs.
        delegate: The accelerator library.
        num_delegates: Pieces that it was handed; None where only the device knows.
        rows: The dearest first; the most frequent first where nothing was timed.
        operators_ms: Sum over all operators.
        outside_share: Part of it that ran outside the accelerator library, 0..1.
        call_ms: A whole call under the profiler.
        num_calls: Calls behind the times, which are their lower quartiles.
        threads: Asked of the runtime.
        method: Where the numbers come from.
        advice: What to change, in plain words.
    """

    file: str
    runtime: str
    precision: str
    merge: str
    delegate: str
    num_delegates: int | None
    rows: tuple[OperatorRow, ...]
    operators_ms: float | None
    outside_share: float | None
    call_ms: float | None
    num_calls: int
    threads: int
    method: str
    advice: tuple[str, ...]


def cover_bundle(
    path: Path, *, file: str | None = None, threads: int = 1, seconds: float = 2.0, quiet: bool = False
) -> list[ArtifactCoverage]:
    """Profiles the artifacts of a bundle, each in a process of its own, one after the other.

    Args:
        path: NAME.edgeseg.
        file: Only this artifact.
        threads: Asked of the runtimes.
        seconds: Profiled calls per artifact.
        quiet: Show no progress.

    Raises:
        InputError: Not a bundle, no such artifact, a runtime's package missing, a number out of range.
        CheckError: An artifact could not be profiled.
    """
    if threads < 1 or seconds <= 0:
        raise InputError(f"threads {threads}, seconds {seconds:g}: both must be above zero")
    bundle = open_bundle(path)
    artifacts = [artifact for artifact in bundle.artifacts if file in (None, artifact.file)]
    if not artifacts:
        files = [artifact.file for artifact in bundle.artifacts]
        raise InputError(f"{path} holds no artifact {file!r}{nearest(str(file), files)}; it holds {', '.join(files)}")
    for artifact in artifacts:
        require_runner(get_runtime(artifact.runtime))
    covered = []
    with progress("profiling", len(artifacts), quiet=quiet) as advance:
        for artifact in artifacts:
            place = path / artifact.file
            found = profile_apart(Request(artifact.runtime, place, bundle.image_size, threads, seconds))
            covered.append(summarize(bundle, artifact, found, threads))
            advance(1)
    return covered


def coverage_of_bundle(
    path: Path, *, file: str | None, threads: int, seconds: float, top: int, quiet: bool = False
) -> dict[str, Any]:
    """What `edgeseg coverage` prints; `top` is how many rows of each artifact people see.

    Raises:
        InputError: As `cover_bundle`.
        CheckError: As `cover_bundle`.
    """
    if top < 1:
        raise InputError(f"top = {top}; at least one row is shown")
    covered = cover_bundle(path, file=file, threads=threads, seconds=seconds, quiet=quiet)
    return {"bundle": str(path), "top": top, "artifacts": [asdict(coverage) for coverage in covered]}


def summarize(bundle: Bundle, artifact: Artifact, profile: Profile, threads: int) -> ArtifactCoverage:
    """A profile to rows, shares and advice."""
    runs = profile.runs
    total = _sum(runs)
    outside = _sum(run for run in runs if run.is_delegated is False)
    facts = Facts(artifact.runtime, artifact.merge, bundle.merge.upsample, map_size(bundle), bundle.num_slots, runs)
    return ArtifactCoverage(
        file=artifact.file,
        runtime=artifact.runtime,
        precision=artifact.precision,
        merge=artifact.merge,
        delegate=artifact.coverage.delegate,
        num_delegates=artifact.coverage.num_delegates,
        rows=_rows(runs, total),
        operators_ms=total,
        outside_share=(outside or 0.0) / total if total else None,
        call_ms=profile.call_ms,
        num_calls=profile.num_calls,
        threads=threads,
        method=profile.method,
        advice=advise(facts),
    )


def _rows(runs: Iterable[OperatorRun], total: float | None) -> tuple[OperatorRow, ...]:
    groups: dict[tuple[str, str], list[OperatorRun]] = {}
    for run in runs:
        groups.setdefault((run.operator, run.where), []).append(run)
    rows = []
    for (operator, where), group in groups.items():
        ms = _sum(group)
        share = ms / total if ms is not None and total else None
        kinds = sorted({kind for run in group for kind in run.made_from})
        first = group[0]
        made_from = () if kinds == [operator] else tuple(kinds)
        rows.append(OperatorRow(operator, where, first.is_delegated, len(group), ms, share, made_from, first.source))
    return tuple(sorted(rows, key=lambda row: (-(row.ms or 0.0), -row.count, row.operator)))


def _sum(runs: Iterable[OperatorRun]) -> float | None:
    """Milliseconds; None where there is no time at all."""
    times = [run.ms for run in runs if run.ms is not None]
    return sum(times) if times else None
