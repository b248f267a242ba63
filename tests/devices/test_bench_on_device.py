"""`edgeseg bench --on` a virtual ARM device: real adb and ssh, real daemons, and what happens when they fail."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edgeseg.bench.measurement import Measurement, read_measurements
from edgeseg.export.bundle import open_bundle
from tests.bench.native import built
from tests.devices.arm_device import ArmDevices
from tests.devices.conftest import BUILD_SECONDS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(BUILD_SECONDS + 900)]

BUNDLE = Path(__file__).parents[2] / "apps" / "spec" / "tiny.edgeseg"
FOLDERS = "/data/local/tmp/edgeseg"  # of the adb transport; ssh's is /var/tmp
PATIENCE = {"EDGESEG_PATIENCE": "8"}  # an emulated process starts in 40 ms, beside other work in half a second


@pytest.fixture(scope="module")
def runner() -> Path:
    return built("aarch64-linux")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


class Bench:
    """The command line, with a copy of the bundle."""

    def __init__(self, folder: Path) -> None:
        self.bundle = folder / BUNDLE.name
        shutil.copytree(BUNDLE, self.bundle)
        self.out = folder / "measurements.jsonl"

    def command(self, *words: object) -> list[str]:
        options = ["--threads", "1", "--cooldown", "0", "--quiet", "--out", str(self.out)]
        return [sys.executable, "-m", "edgeseg.cli", "bench", str(self.bundle), *map(str, words), *options]

    def run(self, devices: ArmDevices, *words: object) -> subprocess.CompletedProcess[str]:
        return devices.run(self.command(*words), environment=PATIENCE, timeout=900)

    def measured(self) -> list[Measurement]:
        return read_measurements(self.out)


def in_file(bench: Bench) -> dict[str, Measurement]:
    return {measurement.artifact: measurement for measurement in bench.measured()}


def require_nothing_left(devices: ArmDevices, device: int = 1) -> None:
    """No folder of a run, and no process of it, at once or within the device's own few seconds."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        folders = devices.shell(f"ls -A {FOLDERS} /var/tmp 2>/dev/null | grep edgeseg-run || true", device)
        runners = [line for line in devices.processes().values() if "edgeseg-run" in line or "bench.worker" in line]
        if not folders and not runners:
            return
        time.sleep(0.5)
    raise AssertionError(f"left on the device: {folders!r}, {runners}")


@pytest.mark.parametrize("way", ["adb", "ssh"])
def test_int8_and_float_give_torchs_pictures_on_arm_over_each_transport(
    way: str, device: ArmDevices, bench: Bench, runner: Path
) -> None:
    address = f"adb:{device.adb()}" if way == "adb" else f"ssh:{device.ssh()}"
    done = bench.run(device, "--on", address, "--runner", runner, "--seconds", "0.5", "--rounds", "1", "--verify")
    assert done.returncode == 0, done.stderr
    found = in_file(bench)
    timed = {name: row for name, row in found.items() if not row.not_timed}
    assert {(row.runtime, row.precision) for row in timed.values()} == {
        (runtime, precision) for runtime in ("executorch", "litert") for precision in ("float32", "int8")
    }
    for row in timed.values():
        assert row.emulated
        assert row.device.machine == "aarch64"
        assert row.agreement is not None
        assert row.agreement.judged >= row.agreement.floor
        assert row.unfit  # never in a published table
    require_nothing_left(device)


def test_a_device_with_python_runs_the_same_driver(device: ArmDevices, bench: Bench) -> None:
    words = ("--on", f"ssh:{device.ssh()}", "--seconds", "0.5", "--rounds", "1", "--verify")
    done = bench.run(device, *words, "--runtimes", "onnx", "litert")
    assert done.returncode == 0, done.stderr
    rows = bench.measured()
    assert {(row.runtime, row.precision) for row in rows} == {
        (runtime, precision) for runtime in ("onnx", "litert") for precision in ("float32", "int8")
    }
    assert all(row.emulated and row.agreement and row.agreement.judged >= row.agreement.floor for row in rows)
    require_nothing_left(device)


def test_two_devices_work_at_once_and_keep_apart(arm_files: Path, bench: Bench, runner: Path) -> None:
    with ArmDevices(2) as devices:
        on = [word for number in (1, 2) for word in ("--on", f"adb:{devices.adb(number)}")]
        done = bench.run(devices, *on, "--runner", runner, "--seconds", "0.5", "--rounds", "1", "--runtimes", "litert")
        assert done.returncode == 0, done.stderr
        keys = {row.device_key for row in bench.measured()}
        assert len(keys) == 2
        assert len(bench.measured()) == 4
        require_nothing_left(devices, 1)
        require_nothing_left(devices, 2)


def test_devices_lists_what_adb_sees_as_emulated(device: ArmDevices) -> None:
    done = device.run([sys.executable, "-m", "edgeseg.cli", "devices", "--json"], environment=PATIENCE)
    rows: list[dict[str, Any]] = json.loads(done.stdout)["devices"]
    (row,) = (row for row in rows if row["on"] == f"adb:{device.adb()}")
    assert (row["state"], row["machine"], row["emulated"]) == ("ready", "aarch64", "qemu-user (aarch64 on x86)")


def test_a_device_that_is_not_there_is_refused_with_those_that_are(device: ArmDevices, bench: Bench) -> None:
    done = bench.run(device, "--on", "adb:nobody")
    assert done.returncode == 2
    assert done.stderr.strip() == (
        f"edgeseg: adb:nobody is not connected; adb sees adb:{device.adb()} (edgeseg devices)"
    )


@pytest.mark.parametrize(("way", "daemon"), [("adb", "adbd"), ("ssh", "sshd")])
def test_a_daemon_killed_in_mid_run_is_told_within_10_s_and_nothing_stays(
    way: str, daemon: str, arm_files: Path, bench: Bench, runner: Path
) -> None:
    with ArmDevices() as devices:
        address = f"adb:{devices.adb()}" if way == "adb" else f"ssh:{devices.ssh()}"
        process = _start(bench, devices, "--on", address, "--runner", runner, "--seconds", "300")
        _wait_for_runner(devices, process)
        devices.kill(daemon)
        killed = time.monotonic()
        _, error = process.communicate(timeout=60)
        assert time.monotonic() - killed < _busy(10)
        assert process.returncode == 1
        assert error.startswith(f"edgeseg: {address} was lost while timing ")
        assert error.count("\n") == 1
        require_nothing_left(devices)


def test_ctrl_c_leaves_nothing_on_the_device(device: ArmDevices, bench: Bench, runner: Path) -> None:
    process = _start(bench, device, "--on", f"adb:{device.adb()}", "--runner", runner, "--seconds", "300")
    _wait_for_runner(device, process)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=90)
    assert (process.returncode, error.splitlines()[-1]) == (130, "edgeseg: interrupted")
    require_nothing_left(device)


def test_a_file_that_vanished_from_the_device_is_named(device: ArmDevices, bench: Bench, runner: Path) -> None:
    words = ("--on", f"adb:{device.adb()}", "--runner", runner, "--seconds", "20", "--runtimes", "litert")
    process = _start(bench, device, *words)
    _wait_for_runner(device, process)
    device.shell(f"rm {FOLDERS}/edgeseg-run-*/bundle-*/*.tflite")  # the run that holds one open goes on
    _, error = process.communicate(timeout=600)
    assert process.returncode == 1
    assert ".tflite" in error
    assert error.count("\n") == 1
    require_nothing_left(device)


def test_a_full_disk_is_one_error_and_leaves_it_empty(arm_files: Path, bench: Bench, runner: Path) -> None:
    with ArmDevices(folder_mib=4) as devices:
        done = bench.run(devices, "--on", f"adb:{devices.adb()}", "--runner", runner)
        assert done.returncode == 1
        assert "No space left on device" in done.stderr
        assert done.stderr.count("\n") == 1
        require_nothing_left(devices)
        assert int(devices.shell("df -k --output=used /data/local/tmp | tail -1")) < 100


def test_a_command_that_takes_too_long_is_ended_there_too(device: ArmDevices) -> None:
    code = (
        "from edgeseg.bench.transport_adb import AdbShell\n"
        f"with AdbShell({device.adb()!r}) as shell:\n"
        "    try: shell.run(['sleep', '987'], seconds=5, doing='sleeping')\n"
        "    except Exception as error: print(type(error).__name__, error)"
    )
    done = device.run([sys.executable, "-c", code], environment=PATIENCE, timeout=300)
    assert done.stdout == f"TimedOut adb:{device.adb()}: sleeping took more than 5 s; is it stuck?\n", done.stderr
    assert not [line for line in device.processes().values() if "sleep 987" in line]
    require_nothing_left(device)


def test_the_bundle_on_this_side_is_checked_before_the_device_is_touched(device: ArmDevices, bench: Bench) -> None:
    (bench.bundle / open_bundle(bench.bundle).artifacts[0].file).unlink()
    done = bench.run(device, "--on", f"adb:{device.adb()}")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def _busy(seconds: float) -> float:
    """Seconds of an idle machine, as many as they become where others want its processors too."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def _start(bench: Bench, devices: ArmDevices, *words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        devices.wrapped(bench.command(*words)),
        env=devices.environment() | PATIENCE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait_for_runner(devices: ArmDevices, process: subprocess.Popen[str]) -> None:
    """Until the device times: its runner has had a second of a processor."""
    until = time.monotonic() + 400
    while time.monotonic() < until and process.poll() is None:
        for number, line in devices.processes().items():
            if "request.json" in line and "ld-linux-aarch64" in line and _cpu_seconds(number) > 1:
                return
        time.sleep(0.2)
    process.kill()
    raise AssertionError(f"nothing was timed: {process.communicate()}")


def _cpu_seconds(number: int) -> float:
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
