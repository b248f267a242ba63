"""Whether B is faster than A: two files, bundles or sets of measurements, block by block."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.bench.compare_sides import USAGE, Pair, is_in_bundle, rows_of_both, targets_of, twins_of
from edgeseg.bench.devices import Known, shell_of
from edgeseg.bench.measurement import Measurement, append_measurement, read_measurements
from edgeseg.bench.paired_ratio import FEWEST_PAIRS, PairedRatio, paired_ratio
from edgeseg.bench.protocol import measure, reason_not_timed
from edgeseg.bench.station import Station
from edgeseg.display import progress
from edgeseg.structures import InputError

_SIZE_IN_NAME = re.compile(r"-(\d+)x(\d+)\.")


@dataclass(frozen=True)
class Settings:
    """How A and B are run when they are files to be measured now.

    Attributes:
        on: Address of the device.
        threads: Numbers of threads.
        pairs: Blocks of A beside one of B, each in a fresh process, in an order drawn by chance.
        seconds: Timed calls of a block.
        runtimes: Of bundles, only these; none = all.
        cpus: Processors to pin to; none = as the system likes.
        runner: Folder with the native runner; None = the Python worker.
        cooldown_seconds: Longest wait for a device to cool down before a round.
        seed: Of the order.
    """

    on: str = "local"
    threads: tuple[int, ...] = (1,)
    pairs: int = 12
    seconds: float = 1.0
    runtimes: tuple[str, ...] = ()
    cpus: tuple[int, ...] = ()
    runner: Path | None = None
    cooldown_seconds: float = 0.0
    seed: int = 0


def compare(
    a: Path,
    b: Path,
    *,
    settings: Settings | None = None,
    known: Known | None = None,
    out: Path | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Compares what two paths name; bundles and their files are run now, A B A B, measurements are read.

    Args:
        a: Bundle, file in a bundle, JSON lines of measurements, folder that holds measurements.jsonl, or one artifact
            of such a file: FILE/ARTIFACT or FILE/BUNDLE/ARTIFACT.
        b: The same kind.
        settings: Of what is run.
        known: devices.toml.
        out: JSON lines file to add to what is measured now.
        quiet: Show no progress.

    Returns:
        `comparisons`, each with the pairs' ratios, their interval and a verdict on B, and `left_out`.

    Raises:
        InputError: Nothing of A and B can be compared; says why.
        CheckError: A file could not be run.
    """
    settings = settings or Settings()
    if is_in_bundle(a) != is_in_bundle(b):
        run, read = (a, b) if is_in_bundle(a) else (b, a)
        raise InputError(f"{run} is to be run and {read} was measured before: the machine was another then; {USAGE}")
    if is_in_bundle(a):
        pairs, left_out = _measured_now(a, b, settings, known or Known(), out, quiet)
    else:
        pairs, left_out = rows_of_both(a, b)
    return {
        "a": str(a),
        "b": str(b),
        "comparisons": [comparison(*pair) for pair in pairs],
        "left_out": left_out,
        "measurements": str(out) if out else None,
    }


def comparison(a_rows: Sequence[Measurement], b_rows: Sequence[Measurement]) -> dict[str, Any]:
    """One file against another at one number of threads on one device, as `--json` prints it.

    Blocks are the rounds of a measurement; a block's time is the median of its calls. Only rounds of the same run are
    pairs: of other runs nobody knows what the machine did in between.

    Args:
        a_rows: Timed measurements of A.
        b_rows: Of B.
    """
    a_ms, b_ms = _blocks_side_by_side(a_rows, b_rows)
    medians = [float(np.median([ms for row in rows for ms in row.samples_ms])) for rows in (a_rows, b_rows)]
    found = paired_ratio(a_ms, b_ms) if a_ms else PairedRatio((), medians[1] / medians[0])
    a, b = a_rows[-1], b_rows[-1]
    emulated = a.emulated or b.emulated
    why = "an emulator's time is no latency" if emulated else _why_none(found)
    return {
        "a": {"bundle": a.bundle, "artifact": a.artifact, "precision": a.precision, "p50_ms": medians[0]},
        "b": {"bundle": b.bundle, "artifact": b.artifact, "precision": b.precision, "p50_ms": medians[1]},
        "runtime": a.runtime if a.runtime == b.runtime else f"{a.runtime}, {b.runtime}",
        "threads": a.threads,
        "runner": a.runner,
        "device": asdict(a.device),
        "num_pairs": len(found.ratios),
        "ratios": list(found.ratios),
        "ratio": found.ratio,
        "low": found.low,
        "high": found.high,
        "confidence": found.confidence,
        "verdict": "none" if why else found.verdict,
        "why": why,
        "notes": [*_notes(a, b), *_state_notes([*a_rows, *b_rows])],
    }


def _why_none(found: PairedRatio) -> str:
    """Why there is no verdict; empty if there is one."""
    num = len(found.ratios)
    if num == 0:
        return "they were not measured in one run, so that what the machine did in between is in the ratio"
    if found.low is None:
        return f"{num} pair{'s' * (num != 1)} of blocks, {FEWEST_PAIRS} at least are wanted"
    if found.verdict == "none":
        return f"noise forbids one: single pairs go from {min(found.ratios):.3f} to {max(found.ratios):.3f}"
    return ""


def _blocks_side_by_side(
    a_rows: Sequence[Measurement], b_rows: Sequence[Measurement]
) -> tuple[list[float], list[float]]:
    a_ms: list[float] = []
    b_ms: list[float] = []
    for a in a_rows:
        for b in b_rows:
            if a.time_utc == b.time_utc and len(a.round_sizes) == len(b.round_sizes):
                a_ms += _blocks(a)
                b_ms += _blocks(b)
    return a_ms, b_ms


def _blocks(row: Measurement) -> list[float]:
    return [float(np.median(samples)) for samples in row.samples_by_round]


def _notes(a: Measurement, b: Measurement) -> list[str]:
    """In what A and B differ beside the time."""
    notes = []
    if a.sha256 == b.sha256:
        notes.append("A and B are the same bytes: what differs is the machine's noise")
    if a.merge != b.merge:
        name, apart = ("A", b) if a.merge == "graph" else ("B", a)
        merge_ms = apart.split.merge_ms if apart.split else None
        rest = "" if merge_ms is None else f", which takes {merge_ms:.2f} ms more there"
        notes.append(f"{name}'s time includes the panoptic merge, the other leaves it to the app{rest}")
    sizes = [_SIZE_IN_NAME.search(row.artifact) for row in (a, b)]
    if sizes[0] and sizes[1] and sizes[0].groups() != sizes[1].groups():
        ours, theirs = (" x ".join(size.groups()) for size in sizes if size)
        notes.append(f"A takes {ours} pixels, B {theirs}")
    return notes


def _state_notes(rows: Sequence[Measurement]) -> list[str]:
    claims = {
        "calls were still drifting when the warm-up was over": any(not row.is_settled for row in rows),
        "a round began before the device had cooled down": any(not row.is_cool for row in rows),
    }
    return [claim for claim, holds in claims.items() if holds]


def _measured_now(
    a: Path, b: Path, settings: Settings, known: Known, out: Path | None, quiet: bool
) -> tuple[list[Pair], list[str]]:
    if settings.pairs < 1 or settings.seconds <= 0 or not settings.threads or min(settings.threads) < 1:
        raise InputError(
            f"pairs {settings.pairs}, seconds {settings.seconds:g}, threads {list(settings.threads)}: all must be "
            "above zero"
        )
    if settings.on.startswith("ios:"):
        raise InputError(f"{settings.on}: an iPhone runs one bundle at a time; compare the measurements of two runs")
    if out is not None and out.exists():
        read_measurements(out)  # before the work, so that a wrong file costs no time
    twins, left_out = twins_of(targets_of(a, settings.runtimes), targets_of(b, settings.runtimes), str(a), str(b))
    num_jobs = 2 * settings.pairs * len(set(settings.threads)) * len(twins)
    found: list[Pair] = []
    with (
        progress("comparing", num_jobs, quiet=quiet) as advance,
        Station(
            shell_of(settings.on, known), runner=settings.runner, cpus=settings.cpus, python=known.python
        ) as station,
    ):
        for twin in twins:
            if reason := next((why for target in twin if (why := reason_not_timed(target.runtime, station))), ""):
                left_out.append(f"{twin[0].artifact}: {reason}")
                continue
            rows = measure(
                twin,
                threads=settings.threads,
                seconds=settings.seconds,
                rounds=settings.pairs,
                seed=settings.seed,
                station=station,
                cooldown_seconds=settings.cooldown_seconds,
                on_done=lambda target: advance(1, target.artifact),
                on_record=_keeper(out),
            )
            half = len(rows) // 2  # measure answers target by target
            found += [([row], [other]) for row, other in zip(rows[:half], rows[half:], strict=True)]
    if not found:
        raise InputError(f"nothing of {a} and {b} can be timed on {settings.on}: {'; '.join(left_out)}")
    return found, left_out


def _keeper(out: Path | None) -> Callable[[Measurement], None]:
    return (lambda row: append_measurement(out, row)) if out is not None else (lambda row: None)
