"""The way to iPhones, against a stand-in for Xcode's tools (tests/bench/ios/tool.py): no Mac has run it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from edgeseg.bench import devicectl, transport_ios
from edgeseg.bench.transport_ios import bench_on_ios, connected_devices
from edgeseg.structures import CheckError, InputError
from tests.bench.tiny import write_bundle

IOS = Path(__file__).with_name("ios")
SPEC = Path(__file__).parents[2] / "apps" / "spec" / "measurement.json"
PHONE = "00008130-000000000000001C"


class Tools:
    """The stand-in on the PATH, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plan()
        line = json.loads(SPEC.read_text(encoding="utf-8"))["line"]
        (folder / "line.jsonl").write_text(json.dumps(line) + "\n")

    def plan(self, **what: Any) -> None:
        (self.folder / "plan.json").write_text(json.dumps(what))

    def asked(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "asked.jsonl").read_text().splitlines()]

    def verbs(self) -> list[str]:
        known = ("list devices", "info apps", "uninstall app", "export attachments", "test")
        return [next(verb for verb in known if verb in " ".join(words)) for words in self.asked()]


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("xcrun", "xcodebuild"):
        tool = folder / name
        tool.write_text(
            f"#!{sys.executable}\n" + (IOS / "tool.py").read_text().replace("__file__", repr(str(IOS / "tool.py")))
        )
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setenv("EDGESEG_FAKE", str(folder))
    return Tools(folder)


def test_phones_and_tablets_are_listed_with_what_keeps_them_from_use(tools: Tools) -> None:
    devices = connected_devices()
    assert [device.name for device in devices] == ["Test iPhone", "Studio iPad", "Drawer iPhone", "New iPhone"]
    assert devices[0] == devicectl.IosDevice(PHONE, "Test iPhone", "iPhone 15 Pro", "18.1", "wired", "")
    assert [device.reason.split(";")[0] for device in devices[1:]] == [
        "it is not paired",
        "it is out of reach",
        "developer mode is off",
    ]
    assert devices[2].udid == "5B4C4E0B-0000-4000-8000-000000000003"  # all that is known of it


def test_a_bundle_travels_into_the_app_and_the_tests_lines_come_back(tools: Tools, tmp_path: Path) -> None:
    (measurement,) = bench_on_ios(write_bundle(tmp_path), PHONE, seconds=2.5, rounds=3)
    assert measurement.samples_ms == (8.0, 4.0, 6.0, 5.0, 7.0)
    assert json.loads((tools.folder / "seen.json").read_text()) == {"bundle": True, "seconds": "2.5", "rounds": "3"}
    assert tools.verbs() == ["list devices", "info apps", "test", "export attachments", "uninstall app"]
    test = tools.asked()[2]
    assert test[test.index("-destination") + 1] == f"platform=iOS,id={PHONE}"
    assert test[test.index("-scheme") + 1] == "EdgeSegBench"


def test_a_device_goes_by_its_name_too_and_a_team_signs(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEVELOPMENT_TEAM", "ABCDE12345")
    bench_on_ios(write_bundle(tmp_path), "Test iPhone", seconds=1, rounds=1)
    assert tools.asked()[2][-1] == "DEVELOPMENT_TEAM=ABCDE12345"


def test_an_app_that_was_there_before_stays(tools: Tools, tmp_path: Path) -> None:
    tools.plan(installed=True)
    bench_on_ios(write_bundle(tmp_path), PHONE, seconds=1, rounds=1)
    assert "uninstall app" not in tools.verbs()


def test_a_failed_build_is_one_line_and_the_app_goes(tools: Tools, tmp_path: Path) -> None:
    tools.plan(build_log="xcodebuild_failed.txt")
    with pytest.raises(
        CheckError, match=r'xcodebuild failed: .*Signing for "EdgeSeg" requires a development team'
    ) as error:
        bench_on_ios(write_bundle(tmp_path), PHONE, seconds=1, rounds=1)
    assert "\n" not in str(error.value)
    assert tools.verbs()[-1] == "uninstall app"


def test_apples_error_is_told_down_to_its_cause(tools: Tools) -> None:
    tools.plan(list="error.json")
    told = (
        "Failed to install the app on the device: The item at EdgeSeg.app is not a valid bundle: "
        "Failed to get the identifier for the app to be installed"
    )
    with pytest.raises(CheckError, match=f"listing devices failed: {told}$"):
        connected_devices()


@pytest.mark.parametrize(
    ("udid", "words"),
    [
        ("nobody", r"ios:nobody is not connected; this Mac knows ios:00008130-000000000000001C \(Test iPhone\), ios:"),
        ("Studio iPad", "cannot be used: it is not paired; open Xcode's Devices window"),
        ("New iPhone", "cannot be used: developer mode is off; switch it on"),
    ],
)
def test_a_device_that_cannot_be_used_is_refused_before_any_work(
    udid: str, words: str, tools: Tools, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words):
        bench_on_ios(write_bundle(tmp_path), udid, seconds=1, rounds=1)
    assert tools.verbs() == ["list devices"]


def test_a_tool_that_hangs_is_ended(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    tools.plan(hang="devices")
    monkeypatch.setattr(transport_ios, "_ASK_SECONDS", 0.5)
    with pytest.raises(CheckError, match="listing devices took more than 0 s; is the phone locked"):
        connected_devices()


def test_off_a_mac_the_error_says_what_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"from a Mac with Xcode 16 or later; there is no xcrun here"):
        connected_devices()
    assert shutil.which("xcrun") is None


@pytest.mark.parametrize("answer", [{}, {"result": None}, {"result": {"devices": [None, {"hardwareProperties": 3}]}}])
def test_keys_that_apple_leaves_out_are_no_error(answer: dict[str, Any]) -> None:
    assert devicectl.parse_devices(answer) == []
    assert not devicectl.is_installed(answer, "edgeseg.app")
    assert devicectl.parse_error(answer) == ""


def test_a_manifest_leads_to_no_file_outside_its_folder() -> None:
    row = {"exportedFileName": "../../etc/passwd", "suggestedHumanReadableName": "measurements_0_A.jsonl"}
    assert devicectl.parse_manifest([{"attachments": [row]}], "measurements") == ["passwd"]
