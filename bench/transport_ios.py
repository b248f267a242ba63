"""iPhones and iPads, through Xcode's tools: the sample app's own benchmark, built with the bundle inside.

A phone runs apps only, so that there is no folder and no runner here: `apps/ios` is copied aside with the bundle,
xcodebuild builds, installs and runs the tests of its scheme EdgeSegBench, and the lines they attach to their result
are read. **No Mac has run this**: a stand-in for the tools holds it to their documented layouts (tests/bench).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeseg.bench import devicectl
from edgeseg.bench.devicectl import IosDevice
from edgeseg.bench.measurement import Measurement, read_measurements
from edgeseg.export.app import write_project
from edgeseg.export.bundle import open_bundle
from edgeseg.structures import CheckError, InputError

_ASK_SECONDS = 40.0  # twice devicectl's own limit
_BUILD_SECONDS = 1800.0
_CALM_SECONDS = 30.0  # of an artifact and round beyond the timed calls: loads, compiling for the engine, warm-up
_UNITS = 4  # choices of compute units that an artifact may have


def connected_devices() -> list[IosDevice]:
    """What this Mac knows; devices that cannot be used now carry the reason.

    Raises:
        InputError: Not a Mac with Xcode.
        CheckError: devicectl failed or gave no answer.
    """
    if shutil.which("xcrun") is None:
        raise InputError("iPhones are reached from a Mac with Xcode 16 or later; there is no xcrun here")
    with tempfile.TemporaryDirectory(prefix="edgeseg-ios-") as name:
        return devicectl.parse_devices(_ask(devicectl.list_devices(Path(name, "answer.json")), "listing devices"))


def bench_on_ios(bundle: Path, udid: str, *, seconds: float, rounds: int) -> list[Measurement]:
    """Times every artifact of a bundle on a device, by the app's protocol (docs/measurements.md).

    Args:
        bundle: NAME.edgeseg.
        udid: Of the device, or its name.
        seconds: Timed calls per artifact, choice of compute units and round.
        rounds: Of every artifact; they share one process.

    Raises:
        InputError: No Mac, no such device, or it cannot be used now.
        CheckError: The build, a test or a tool failed, or took too long. The app is gone from the device if it was
            not there before.
    """
    num_artifacts = len(open_bundle(bundle).artifacts)
    device = _find(udid)
    with tempfile.TemporaryDirectory(prefix="edgeseg-ios-") as name:
        folder = Path(name)
        write_project("ios", bundle, folder / "project")
        asked = devicectl.installed_apps(device.udid, devicectl.APP, folder / "apps.json")
        was_there = devicectl.is_installed(_ask(asked, "asking for apps"), devicectl.APP)
        limit = _BUILD_SECONDS + num_artifacts * _UNITS * rounds * (seconds + _CALM_SECONDS)
        try:
            _run_tests(folder, device, seconds=seconds, rounds=rounds, limit=limit)
            return _read_lines(folder, device)
        finally:
            if not was_there:
                _ask(devicectl.uninstall_app(device.udid, devicectl.APP, folder / "gone.json"), "removing the app")


def _find(udid: str) -> IosDevice:
    devices = connected_devices()
    found = next((device for device in devices if udid in (device.udid, device.name)), None)
    if found is None:
        known = ", ".join(f"ios:{device.udid} ({device.name})" for device in devices) or "none"
        raise InputError(f"ios:{udid} is not connected; this Mac knows {known}")
    if found.reason:
        raise InputError(f"ios:{udid} ({found.name}) cannot be used: {found.reason}")
    return found


def _run_tests(folder: Path, device: IosDevice, *, seconds: float, rounds: int, limit: float) -> None:
    command = devicectl.run_tests(
        folder / "project",
        device.udid,
        results=folder / "tests.xcresult",
        build=folder / "build",
        team=os.environ.get("DEVELOPMENT_TEAM", ""),
    )
    asked = devicectl.test_environment({"EDGESEG_SECONDS": str(seconds), "EDGESEG_ROUNDS": str(rounds)})
    done = _run(command, limit, f"testing on {device.name}", environment=asked)
    if done.returncode:
        raise CheckError(f"ios:{device.udid}: xcodebuild failed: {devicectl.first_error(done.stdout)}")


def _read_lines(folder: Path, device: IosDevice) -> list[Measurement]:
    command = devicectl.export_attachments(folder / "tests.xcresult", folder / "attached")
    done = _run(command, _ASK_SECONDS, "reading the tests' result")
    if done.returncode:
        raise CheckError(f"ios:{device.udid}: xcresulttool failed: {devicectl.first_error(done.stdout)}")
    manifest = json.loads((folder / "attached" / "manifest.json").read_text(encoding="utf-8"))
    files = devicectl.parse_manifest(manifest, "measurements")
    if len(files) != 1:
        raise CheckError(f"ios:{device.udid}: the tests attached {len(files)} files measurements.jsonl, one wanted")
    return read_measurements(folder / "attached" / files[0])


def _ask(command: Sequence[str], doing: str) -> dict[str, Any]:
    """Runs devicectl and reads its answer, which is there when it fails too."""
    answer = Path(command[-1])
    done = _run(command, _ASK_SECONDS, doing)
    try:
        table = json.loads(answer.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        table = {}
    if done.returncode or not table:
        raise CheckError(f"{doing} failed: {devicectl.parse_error(table) or devicectl.first_error(done.stdout)}")
    return dict(table)


def _run(
    command: Sequence[str], limit: float, doing: str, *, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            env=os.environ | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=limit,
        )
    except subprocess.TimeoutExpired as error:
        raise CheckError(f"{doing} took more than {limit:.0f} s; is the phone locked, or asking something?") from error
    except FileNotFoundError as error:
        raise InputError(f"{command[0]} is not there; install Xcode 16 or later") from error
