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

from edgeseg.config import config_from_dict
from edgeseg.structures import InputError

SCHEMA = 1
"""Version of the record; readers refuse another."""


@dataclass(frozen=True)
class Device:
    """The machine that ran.

    Attributes:
        name: Name of the processor as the system gives it.
        cores: Logical processors that the benchmark was allowed to use.
        os: System and its release.
        machine: Instruction set, as `uname -m` says.
        memory_mib: Installed memory.
    """

    name: str
    cores: int
    os: str
    machine: str
    memory_mib: int


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


def write_measurements(path: Path, measurements: Iterable[Measurement]) -> None:
    """Writes one JSON line per measurement, aside first and then renamed over `path`."""
    aside = path.with_name(path.name + ".part")
    with aside.open("w", encoding="utf-8") as file:
        for measurement in measurements:
            file.write(json.dumps(measurement_to_dict(measurement)) + "\n")
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


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
    latency = measurement.latency
    return table | {"latency": dataclasses.asdict(latency) if latency else None}


def measurement_from_dict(table: Mapping[str, Any], *, where: str) -> Measurement:
    """Reads a record; `latency` is computed from the samples again.

    Raises:
        InputError: Another schema, an unknown, missing or misshapen field.
    """
    if not isinstance(table, dict) or table.get("schema") != SCHEMA:
        raise InputError(f"{where}: schema {SCHEMA} wanted; measure again with this version: edgeseg bench BUNDLE")
    fields = {key: value for key, value in table.items() if key != "latency"}
    try:
        return config_from_dict(Measurement, fields, where=where)
    except TypeError as error:  # a required field is missing
        raise InputError(f"{where}: {str(error).removeprefix('Measurement.__init__() ')}; measure again") from error
