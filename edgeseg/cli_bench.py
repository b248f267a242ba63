"""The verbs that measure: `edgeseg bench`, `bench compare`, `bench report`, `bench import`, `devices`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from edgeseg.cli_args import Flat, Output, Result, Verb, parse, words


@dataclass(frozen=True)
class BenchArgs:
    """Times every artifact of a bundle on this computer or on devices, each in a process of its own.

    docs/benchmarking.md says what to type for a phone or a board and what each number means. `edgeseg bench compare
    A B` says which of two is faster; `edgeseg bench report BUNDLE` draws it all; `edgeseg bench import FILE` adds
    another tool's result.
    """

    bundle: tyro.conf.Positional[Path]
    """NAME.edgeseg"""
    on: Annotated[tuple[str, ...], tyro.conf.arg(name="on")] = ()
    """Device: local, adb:SERIAL, ssh:USER@HOST[:PORT] or ios:UDID; again for more, all at once. local by default."""
    threads: tuple[int, ...] = ()
    """Thread counts to measure; 1 and all cores by default, on other devices 1 and 4."""
    seconds: float = 3.0
    """Seconds of timed calls per artifact, thread count and round."""
    rounds: int = 2
    """Fresh processes per artifact and thread count."""
    minutes: float = 0.0
    """One round this long instead, for the curve over time: first minute against last."""
    publish: bool = False
    """Measure a number to show to others: a minute of calls at least; refuses emulators, says what else forbids."""
    cooldown: float = 30.0
    """Longest wait, in seconds, for a device to cool down before a round."""
    cpus: str = ""
    """Processors to pin to, such as 4-7."""
    runner: Path | None = None
    """Folder with the native runner for the device (docs/native.md); its Python by default."""
    runtimes: tuple[str, ...] = ()
    """Runtimes to time; all that run there by default."""
    verify: bool = False
    """Answer the golden images on the device and compare with torch."""
    data: Path | None = None
    """With --verify: folder of a data set whose val images are scored on the device too."""
    format: str | None = None
    """Layout of that folder (docs/data.md); by default what it is recognised as."""
    images: int = 100
    """Images of it, evenly spaced; 0 = all."""
    resume: bool = False
    """Leave out what the file holds already for the same file, device and settings."""
    devices: Path | None = None
    """devices.toml with ssh_config; ~/.config/edgeseg/devices.toml by default."""
    out: Path | None = None
    """File the measurements are added to; BUNDLE/../measurements.jsonl by default."""
    output: Flat = field(default_factory=Output)


def bench(argv: Sequence[str]) -> Result:
    """Time a bundle, here or on devices: edgeseg bench NAME.edgeseg --on adb:SERIAL"""
    if argv[:1] and argv[0] in _MORE:
        return _MORE[argv[0]](argv[1:])
    args = parse(BenchArgs, _joined(argv, "--on"), "bench")
    from edgeseg.bench.devices import read_known
    from edgeseg.bench.run import Settings, bench_to_file, open_split, parse_cpus

    settings = Settings(
        threads=args.threads,
        seconds=args.seconds,
        rounds=args.rounds,
        minutes=args.minutes,
        cpus=parse_cpus(args.cpus) if args.cpus else (),
        runner=args.runner,
        runtimes=words(args.runtimes),
        publish=args.publish,
        cooldown_seconds=args.cooldown,
        verify=args.verify,
        split=open_split(args.data, data_format=args.format, num_images=args.images) if args.data else None,
        resume=args.resume,
    )
    on, known = words(args.on) or ("local",), read_known(args.devices)
    return bench_to_file(args.bundle, args.out, on=on, settings=settings, known=known, quiet=args.output.quiet)


@dataclass(frozen=True)
class CompareArgs:
    """Says whether B is faster than A, with the interval that noise leaves, or that noise forbids a verdict.

    Bundles and files of bundles are run now, A B A B, each block in a process of its own; measurements are compared
    round by round where both were made in one run. docs/benchmarking.md says how to read the answer.
    """

    a: tyro.conf.Positional[Path]
    """NAME.edgeseg, NAME.edgeseg/FILE, or measurements: FILE.jsonl, FILE.jsonl/ARTIFACT, or the folder of one."""
    b: tyro.conf.Positional[Path]
    """Another of the same kind."""
    on: str = "local"
    """Where to run: local, adb:SERIAL or ssh:USER@HOST[:PORT]."""
    threads: tuple[int, ...] = (1,)
    """Thread counts, each a comparison of its own."""
    pairs: int = 12
    """Blocks of A beside one of B; fewer than 6 give no verdict."""
    seconds: float = 1.0
    """Timed calls of a block."""
    runtimes: tuple[str, ...] = ()
    """Of bundles, only these; all by default."""
    cpus: str = ""
    """Processors to pin to, such as 4-7."""
    runner: Path | None = None
    """Folder with the native runner for the device (docs/native.md); its Python by default."""
    cooldown: float = 30.0
    """Longest wait, in seconds, for a device to cool down before a round."""
    devices: Path | None = None
    """devices.toml; ~/.config/edgeseg/devices.toml by default."""
    out: Path | None = None
    """Measurements file to add the blocks to; they are not kept by default."""
    output: Flat = field(default_factory=Output)


def compare_two(argv: Sequence[str]) -> Result:
    """Say which is faster: edgeseg bench compare A B"""
    args = parse(CompareArgs, argv, "bench compare")
    from edgeseg.bench.compare import Settings, compare
    from edgeseg.bench.devices import read_known
    from edgeseg.bench.run import parse_cpus

    settings = Settings(
        on=args.on,
        threads=args.threads,
        pairs=args.pairs,
        seconds=args.seconds,
        runtimes=words(args.runtimes),
        cpus=parse_cpus(args.cpus) if args.cpus else (),
        runner=args.runner,
        cooldown_seconds=args.cooldown,
    )
    known = read_known(args.devices)
    return compare(args.a, args.b, settings=settings, known=known, out=args.out, quiet=args.output.quiet)


@dataclass(frozen=True)
class ImportArgs:
    """Adds the result of another benchmark tool to a file of imported results, labelled as such."""

    result: tyro.conf.Positional[Path]
    """What benchmark_model or litert-benchmark printed or wrote, or a log of XCTest (docs/benchmark-import.md)."""
    name: Annotated[str | None, tyro.conf.arg(name="as")] = None
    """What to call it; the model file's name by default."""
    out: Path = Path("imported.jsonl")
    """JSON lines file, made if missing."""
    output: Flat = field(default_factory=Output)


def import_result(argv: Sequence[str]) -> Result:
    """Add another tool's result: edgeseg bench import FILE"""
    args = parse(ImportArgs, argv, "bench import")
    from edgeseg.bench.imported import import_to_file

    return import_to_file(args.result, args.name, args.out)


@dataclass(frozen=True)
class ReportArgs:
    """Writes one HTML file that shows a bundle: pictures with difference maps, proofs, latencies of every device.

    docs/benchmarking.md says what each section means and where its numbers come from.
    """

    bundle: tyro.conf.Positional[Path]
    """NAME.edgeseg"""
    measurements: tuple[Path, ...] = ()
    """Files of `edgeseg bench`, of one device or several; BUNDLE/../measurements.jsonl by default, if it is there."""
    imported: tuple[Path, ...] = ()
    """Files of `edgeseg bench import`."""
    verified: Path | None = None
    """What `edgeseg verify BUNDLE --data FOLDER --out FILE` wrote: its ladder, and every file's quality."""
    pictures: int = 3
    """Golden images that every file answers here; 0 = none."""
    profile: float = 0.0
    """Seconds to profile each file here, for where its time goes; 0 = do not."""
    out: Path | None = None
    """HTML file; BUNDLE/../report.html by default."""
    output: Flat = field(default_factory=Output)


def report(argv: Sequence[str]) -> Result:
    """Write a report: edgeseg bench report NAME.edgeseg"""
    args = parse(ReportArgs, argv, "bench report")
    from edgeseg.bench.report_bundle import report_bundle

    return report_bundle(
        args.bundle,
        args.out,
        measurements=args.measurements,
        imported=args.imported,
        verified=args.verified,
        num_pictures=args.pictures,
        profile_seconds=args.profile,
        quiet=args.output.quiet,
    )


_MORE: dict[str, Verb] = {"compare": compare_two, "import": import_result, "report": report}
"""Words that may stand where a bundle does."""


@dataclass(frozen=True)
class DevicesArgs:
    """Lists what `edgeseg bench --on` can use: this computer, what adb sees, ssh hosts, iPhones on a Mac."""

    ssh: tuple[str, ...] = ()
    """Hosts to try too: USER@HOST[:PORT]."""
    devices: Path | None = None
    """devices.toml; ~/.config/edgeseg/devices.toml by default."""
    output: Flat = field(default_factory=Output)


def devices(argv: Sequence[str]) -> Result:
    """List devices: edgeseg devices --ssh pi@raspberrypi.local"""
    args = parse(DevicesArgs, argv, "devices")
    from edgeseg.bench.devices import list_devices, read_known

    return list_devices(read_known(args.devices), [host.removeprefix("ssh:") for host in words(args.ssh)])


def _joined(argv: Sequence[str], option: str) -> list[str]:
    """An option that was given several times once, with all its values: the parser would keep the last only."""
    values: list[str] = []
    rest: list[str] = []
    words_left = list(argv)
    while words_left:
        word = words_left.pop(0)
        if word.startswith(f"{option}="):
            values.append(word.partition("=")[2])
        elif word == option:
            values += words_left[:1]
            del words_left[:1]
        else:
            rest.append(word)
    return [*rest, option, *values] if option in argv or values else rest
