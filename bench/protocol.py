"""Times artifacts on this computer so that the numbers can be repeated.

Every (artifact, threads) pair runs in several rounds, each in a fresh process; within a round the order is random, so
that a machine that gets warm or busy does not favour one artifact. Raw samples are kept.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from edgeseg.bench.machine import checkout_commit, this_machine
from edgeseg.bench.measurement import Measurement
from edgeseg.bench.worker import REFERENCE, Request, Result
from edgeseg.config import config_from_dict, config_to_dict
from edgeseg.export.runtimes import get_runtime, require_runner
from edgeseg.structures import CheckError, InputError

NO_CORE_ML = (
    "Core ML runs on Apple systems only; off a Mac the file is checked by an interpreter, whose speed says nothing"
)

_TIMEOUT_SECONDS = 600


@dataclass(frozen=True)
class Target:
    """Something to time.

    Attributes:
        path: Artifact, or checkpoint for the eager reference.
        bundle: Name of the bundle.
        artifact: How the record names it.
        sha256: Of the artifact.
        runtime: Registered name, or `torch`.
        precision: As the bundle says.
        merge: `graph` or `app`.
        image_size: (height, width) of the input.
    """

    path: Path
    bundle: str
    artifact: str
    sha256: str
    runtime: str
    precision: str
    merge: str
    image_size: tuple[int, int]


def measure(
    targets: Sequence[Target],
    *,
    threads: Sequence[int],
    seconds: float = 3.0,
    rounds: int = 3,
    seed: int = 0,
    on_done: Callable[[Target], None] = lambda target: None,
) -> list[Measurement]:
    """Times every target with every number of threads.

    Args:
        targets: What to time.
        threads: Numbers of threads to ask of the runtimes.
        seconds: Timed calls per target, number of threads and round.
        rounds: Fresh processes per target and number of threads.
        seed: Of the order.
        on_done: Called after each process: once per timeable target, number of threads and round.

    Returns:
        One record per target and number of threads, in the order given; one without samples where a target cannot be
        timed here.

    Raises:
        InputError: A number out of range, or a runtime's package missing.
        CheckError: A worker died; its last words are in the message.
    """
    if not threads or min(threads) < 1 or rounds < 1 or seconds <= 0:
        raise InputError(f"threads {list(threads)}, rounds {rounds}, seconds {seconds}: all must be above zero")
    started = datetime.now(UTC).isoformat(timespec="seconds")
    timed = [target for target in targets if not reason_not_timed(target)]
    pairs = [(target, count) for target in timed for count in dict.fromkeys(threads)]
    results: dict[tuple[Target, int], list[Result]] = {pair: [] for pair in pairs}
    for name in {target.runtime for target in timed} - {REFERENCE}:
        require_runner(get_runtime(name))
    shuffle = random.Random(seed)
    for _ in range(rounds):
        for target, count in shuffle.sample(pairs, len(pairs)):
            request = Request(target.runtime, target.path, target.image_size, count, seconds, seed)
            results[target, count].append(_run_worker(request))
            on_done(target)
    records = []
    for target in targets:
        if reason := reason_not_timed(target):
            records.append(_record(target, 1, [], started, not_timed=reason))
        else:
            records += [_record(target, count, results[target, count], started) for count in dict.fromkeys(threads)]
    return records


def reason_not_timed(target: Target) -> str:
    """Why a target cannot be timed on this computer; empty if it can."""
    return NO_CORE_ML if target.runtime == "coreml" and sys.platform != "darwin" else ""


def _run_worker(request: Request) -> Result:
    with tempfile.TemporaryDirectory(prefix="edgeseg-bench-") as folder:
        asked, answered = Path(folder, "request.json"), Path(folder, "result.json")
        asked.write_text(json.dumps(config_to_dict(request)), encoding="utf-8")
        command = [sys.executable, "-m", "edgeseg.bench.worker", str(asked), str(answered)]
        environment = os.environ | {"OMP_NUM_THREADS": str(request.threads)}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", env=environment, timeout=_TIMEOUT_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise CheckError(f"timing {request.path} took more than {_TIMEOUT_SECONDS} s; is it stuck?") from error
        if done.returncode or not answered.is_file():
            words = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise CheckError(f"timing {request.path} with {request.runtime} failed (exit {done.returncode}): {words}")
        return config_from_dict(Result, json.loads(answered.read_text(encoding="utf-8")), where=str(request.path))


def _record(
    target: Target, threads: int, results: Sequence[Result], started: str, *, not_timed: str = ""
) -> Measurement:
    return Measurement(
        **{key: value for key, value in asdict(target).items() if key not in ("path", "image_size")},
        runtime_version=results[0].version if results else "",
        threads=threads,
        samples_ms=tuple(sample for result in results for sample in result.samples_ms),
        round_sizes=tuple(len(result.samples_ms) for result in results),
        warmup_runs=sum(result.warmup_runs for result in results),
        is_settled=all(result.is_settled for result in results),
        load_ms=tuple(result.load_ms for result in results),
        peak_mib=max((result.peak_mib for result in results), default=0.0),
        rss_delta_mib=float(np.median([result.rss_delta_mib for result in results])) if results else 0.0,
        device=this_machine(),
        emulated=False,
        time_utc=started,
        commit=checkout_commit(),
        not_timed=not_timed,
    )
