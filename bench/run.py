"""A bundle to measurements on this computer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgeseg.bench.machine import usable_cores
from edgeseg.bench.measurement import Measurement, read_measurements, write_measurements
from edgeseg.bench.protocol import Target, measure, reason_not_timed
from edgeseg.bench.worker import REFERENCE
from edgeseg.display import progress
from edgeseg.export.bundle import Artifact, Bundle, checksum, open_bundle

ROUNDS = 2
"""Fresh processes per artifact and number of threads: two show whether a number repeats."""


def bench_bundle(
    path: Path,
    *,
    threads: Sequence[int] = (),
    seconds: float = 3.0,
    rounds: int = ROUNDS,
    also: Sequence[Target] = (),
    quiet: bool = False,
) -> list[Measurement]:
    """Times every artifact of a bundle.

    Args:
        path: NAME.edgeseg.
        threads: Numbers of threads; none means 1 and as many as there are cores.
        seconds: Timed calls per artifact, number of threads and round.
        rounds: Fresh processes per artifact and number of threads.
        also: More to time in the same rounds, such as `reference_target`.
        quiet: Show no progress.

    Raises:
        InputError: Not a bundle, a changed file, a runtime's package missing, a number out of range.
        CheckError: An artifact could not be run.
    """
    bundle = open_bundle(path)
    targets = [*also, *(_target(bundle, artifact) for artifact in bundle.artifacts)]
    counts = tuple(threads) or tuple(sorted({1, usable_cores()}))
    num_jobs = rounds * len(set(counts)) * sum(reason_not_timed(target) == "" for target in targets)
    with progress("timing", num_jobs, quiet=quiet) as advance:
        return measure(targets, threads=counts, seconds=seconds, rounds=rounds, on_done=lambda target: advance(1))


def bench_to_file(
    path: Path, out: Path | None, *, threads: Sequence[int], seconds: float, quiet: bool = False
) -> dict[str, Any]:
    """Times a bundle and adds the measurements to a file.

    Args:
        path: NAME.edgeseg.
        out: JSON lines file, made if missing; None = measurements.jsonl beside the bundle.
        threads: Numbers of threads.
        seconds: Timed calls per artifact, number of threads and round.
        quiet: Show no progress.

    Returns:
        The file, and one row per measurement without its raw samples.

    Raises:
        InputError: As `bench_bundle`, or `out` holds something else than measurements.
        CheckError: An artifact could not be run.
    """
    out = out or path.resolve().parent / "measurements.jsonl"
    earlier = read_measurements(out) if out.exists() else []  # before the work, so that a wrong file costs no time
    measured = bench_bundle(path, threads=threads, seconds=seconds, quiet=quiet)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_measurements(out, [*earlier, *measured])
    return {"measurements": str(out), "artifacts": [_row(measurement) for measurement in measured]}


def reference_target(checkpoint: Path, bundle: Bundle) -> Target:
    """The float checkpoint in eager torch: what one would run without an export."""
    return Target(
        path=checkpoint,
        bundle=bundle.path.name,
        artifact=checkpoint.name,
        sha256=checksum(checkpoint),
        runtime=REFERENCE,
        precision="float32",
        merge="graph",
        image_size=bundle.image_size,
    )


def _target(bundle: Bundle, artifact: Artifact) -> Target:
    return Target(
        path=bundle.path / artifact.file,
        bundle=bundle.path.name,
        artifact=artifact.file,
        sha256=artifact.sha256,
        runtime=artifact.runtime,
        precision=artifact.precision,
        merge=artifact.merge,
        image_size=bundle.image_size,
    )


def _row(measurement: Measurement) -> dict[str, Any]:
    latency = measurement.latency
    return {
        "artifact": measurement.artifact,
        "runtime": measurement.runtime_version or measurement.runtime,
        "precision": measurement.precision,
        "merge": measurement.merge,
        "threads": measurement.threads,
        **(asdict(latency) if latency else {"not_timed": measurement.not_timed}),
        "load_ms": measurement.median_load_ms,
        "peak_mib": measurement.peak_mib if latency else None,
        "rss_delta_mib": measurement.rss_delta_mib if latency else None,
        "runs": len(measurement.samples_ms),
        "is_settled": measurement.is_settled,
    }
