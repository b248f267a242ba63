"""Times artifacts on a device so that the numbers can be repeated.

Every (artifact, threads) pair runs in several rounds, each in a fresh process on a device that has cooled down; within
a round the order is random, so that a machine that gets warm or busy does not favour one artifact. Raw samples are
kept.
"""

from __future__ import annotations

import dataclasses
import random
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from edgeseg.bench.measurement import Agreement, DeviceState, Measurement
from edgeseg.bench.station import Deployed, Station
from edgeseg.bench.transport_local import LocalShell
from edgeseg.bench.worker import REFERENCE, Result, Split
from edgeseg.export.provenance import checkout_commit
from edgeseg.export.runtimes import family, get_runtime, require_runner
from edgeseg.structures import InputError

NO_CORE_ML = (
    "Core ML runs on Apple systems only; off a Mac the file is checked by an interpreter, whose speed says nothing"
)

_WARMER_CELSIUS, _WARMER_BATTERY_CELSIUS = 8.0, 2.0  # than at the start still counts as cool
_LOOK_SECONDS = 5.0


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


@dataclass(frozen=True)
class _Round:
    result: Result
    before: DeviceState
    after: DeviceState
    is_cool: bool


def measure(
    targets: Sequence[Target],
    *,
    threads: Sequence[int],
    seconds: float = 3.0,
    rounds: int = 3,
    seed: int = 0,
    station: Station | None = None,
    cooldown_seconds: float = 0.0,
    publish: bool = False,
    verify: Callable[[Station, Target, Deployed], Agreement | None] = lambda station, target, deployed: None,
    is_done: Callable[[Target, int], bool] = lambda target, threads: False,
    on_done: Callable[[Target], None] = lambda target: None,
    on_record: Callable[[Measurement], None] = lambda measurement: None,
) -> list[Measurement]:
    """Times every target with every number of threads.

    Args:
        targets: What to time.
        threads: Numbers of threads to ask of the runtimes.
        seconds: Timed calls per target, number of threads and round.
        rounds: Fresh processes per target and number of threads.
        seed: Of the order.
        station: The device, open; None = this computer.
        cooldown_seconds: Longest wait for a device to cool down before a round; 0 = none.
        publish: Noted in the records.
        verify: Called once per target before the first round: whether it is right there.
        is_done: Whether a target and number of threads is left out.
        on_done: Called after each process: once per timeable target, number of threads and round.
        on_record: Called with each record as soon as it is complete.

    Returns:
        One record per target and number of threads, in the order given; one without samples where a target cannot be
        timed there.

    Raises:
        InputError: A number out of range, or a runtime's package missing.
        CheckError: A worker died; its last words are in the message. Or the device was lost.
    """
    if not threads or min(threads) < 1 or rounds < 1 or seconds <= 0:
        raise InputError(f"threads {list(threads)}, rounds {rounds}, seconds {seconds}: all must be above zero")
    if station is None:
        for name in {t.runtime for t in targets if not reason_not_timed(t.runtime)} - {REFERENCE}:
            require_runner(get_runtime(name))
    started = datetime.now(UTC).isoformat(timespec="seconds")
    shuffle = random.Random(seed)
    with nullcontext(station) if station else Station(LocalShell()) as device:
        pairs = [(t, n) for t in targets for n in _counts(t, threads, device) if not is_done(t, n)]
        pairs_timed = [(target, count) for target, count in pairs if not reason_not_timed(target.runtime, device)]
        deployed = {t: device.deploy(t.path, t.runtime, t.image_size) for t in dict.fromkeys(p[0] for p in pairs_timed)}
        first = device.state()
        agreements = {target: verify(device, target, there) for target, there in deployed.items()}
        found: dict[tuple[Target, int], list[_Round]] = {pair: [] for pair in pairs}
        records: dict[tuple[Target, int], Measurement] = {}

        def finish(pair: tuple[Target, int]) -> None:
            record = _record(*pair, found[pair], device, started, seconds=seconds, publish=publish)
            records[pair] = dataclasses.replace(record, agreement=agreements.get(pair[0]))
            on_record(records[pair])

        for pair in pairs:
            if pair not in pairs_timed:
                finish(pair)
        for number in range(rounds):
            for target, count in shuffle.sample(pairs_timed, len(pairs_timed)):
                before, is_cool = _cool_down(device, first, cooldown_seconds)
                result = device.run(deployed[target], threads=count, seconds=seconds, seed=seed)
                found[target, count].append(_Round(result, before, device.state(), is_cool))
                on_done(target)
                if number == rounds - 1:
                    finish((target, count))
    return [records[pair] for pair in pairs]


def reason_not_timed(runtime: str, station: Station | None = None) -> str:
    """Why files of a runtime cannot be timed on a device (None: this computer); empty if they can."""
    if station is not None and not station.can_run(runtime):
        return f"{station.shell.name} has no runner for {runtime}"
    return NO_CORE_ML if family(runtime) == "coreml" and sys.platform != "darwin" else ""


def is_cool(state: DeviceState, first: DeviceState) -> bool:
    """Whether a device is about as cool as it was at first, and does not slow itself down."""

    def above(now: float | None, then: float | None) -> float:
        return 0.0 if now is None or then is None else now - then

    return (
        (state.thermal_status or 0) == 0
        and above(state.hottest_celsius, first.hottest_celsius) <= _WARMER_CELSIUS
        and above(state.battery_celsius, first.battery_celsius) <= _WARMER_BATTERY_CELSIUS
    )


def _counts(target: Target, threads: Sequence[int], station: Station) -> list[int]:
    return [1] if reason_not_timed(target.runtime, station) else list(dict.fromkeys(threads))


def _cool_down(station: Station, first: DeviceState, limit_seconds: float) -> tuple[DeviceState, bool]:
    """The state just before a round, and whether that is cool; looks again and again until it is."""
    until = time.monotonic() + limit_seconds
    while True:
        state = station.state()
        if limit_seconds == 0 or is_cool(state, first):
            return state, is_cool(state, first)
        if (left := until - time.monotonic()) <= 0:
            return state, False
        station.shell.stop.wait(min(left, _LOOK_SECONDS))


def _record(
    target: Target,
    threads: int,
    rounds: Sequence[_Round],
    station: Station,
    started: str,
    *,
    seconds: float,
    publish: bool,
) -> Measurement:
    results = [row.result for row in rounds]
    last = results[-1] if results else None
    return Measurement(
        **{key: value for key, value in asdict(target).items() if key not in ("path", "image_size")},
        runtime_version=last.version if last else "",
        threads=threads,
        samples_ms=tuple(sample for result in results for sample in result.samples_ms),
        round_sizes=tuple(len(result.samples_ms) for result in results),
        warmup_runs=sum(result.warmup_runs for result in results),
        is_settled=all(result.is_settled for result in results),
        load_ms=tuple(result.load_ms for result in results),
        peak_mib=max((result.peak_mib for result in results), default=0.0),
        rss_delta_mib=float(np.median([result.rss_delta_mib for result in results])) if results else 0.0,
        device=station.device,
        emulated=bool(station.emulated),
        time_utc=started,
        commit=checkout_commit(),
        not_timed="" if results else reason_not_timed(target.runtime, station),
        device_key=station.key,
        runner=station.runner,
        seconds=seconds,
        publish=publish,
        accelerator=last.accelerator if last else "",
        cpus=last.cpus if last else (),
        is_pinned=bool(station.cpus),
        split=_median_split([result.split for result in results]) if results else None,
        calls_per_second=tuple(calls for result in results for calls in result.calls_per_second),
        overhead_fraction=max((1 - sum(r.samples_ms) / r.loop_ms for r in results if r.loop_ms), default=0.0),
        states=tuple(state for row in rounds for state in (row.before, row.after)),
        is_cool=all(row.is_cool for row in rounds),
    )


def _median_split(splits: Sequence[Split]) -> Split:
    def median(name: str) -> float | None:
        values = [getattr(split, name) for split in splits if getattr(split, name) is not None]
        return float(np.median(values)) if values else None

    return Split(**{field.name: median(field.name) for field in dataclasses.fields(Split)})
