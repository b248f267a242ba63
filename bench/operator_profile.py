"""Operators of an artifact as they ran: one record for all runtimes."""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from edgeseg.export.runtimes import family
from edgeseg.structures import InputError

T = TypeVar("T")

WARMUP_CALLS = 3
_LEAST_CALLS, _MOST_CALLS = 5, 300  # a trace of 300 calls is some 10 MiB

HAND_OVER = "call of the delegate"
"""A delegate call's time that none of its operators has: setting up, and copies at the border."""

_READERS = {
    "executorch": "edgeseg.bench.profile_executorch",
    "litert": "edgeseg.bench.profile_litert",
    "coreml": "edgeseg.bench.profile_coreml",
    "onnx": "edgeseg.bench.profile_onnx",
}
"""A family's reader is one file with `profile(request)`, and a line here."""


@dataclass(frozen=True)
class Request:
    """What to profile.

    Attributes:
        runtime: Registered name.
        path: Artifact.
        image_size: (height, width) of its input.
        threads: Asked of the runtime.
        seconds: Stretch of profiled calls, after a short warm-up; at least a few are made however long they take.
    """

    runtime: str
    path: Path
    image_size: tuple[int, int]
    threads: int
    seconds: float


@dataclass(frozen=True)
class OperatorRun:
    """One operator of a call.

    Attributes:
        operator: Its kind, as the runtime names it.
        where: What runs it.
        is_delegated: Whether that is the accelerator library; None where nobody knows.
        ms: Lower quartile over the calls; None where it cannot be timed here.
        made_from: Operators of the file that it stands for, where the runtime fuses and says so.
        source: Who says where it runs, if this computer cannot.
    """

    operator: str
    where: str
    is_delegated: bool | None
    ms: float | None
    made_from: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class Profile:
    """What a call of an artifact consists of.

    Attributes:
        runs: In the order of execution.
        call_ms: Lower quartile of whole calls while they were profiled; None where the file cannot run here.
        num_calls: Calls that the quartiles are of.
        method: Where the numbers come from, for people.
    """

    runs: tuple[OperatorRun, ...]
    call_ms: float | None
    num_calls: int
    method: str


def profile(request: Request) -> Profile:
    """Runs an artifact under its runtime's own profiler, in this process.

    Raises:
        InputError: A runtime without a reader, or its package missing.
        CheckError: The runtime was built without its profiler.
    """
    if family(request.runtime) not in _READERS:
        raise InputError(f"no profile reader for runtime {request.runtime!r}; there are {', '.join(_READERS)}")
    found: Profile = importlib.import_module(_READERS[family(request.runtime)]).profile(request)
    return found


def noise_image(size: tuple[int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """(1, H, W, 3) uint8; the graphs have no branches, so their time does not depend on it."""
    return np.random.default_rng(0).integers(0, 256, (1, *size, 3), dtype=np.uint8)


def repeat(call: Callable[[], T], seconds: float) -> tuple[list[T], float]:
    """Warms up, then calls for a stretch of time.

    Returns:
        What each call gave, warm-up included; typical milliseconds of a call, warm-up excluded.
    """
    given = [call() for _ in range(WARMUP_CALLS)]
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < _LEAST_CALLS or (time.perf_counter() < until and len(times) < _MOST_CALLS):
        started = time.perf_counter_ns()
        given.append(call())
        times.append((time.perf_counter_ns() - started) / 1e6)
    return given, typical(times)


def typical(times: Sequence[float]) -> float:
    """The lower quartile: other programs on the machine only ever add to a time, most of all to a long one."""
    return float(np.quantile(times, 0.25))


def typical_runs(calls: Sequence[Sequence[OperatorRun]]) -> tuple[OperatorRun, ...]:
    """The same operators of several calls -> each with its typical time."""
    return tuple(
        OperatorRun(
            operator=runs[0].operator,
            where=runs[0].where,
            is_delegated=runs[0].is_delegated,
            ms=typical([run.ms or 0.0 for run in runs]),
            made_from=runs[0].made_from,
        )
        for runs in zip(*calls, strict=True)
    )


def kind(name: str) -> str:
    """XNNPACK's name of an operator without its number and a repeated word.

    `Transpose (ND, X32) Transpose #3` is `Transpose (ND, X32)`; `Convolution (NHWC, QC8) DWConv #1` keeps `DWConv`.
    """
    name = re.sub(r"\s*#\d+$", "", name)
    first, _, last = name.partition(") ")
    return f"{first})" if last and first.startswith(f"{last} (") else name
