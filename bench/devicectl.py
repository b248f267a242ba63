"""Apple's command line tools as command lines and the JSON and text that they answer with.

None of this has run on a Mac. devicectl promises its `--json-output` file only; its layout is read from
flutter_tools' `ios/core_devices.dart`, Shorebird's `devicectl/nserror.dart` and Qt Creator's `tst_devicectlutils.cpp`,
the attachments' manifest from projects that read `xcresulttool export attachments` (Xcode 16), and TEST_RUNNER_ from
xcodebuild's manual page. Keys that are unknown or missing are no error: Apple adds and drops them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEME = "EdgeSegBench"
APP = "edgeseg.app"
"""Bundle identifier of apps/ios."""

_DEVICECTL = ("xcrun", "devicectl")
_WAIT_SECONDS = 20  # devicectl's own limit; without one it may wait for ever


@dataclass(frozen=True)
class IosDevice:
    """An iPhone or iPad that this Mac knows.

    Attributes:
        udid: What xcodebuild takes.
        name: As its owner calls it.
        model: Marketing name.
        os: Version of its system.
        transport: `wired` or `localNetwork`; empty where unknown.
        reason: Why it cannot be used now, with the next step; empty if it can.
    """

    udid: str
    name: str
    model: str
    os: str
    transport: str
    reason: str


def list_devices(answer: Path) -> list[str]:
    """Known devices into the JSON file `answer`."""
    return [*_DEVICECTL, "list", "devices", *_json(answer)]


def installed_apps(udid: str, app: str, answer: Path) -> list[str]:
    """One app, if it is installed."""
    return [*_DEVICECTL, "device", "info", "apps", "--device", udid, "--bundle-id", app, *_json(answer)]


def uninstall_app(udid: str, app: str, answer: Path) -> list[str]:
    """Takes an app with its data off a device."""
    return [*_DEVICECTL, "device", "uninstall", "app", "--device", udid, app, *_json(answer)]


def run_tests(project: Path, udid: str, *, results: Path, build: Path, team: str = "") -> list[str]:
    """Builds, installs and runs the benchmark's tests on a device.

    Args:
        project: Folder with EdgeSeg.xcodeproj.
        udid: Device.
        results: New .xcresult bundle.
        build: Folder for what is built.
        team: Of the developer who signs; empty = as the project says.
    """
    command = ["xcodebuild", "test", "-project", str(project / "EdgeSeg.xcodeproj"), "-scheme", SCHEME]
    command += ["-destination", f"platform=iOS,id={udid}", "-resultBundlePath", str(results)]
    command += ["-derivedDataPath", str(build), "-allowProvisioningUpdates"]
    return [*command, f"DEVELOPMENT_TEAM={team}"] if team else command


def test_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Variables of xcodebuild's that the tests on the device see without the prefix."""
    return {f"TEST_RUNNER_{name}": value for name, value in variables.items()}


def export_attachments(results: Path, folder: Path) -> list[str]:
    """What tests attached, as files with a manifest.json."""
    return ["xcrun", "xcresulttool", "export", "attachments", "--path", str(results), "--output-path", str(folder)]


def parse_devices(answer: Mapping[str, Any]) -> list[IosDevice]:
    """Phones and tablets of `list_devices`; watches and the like are left out."""
    return [_device(row) for row in _rows(answer, "devices") if _kind(row) in ("iPhone", "iPad")]


def is_installed(answer: Mapping[str, Any], app: str) -> bool:
    """Whether the answer to `installed_apps` names it."""
    return any(row.get("bundleIdentifier") == app for row in _rows(answer, "apps"))


def parse_error(answer: Mapping[str, Any]) -> str:
    """What went wrong in Apple's words, the innermost cause last; empty if nothing did."""
    return ": ".join(dict.fromkeys(_causes(answer.get("error"))))


def parse_manifest(manifest: Any, stem: str) -> list[str]:
    """Exported files of the attachments whose name begins with `stem`; XCTest adds `_0_UUID` and a suffix.

    Args:
        manifest: manifest.json: tests with `attachments`, each of an `exportedFileName` and a
            `suggestedHumanReadableName`.
        stem: File name as the test gave it, without the suffix.
    """
    named = re.compile(rf"{re.escape(stem)}([_.].*)?")
    attached = [row for test in manifest if isinstance(test, dict) for row in test.get("attachments", [])]
    found = [row["exportedFileName"] for row in attached if named.fullmatch(row.get("suggestedHumanReadableName", ""))]
    return [Path(file).name for file in found]  # never a path out of the folder


def first_error(log: str) -> str:
    """The line of xcodebuild's output that says why it failed; the last line where none does."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = (line for line in lines if re.search(r"(^|: |\s)error: ", line))
    return next(errors, lines[-1] if lines else "it said nothing")


def _json(answer: Path) -> list[str]:
    return ["--timeout", str(_WAIT_SECONDS), "--quiet", "--json-output", str(answer)]


def _rows(answer: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    result = answer.get("result")
    rows = result.get(name) if isinstance(result, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _part(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = row.get(name)
    return part if isinstance(part, dict) else {}


def _kind(row: Mapping[str, Any]) -> str:
    return str(_part(row, "hardwareProperties").get("deviceType", ""))


def _device(row: Mapping[str, Any]) -> IosDevice:
    hardware, device = _part(row, "hardwareProperties"), _part(row, "deviceProperties")
    connection = _part(row, "connectionProperties")
    udid = str(hardware.get("udid") or row.get("identifier", ""))
    return IosDevice(
        udid,
        str(device.get("name", udid)),
        str(hardware.get("marketingName") or hardware.get("productType", "")),
        str(device.get("osVersionNumber", "")),
        str(connection.get("transportType", "")),
        _reason(device, connection),
    )


def _reason(device: Mapping[str, Any], connection: Mapping[str, Any]) -> str:
    """A `disconnected` tunnel is opened when it is needed; an `unavailable` one cannot be."""
    if connection.get("pairingState", "paired") != "paired":
        return "it is not paired; open Xcode's Devices window, plug it in and tap Trust"
    if connection.get("tunnelState") == "unavailable":
        return "it is out of reach; plug it in and unlock it"
    if device.get("developerModeStatus", "enabled") != "enabled":
        return "developer mode is off; switch it on under Settings, Privacy & Security"
    return ""


def _causes(error: Any) -> Iterator[str]:
    if not isinstance(error, dict):
        return
    said = _part(error, "userInfo")
    for key in ("NSLocalizedDescription", "NSLocalizedFailureReason"):
        if text := _part(said, key).get("string"):
            yield " ".join(str(text).split()).rstrip(".")
    yield from _causes(_part(said, "NSUnderlyingError").get("error"))
