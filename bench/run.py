"""A bundle to measurements, on this computer or on others."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeseg.bench.agreement import Split, agreement_on
from edgeseg.bench.devices import Known, shell_of
from edgeseg.bench.machine import usable_cores
from edgeseg.bench.measurement import Agreement, Measurement, append_measurement, read_measurements
from edgeseg.bench.protocol import Target, measure, reason_not_timed
from edgeseg.bench.rows import device_row, row
from edgeseg.bench.station import Deployed, Station
from edgeseg.bench.transport_ios import bench_on_ios
from edgeseg.bench.worker import REFERENCE
from edgeseg.data.sets import open_dataset
from edgeseg.display import Advance, progress
from edgeseg.export.bundle import Artifact, Bundle, checksum, open_bundle
from edgeseg.export.provenance import checkout_commit
from edgeseg.structures import CheckError, InputError

ROUNDS = 2
"""Fresh processes per artifact and number of threads: two show whether a number repeats."""

_PUBLISH_SECONDS = 60.0
_MANY_CORES = 4  # more threads than a phone has big cores make it slower


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        threads: Numbers of threads; none means 1 and as many as there are cores, on other devices 4 at most.
        seconds: Timed calls per artifact, number of threads and round.
        rounds: Fresh processes per artifact and number of threads.
        minutes: One long round instead, for the curve over time; 0 = no.
        cpus: Processors to pin to; none = as the system likes.
        runner: Folder with the native runner; None = the Python worker.
        runtimes: Runtimes to time; none = all.
        publish: By the rules of a number that is shown to others: at least a minute of calls, no emulator.
        cooldown_seconds: Longest wait for a device to cool down before a round.
        verify: Compare the answers on the device with torch's.
        split: Labelled images to score there; None = none.
        resume: Leave out what the file holds for the same device and settings.
        seed: Of the order and the noise image.
    """

    threads: tuple[int, ...] = ()
    seconds: float = 3.0
    rounds: int = ROUNDS
    minutes: float = 0.0
    cpus: tuple[int, ...] = ()
    runner: Path | None = None
    runtimes: tuple[str, ...] = ()
    publish: bool = False
    cooldown_seconds: float = 0.0
    verify: bool = False
    split: Split | None = None
    resume: bool = False
    seed: int = 0

    def resolved(self) -> Settings:
        """With `minutes` and `publish` turned into seconds and rounds.

        Raises:
            InputError: A number out of range, or settings that exclude each other.
        """
        if self.minutes < 0 or self.cooldown_seconds < 0 or self.seconds <= 0 or self.rounds < 1:
            raise InputError(
                f"seconds {self.seconds}, rounds {self.rounds}, minutes {self.minutes}, cooldown "
                f"{self.cooldown_seconds}: seconds and rounds must be above zero, the others not below"
            )
        if self.split is not None and not self.verify:
            raise InputError("--data is scored by --verify; give both")
        if self.minutes:
            return replace(self, seconds=60 * self.minutes, rounds=1)
        return replace(self, seconds=max(self.seconds, _PUBLISH_SECONDS / self.rounds)) if self.publish else self


def bench_bundle(
    path: Path,
    *,
    threads: Sequence[int] = (),
    seconds: float = 3.0,
    rounds: int = ROUNDS,
    also: Sequence[Target] = (),
    quiet: bool = False,
) -> list[Measurement]:
    """Times every artifact of a bundle on this computer.

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
    targets = [*also, *(target_of(bundle, artifact) for artifact in bundle.artifacts)]
    counts = tuple(threads) or tuple(sorted({1, usable_cores()}))
    num_jobs = rounds * len(set(counts)) * sum(reason_not_timed(target.runtime) == "" for target in targets)
    with progress("timing", num_jobs, quiet=quiet) as advance:
        return measure(targets, threads=counts, seconds=seconds, rounds=rounds, on_done=lambda target: advance(1))


def bench_to_file(
    path: Path,
    out: Path | None,
    *,
    on: Sequence[str] = ("local",),
    settings: Settings | None = None,
    known: Known | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Times a bundle on devices, all at once, and adds each measurement to a file when it is complete.

    Args:
        path: NAME.edgeseg.
        out: JSON lines file, made if missing; None = measurements.jsonl beside the bundle.
        on: Addresses of devices.
        settings: How.
        known: devices.toml.
        quiet: Show no progress.

    Returns:
        The file, the devices, one row per measurement without its raw samples, and `failed` where something did.

    Raises:
        InputError: Not a bundle, no such device, a number out of range, or `out` holds something else.
        CheckError: An artifact could not be run, or the only device was lost. What was complete is in the file.
    """
    out = out or path.resolve().parent / "measurements.jsonl"
    earlier = read_measurements(out) if out.exists() else []  # before the work, so that a wrong file costs no time
    settings = (settings or Settings()).resolved()
    if len(set(on)) < len(on):
        raise InputError(f"--on names a device twice: {', '.join(on)}")
    bundle = open_bundle(path)
    fleet = _Fleet(bundle, settings, known or Known(), earlier, out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        progress("timing", len(on) * fleet.num_jobs, quiet=quiet) as advance,
        ThreadPoolExecutor(max_workers=len(on)) as pool,
    ):
        futures = [pool.submit(fleet.bench, address, advance) for address in on]
        try:
            wait(futures)
        except BaseException:  # Ctrl-C: each device is left in order before this ends
            fleet.stop.set()
            raise
    errors = [error for future in futures if (error := future.exception())]
    if errors and (len(on) == 1 or any(not isinstance(error, InputError | CheckError) for error in errors)):
        raise errors[0]
    table: dict[str, Any] = {"measurements": str(out), "devices": fleet.devices, "artifacts": fleet.rows}
    complaints = [*map(str, errors), *fleet.complaints]
    return table | ({"failed": "; ".join(complaints)} if complaints else {})


class _Fleet:
    """Devices that work through one bundle, each with a queue of its own."""

    def __init__(self, bundle: Bundle, settings: Settings, known: Known, earlier: list[Measurement], out: Path) -> None:
        self._bundle, self._settings, self._known, self._out = bundle, settings, known, out
        self._earlier = {_key(measurement) for measurement in earlier} if settings.resume else set()
        self._lock = threading.Lock()
        self.stop = threading.Event()
        self.devices: list[dict[str, Any]] = []
        self.rows: list[dict[str, Any]] = []
        self.complaints: list[str] = []

    @property
    def num_jobs(self) -> int:
        """Processes on one device, if it runs every artifact."""
        return self._settings.rounds * (len(set(self._settings.threads)) or 2) * len(self._bundle.artifacts)

    def bench(self, address: str, advance: Advance) -> None:
        """All of the bundle on one device."""
        settings = self._settings
        kind, _, rest = address.partition(":")
        if kind == "ios" and rest:
            for measurement in bench_on_ios(self._bundle.path, rest, seconds=settings.seconds, rounds=settings.rounds):
                self._keep(address, measurement)
            return
        shell = shell_of(address, self._known, stop=self.stop)
        with Station(shell, runner=settings.runner, cpus=settings.cpus, python=self._known.python) as station:
            with self._lock:
                self.devices.append(device_row(address, station.device, station.emulated))
            self._refuse_to_publish(station)
            cores = station.device.cores
            counts = settings.threads or tuple(sorted({1, cores if address == "local" else min(cores, _MANY_CORES)}))
            targets = self._targets(station)
            num_left = sum(
                not reason_not_timed(target.runtime, station) and not self._is_done(station, target, count)
                for target in targets
                for count in counts
            )
            advance(self.num_jobs - settings.rounds * num_left)
            measure(
                targets,
                threads=counts,
                seconds=settings.seconds,
                rounds=settings.rounds,
                seed=settings.seed,
                station=station,
                cooldown_seconds=settings.cooldown_seconds,
                publish=settings.publish,
                verify=self._verify,
                is_done=lambda target, threads: self._is_done(station, target, threads),
                on_done=lambda target: advance(1, f"{target.artifact} on {address}"),
                on_record=lambda measurement: self._keep(address, measurement),
            )

    def _targets(self, station: Station) -> list[Target]:
        wanted = self._settings.runtimes
        if unknown := set(wanted) - {artifact.runtime for artifact in self._bundle.artifacts}:
            held = ", ".join(sorted({artifact.runtime for artifact in self._bundle.artifacts}))
            raise InputError(f"{self._bundle.path} holds nothing for {min(unknown)}; it holds {held}")
        targets = [target_of(self._bundle, a) for a in self._bundle.artifacts if not wanted or a.runtime in wanted]
        if all(reason_not_timed(target.runtime, station) for target in targets):
            raise InputError(f"{station.shell.name} can run nothing of {self._bundle.path}; {_ways(station)}")
        return targets

    def _refuse_to_publish(self, station: Station) -> None:
        if not self._settings.publish:
            return
        if station.emulated:
            raise InputError(f"{station.shell.name} is emulated ({station.emulated}): its times are no latencies")
        if checkout_commit().endswith("-dirty"):
            raise InputError("the checkout has changes that no commit holds; commit them before a number is published")

    def _verify(self, station: Station, target: Target, deployed: Deployed) -> Agreement | None:
        if not self._settings.verify:
            return None
        split = self._settings.split
        return agreement_on(station, self._bundle, deployed, precision=target.precision, threads=1, split=split)

    def _is_done(self, station: Station, target: Target, threads: int) -> bool:
        settings = self._settings
        return (
            target.sha256, station.key, station.runner, threads, settings.seconds, settings.rounds, settings.cpus,
            settings.publish, settings.verify,
        ) in self._earlier  # fmt: skip

    def _keep(self, address: str, measurement: Measurement) -> None:
        with self._lock:
            append_measurement(self._out, measurement)
            self.rows.append(row(address, measurement))
            agreement = measurement.agreement
            if agreement is not None and agreement.judged < agreement.floor:
                self.complaints.append(
                    f"{measurement.artifact} on {address} differs from torch: {agreement.judged:.4f} of the pixels are "
                    f"equal, at least {agreement.floor} wanted"
                )
            if measurement.publish and measurement.unfit and not measurement.not_timed:
                name = f"{measurement.artifact}, {measurement.threads} threads, on {address}"
                self.complaints.append(f"{name} may not be published: {', '.join(measurement.unfit)}")


def parse_cpus(text: str) -> tuple[int, ...]:
    """`4-7` or `0,2,4-5` to processors, ascending.

    Raises:
        InputError: Neither.
    """
    cpus: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise InputError(f"--cpus {text} is not like 4-7 or 0,2,4-5")
        cpus |= set(range(int(first), int(last or first) + 1))
    return tuple(sorted(cpus))


def open_split(root: Path, *, data_format: str | None, num_images: int) -> Split:
    """The val split of a data set as `--verify` scores it.

    Raises:
        InputError: No such data set.
    """
    return Split(open_dataset(root, "val", data_format or "auto"), num_images)


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


def target_of(bundle: Bundle, artifact: Artifact) -> Target:
    """An artifact of a bundle as something to time."""
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


def _key(measurement: Measurement) -> tuple[object, ...]:
    """What a rerun would measure again."""
    pinned = measurement.cpus if measurement.is_pinned else ()
    return (
        measurement.sha256, measurement.device_key, measurement.runner, measurement.threads, measurement.seconds,
        len(measurement.round_sizes), pinned, measurement.publish, measurement.agreement is not None,
    )  # fmt: skip


def _ways(station: Station) -> str:
    if station.runner == "native":
        return "the native runner runs ExecuTorch and LiteRT"
    return "Python there runs LiteRT and ONNX Runtime; for ExecuTorch give the native runner with --runner FOLDER"
