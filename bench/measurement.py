"""The record of one timed artifact: what a line of measurements.jsonl holds (docs/measurements.md)."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.bench.worker import Split
from edgeseg.config import config_from_dict
from edgeseg.structures import InputError

SCHEMA = 2
"""Version of the record that is written."""

READ_SCHEMAS = (1, 2)
"""Versions that are read: 2 adds keys to 1, and a line of 1 (the sample apps write it) has their defaults."""

STEADY = 0.05
"""Spread of stretches above which a machine was too noisy for its median to be repeated."""

_STRETCHES = 4  # parts of each round whose medians are compared
_PUBLISH_SECONDS, _PUBLISH_RUNS = 60.0, 1024
_LOW_BATTERY_PERCENT = 20  # below, phones slow down by themselves


@dataclass(frozen=True)
class Device:
    """The machine that ran.

    Attributes:
        name: Name of the processor as the system gives it.
        cores: Logical processors that the benchmark was allowed to use.
        os: System and its release.
        machine: Instruction set, as `uname -m` says.
        memory_mib: Installed memory.
        soc: Chip or board, as the system names it; empty if it does not.
    """

    name: str
    cores: int
    os: str
    machine: str
    memory_mib: int
    soc: str = ""


@dataclass(frozen=True)
class DeviceState:
    """What a device was like at one moment; None and empty where it does not say.

    Attributes:
        battery_percent: Charge.
        is_charging: Whether it was being charged; a charged battery on a cable is not.
        battery_celsius: Temperature of the battery.
        thermal_status: Android's, 0 none to 6 shutdown; from 1 on the system slows down.
        hottest_celsius: Of the processor's thermal zones.
        governors: Of the processors' clocks, each once.
        clock_mhz: Of each processor.
        load: Processes that wanted a processor, mean of the last minute.
    """

    battery_percent: int | None = None
    is_charging: bool | None = None
    battery_celsius: float | None = None
    thermal_status: int | None = None
    hottest_celsius: float | None = None
    governors: tuple[str, ...] = ()
    clock_mhz: tuple[int, ...] = ()
    load: float | None = None


@dataclass(frozen=True)
class Agreement:
    """How the artifact's answers on the device compare with torch's (`--verify`).

    Attributes:
        pixels_equal: Share over the golden images, 0..1.
        judged: The share that the floor is for: `pixels_equal` in float32, else the lower quartile of single images.
        floor: What its precision must reach.
        segments_found: Share of torch's segments.
        num_images: Golden images.
        pq_to_torch: PQ with torch's golden answers as the truth, 0..1; None where they hold no segment.
        pq: PQ on a split of the user's data, 0..1; None if not asked for.
        pq_here: The same artifact on the same images on the computer that drives; None if its runtime is not there.
        num_pq_images: Images of the split.
    """

    pixels_equal: float
    judged: float
    floor: float
    segments_found: float
    num_images: int
    pq_to_torch: float | None = None
    pq: float | None = None
    pq_here: float | None = None
    num_pq_images: int = 0


@dataclass(frozen=True)
class Latency:
    """Percentiles of one call, in milliseconds."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    min_ms: float
    mean_ms: float


@dataclass(frozen=True)
class Measurement:
    """One artifact at one number of threads on one machine.

    Attributes:
        bundle: Name of the bundle's folder.
        artifact: File inside the bundle.
        sha256: Of that file.
        runtime: Registered name, or `torch` for the eager reference.
        runtime_version: Version that really ran.
        precision: As the bundle says.
        merge: `graph` or `app`: whether the time includes the panoptic merge.
        threads: Threads asked of the runtime.
        samples_ms: Every timed call in the order of measuring; empty if not timed.
        round_sizes: How many of the samples each round gave.
        warmup_runs: Untimed calls before the samples, all rounds together.
        is_settled: False where a round's warm-up ended by the clock, its calls still drifting.
        load_ms: File to callable, one per round; libraries in memory and file in the page cache already.
        peak_mib: Largest resident memory of a round's whole process (Python and the runtime's libraries included).
        rss_delta_mib: Resident memory with the model loaded and warm, less that before; median of the rounds.
        device: Where it ran.
        emulated: True where an emulator ran it; such times are not latencies.
        time_utc: Start, ISO 8601.
        commit: Commit of the edgeseg checkout; empty for an installed package.
        not_timed: Why there are no samples; empty if there are.
        schema: Version of this record.
        device_key: Tells devices of one kind apart: start of the sha256 of the address; empty on this computer.
        runner: `python` for the worker, `native` for the C++ runner; empty for others, such as the sample apps.
        seconds: Length of the timed stretch of a round.
        publish: Measured by the rules of a number that is shown to others.
        accelerator: What runs the operators of the loaded file, as the runtime says after loading.
        cpus: Processors that the process was allowed to use.
        is_pinned: Whether they were chosen (`--cpus`).
        split: Medians of the parts of a call, median over the rounds; None if nobody split them.
        calls_per_second: Calls begun in each second, round after round.
        overhead_fraction: Largest share of a timed stretch that was not spent in calls.
        states: The device before and after each round.
        is_cool: False where a round began before the device had cooled down, the wait's limit being over.
        agreement: How right the artifact is on the device; None if not asked for.
    """

    bundle: str
    artifact: str
    sha256: str
    runtime: str
    runtime_version: str
    precision: str
    merge: str
    threads: int
    samples_ms: tuple[float, ...]
    round_sizes: tuple[int, ...]
    warmup_runs: int
    is_settled: bool
    load_ms: tuple[float, ...]
    peak_mib: float
    rss_delta_mib: float
    device: Device
    emulated: bool
    time_utc: str
    commit: str
    not_timed: str = ""
    schema: int = SCHEMA
    device_key: str = ""
    runner: str = ""
    seconds: float = 0.0
    publish: bool = False
    accelerator: str = ""
    cpus: tuple[int, ...] = ()
    is_pinned: bool = False
    split: Split | None = None
    calls_per_second: tuple[int, ...] = ()
    overhead_fraction: float = 0.0
    states: tuple[DeviceState, ...] = ()
    is_cool: bool = True
    agreement: Agreement | None = None

    @property
    def latency(self) -> Latency | None:
        """Percentiles of the samples (linear interpolation), None if it was not timed."""
        if not self.samples_ms:
            return None
        p50, p90, p99 = np.percentile(self.samples_ms, [50, 90, 99]).tolist()
        return Latency(p50, p90, p99, min(self.samples_ms), float(np.mean(self.samples_ms)))

    @property
    def median_load_ms(self) -> float | None:
        """Median of the loads, None if it was not loaded."""
        return float(np.median(self.load_ms)) if self.load_ms else None

    @property
    def samples_by_round(self) -> list[NDArray[np.float64]]:
        """`samples_ms` of each round."""
        return np.split(np.array(self.samples_ms), np.cumsum(self.round_sizes)[:-1])

    @property
    def spread(self) -> float | None:
        """Range of the medians of the rounds' quarters over the median of all samples; None with under 5 calls each."""
        if not self.samples_ms or min(self.round_sizes) < 5 * _STRETCHES:
            return None
        medians = [np.median(part) for samples in self.samples_by_round for part in np.array_split(samples, _STRETCHES)]
        return float((max(medians) - min(medians)) / np.median(self.samples_ms))

    @property
    def is_steady(self) -> bool:
        """Whether the machine was quiet enough for the median to be repeated within 5 %."""
        return self.spread is not None and self.spread <= STEADY

    @property
    def first_and_last_minute_ms(self) -> tuple[float, float] | None:
        """Medians of the first and the last minute of one long round; None for shorter than two minutes."""
        if len(self.round_sizes) != 1 or len(self.calls_per_second) < 120:
            return None
        first, last = sum(self.calls_per_second[:60]), sum(self.calls_per_second[-60:])
        if not first or not last:
            return None
        return float(np.median(self.samples_ms[:first])), float(np.median(self.samples_ms[-last:]))

    @property
    def unfit(self) -> tuple[str, ...]:
        """Why this may not stand in a published table; empty if it may."""
        seconds, runs = sum(self.samples_ms) / 1e3, len(self.samples_ms)
        hot = max((state.thermal_status or 0 for state in self.states[::2]), default=0)
        low = [s.battery_percent for s in self.states if s.battery_percent is not None and not s.is_charging]
        reasons = {
            "an emulator's time is no latency": self.emulated,
            "it was not timed": not runs,
            f"{seconds:.0f} s and {runs} runs, {_PUBLISH_SECONDS:.0f} s or {_PUBLISH_RUNS} runs wanted": (
                seconds < _PUBLISH_SECONDS and runs < _PUBLISH_RUNS
            ),
            "the checkout had changes that no commit holds": self.commit.endswith("-dirty"),
            "the warm-up never settled": not self.is_settled,
            "the machine was too noisy": not self.is_steady and self.first_and_last_minute_ms is None,
            "the device had not cooled down": not self.is_cool,
            f"thermal status {hot} at the start of a round": hot > 0,
            "the battery was low": bool(low) and min(low) < _LOW_BATTERY_PERCENT,
            "its maps are below the floor": self.agreement is not None and self.agreement.judged < self.agreement.floor,
        }
        return tuple(reason for reason, holds in reasons.items() if holds)


def write_measurements(path: Path, measurements: Iterable[Measurement]) -> None:
    """Writes one JSON line per measurement, aside first and then renamed over `path`."""
    aside = path.with_name(path.name + ".part")
    with aside.open("w", encoding="utf-8") as file:
        for measurement in measurements:
            file.write(json.dumps(measurement_to_dict(measurement)) + "\n")
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def append_measurement(path: Path, measurement: Measurement) -> None:
    """Adds one line, on the disk when this returns."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(measurement_to_dict(measurement)) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_measurements(path: Path) -> list[Measurement]:
    """Reads what `write_measurements` wrote.

    Raises:
        InputError: File missing, a line that is not JSON, another schema, an unknown, missing or misshapen field.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; write it with: edgeseg bench BUNDLE")
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        where = f"{path}:{number}"
        try:
            table = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(
                f"{where} is not JSON: {error}; write the file again with: edgeseg bench BUNDLE"
            ) from error
        found.append(measurement_from_dict(table, where=where))
    return found


def measurement_to_dict(measurement: Measurement) -> dict[str, Any]:
    """The record as JSON holds it, with the percentiles added for readers without a percentile function."""
    table = dataclasses.asdict(measurement)
    if measurement.schema == 1:
        table = {key: value for key, value in table.items() if key in FIRST_KEYS}
        table["device"].pop("soc")
    latency = measurement.latency
    return table | {"latency": dataclasses.asdict(latency) if latency else None}


def measurement_from_dict(table: Mapping[str, Any], *, where: str) -> Measurement:
    """Reads a record; `latency` is computed from the samples again.

    Raises:
        InputError: Another schema, an unknown, missing or misshapen field.
    """
    if not isinstance(table, dict) or table.get("schema") not in READ_SCHEMAS:
        wanted = " or ".join(map(str, READ_SCHEMAS))
        raise InputError(f"{where}: schema {wanted} wanted; measure again with this version: edgeseg bench BUNDLE")
    fields = {key: value for key, value in table.items() if key != "latency"}
    if table["schema"] == 1 and (later := sorted(set(fields) - set(FIRST_KEYS))):
        raise InputError(f"{where}: unknown key {later[0]!r} in a line of schema 1; measure again")
    try:
        return config_from_dict(Measurement, fields, where=where)
    except TypeError as error:  # a required field is missing
        raise InputError(f"{where}: {str(error).removeprefix('Measurement.__init__() ')}; measure again") from error


_KEYS = [field.name for field in dataclasses.fields(Measurement)]
FIRST_KEYS = tuple(_KEYS[: _KEYS.index("schema") + 1])
"""Keys of schema 1."""
