"""Latency of the C++ runner against the Python worker, the same artifact and protocol.

python -m edgeseg.bench.native_speed NAME.edgeseg

Takes both in turns in fresh processes. Of each the turn with the lowest p50 counts, which other programs on the machine
disturb least; `turns` shows them all.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from edgeseg.bench.machine import this_machine
from edgeseg.bench.native_build import SDKS, build
from edgeseg.bench.refusals import refusals
from edgeseg.bench.worker import Request
from edgeseg.export.bundle import open_bundle


@dataclass(frozen=True)
class SpeedArgs:
    """What is compared."""

    bundle: Annotated[Path, tyro.conf.Positional]
    """Its ExecuTorch and LiteRT artifacts."""
    rounds: int = 5
    """Turns."""
    seconds: float = 3.0
    """Timed calls of a turn."""
    threads: int = 1
    """Asked of the runtimes."""


@dataclass(frozen=True)
class Row:
    """One artifact.

    Attributes:
        artifact: File.
        native_ms: p50 of the C++ runner's best turn.
        python_ms: p50 of the Python worker's.
        ratio: The first over the second.
        native_peak_mib: Largest resident memory of the C++ process.
        python_peak_mib: And of the Python process.
        turns: p50 of every turn, (C++, Python).
    """

    artifact: str
    native_ms: float
    python_ms: float
    ratio: float
    native_peak_mib: float
    python_peak_mib: float
    turns: tuple[tuple[float, float], ...]


def compare(args: SpeedArgs) -> Iterator[Row]:
    """Times every artifact that the runner can run.

    Raises:
        InputError: No bundle, or the runner cannot be built here.
        CheckError: Building failed.
    """
    native = [str(build("host") / "edgeseg-runner")]
    python = [sys.executable, "-m", "edgeseg.bench.worker"]
    bundle = open_bundle(args.bundle)
    for artifact in (a for a in bundle.artifacts if a.runtime in {sdk.runtime for sdk in SDKS}):
        path = bundle.path / artifact.file
        request = Request(artifact.runtime, path, bundle.image_size, args.threads, args.seconds, seed=0)
        turns = [(_turn(native, request), _turn(python, request)) for _ in range(args.rounds)]
        native_ms, python_ms = (min(p50 for p50, _ in way) for way in zip(*turns, strict=True))
        native_mib, python_mib = (max(peak for _, peak in way) for way in zip(*turns, strict=True))
        p50s = tuple((ours[0], theirs[0]) for ours, theirs in turns)
        yield Row(artifact.file, native_ms, python_ms, native_ms / python_ms, native_mib, python_mib, p50s)


def _turn(command: list[str], request: Request) -> tuple[float, float]:
    """p50 in milliseconds, and peak memory in MiB, of a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        asked, told = Path(folder, "request.json"), Path(folder, "result.json")
        asked.write_text(json.dumps(asdict(request) | {"path": str(request.path)}), encoding="utf-8")
        subprocess.run([*command, str(asked), str(told)], check=True)
        result = json.loads(told.read_text(encoding="utf-8"))
    return statistics.median(result["samples_ms"]), result["peak_mib"]


def main(args: SpeedArgs) -> None:
    """Prints one JSON line for the machine and one for each artifact."""
    print(json.dumps(asdict(this_machine())))
    for row in compare(args):
        print(json.dumps(asdict(row)), flush=True)


if __name__ == "__main__":
    with refusals():
        main(tyro.cli(SpeedArgs, description=__doc__))
