"""The table of docs/arm.md: python -m tests.devices.arm_table BUNDLE ANSWERS.jsonl.

Virtual ARM devices answer the bundle's golden images, the native runner over adb, the Python worker over ssh. An
emulated call takes seconds, and an hour goes by on a busy machine: run it again, and it goes on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgeseg.bench.agreement import agreement_on
from edgeseg.bench.devices import Known, shell_of
from edgeseg.bench.native_build import build
from edgeseg.bench.station import Station
from edgeseg.export.bundle import Bundle, open_bundle
from tests.devices.arm_device import ArmDevices

_PATIENCE = {"EDGESEG_PATIENCE": "60"}


def answer(bundle: Bundle, out: Path, address: str, runner: str) -> None:
    """Adds a row for every artifact that the runner knows; runs in the devices' network.

    Args:
        bundle: With golden images.
        out: JSON lines file; what it holds is left out.
        address: Of the device.
        runner: Folder of the native runner; empty = the device's Python.
    """
    kind = "native" if runner else "python"
    done = {(row["file"], row["runner"]) for row in _rows(out)}
    with Station(shell_of(address, Known()), runner=Path(runner) if runner else None) as station:
        for artifact in bundle.artifacts:
            if not station.can_run(artifact.runtime) or (artifact.file, kind) in done:
                continue
            deployed = station.deploy(bundle.path / artifact.file, artifact.runtime, bundle.image_size)
            found = agreement_on(station, bundle, deployed, precision=artifact.precision, threads=1)
            row = {"file": artifact.file, "runner": kind, "emulated": station.emulated, **asdict(found)}
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def table(bundle: Bundle, rows: list[dict[str, Any]]) -> str:
    """Markdown: equal pixels on ARM beside those that the bundle's own proof found where it was exported."""
    here = {artifact.file: artifact.verify.pixels_equal for artifact in bundle.artifacts}
    lines = ["| file | runner | equal pixels on ARM | at the export | judged | floor |", "|---|---|---|---|---|---|"]
    return "\n".join(
        [
            *lines,
            *(
                f"| {row['file']} | {row['runner']} | {row['pixels_equal']:.5f} | {here[row['file']]:.5f} "
                f"| {row['judged']:.5f} | {row['floor']} |"
                for row in sorted(rows, key=lambda row: (row["runner"], row["file"]))
            ),
        ]
    )


def _rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()] if out.exists() else []


def _main(path: Path, out: Path) -> None:
    with ArmDevices(2) as devices:
        ways = [(f"adb:{devices.adb(1)}", str(build("aarch64-linux"))), (f"ssh:{devices.ssh(2)}", "")]
        command = [sys.executable, "-m", "tests.devices.arm_table", str(path), str(out)]
        environment = devices.environment() | _PATIENCE
        running = [subprocess.Popen(devices.wrapped([*command, *way]), env=environment) for way in ways]
        codes = [process.wait() for process in running]
    print(table(open_bundle(path), _rows(out)))
    sys.exit(max(codes))


if __name__ == "__main__":
    source, answers, *way = sys.argv[1:]
    if way:
        answer(open_bundle(Path(source)), Path(answers), *way)
    else:
        _main(Path(source), Path(answers))
