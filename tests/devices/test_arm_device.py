"""The virtual ARM device itself: real daemons, nothing reachable from outside, nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.devices.arm_device import ArmDevices
from tests.devices.conftest import BUILD_SECONDS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(BUILD_SECONDS + 60)]


def test_adb_and_ssh_reach_an_arm_machine_and_hand_on_exit_codes(device: ArmDevices) -> None:
    user, port = device.ssh().rsplit(":", 1)
    for command in (["adb", "-s", device.adb(), "shell"], ["ssh", "-p", port, user]):
        done = device.run([*command, "uname -m; echo wrong >&2; exit 7"])
        assert (done.stdout, done.stderr, done.returncode) == ("aarch64\n", "wrong\n", 7)


def test_adb_carries_bytes_unchanged(device: ArmDevices, tmp_path: Path) -> None:
    sent, back = tmp_path / "sent", tmp_path / "back"
    sent.write_bytes(bytes(range(256)) * 4096)
    device.run(["adb", "-s", device.adb(), "push", str(sent), "/data/local/tmp/bytes"])
    device.run(["adb", "-s", device.adb(), "pull", "/data/local/tmp/bytes", str(back)])
    assert back.read_bytes() == sent.read_bytes()


def test_nobody_outside_reaches_a_daemon_that_asks_for_no_password(device: ArmDevices) -> None:
    address = ("127.0.0.1", int(device.adb().rsplit(":", 1)[1]))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)


def test_what_a_device_writes_does_not_reach_the_files_it_was_started_from(device: ArmDevices, arm_files: Path) -> None:
    device.shell("echo mine > /etc/hostname && rm /usr/bin/perl")
    assert (arm_files / "root/usr/bin/perl").exists()
    assert not (arm_files / "root/etc/hostname").exists() or ((arm_files / "root/etc/hostname").read_text() != "mine\n")


def test_a_killed_daemon_is_gone_until_it_is_started_again(device: ArmDevices) -> None:
    shell = ["adb", "-s", device.adb(), "shell", "echo here"]
    device.kill("adbd")
    assert device.run(shell, timeout=20).returncode != 0
    device.start("adbd")
    assert device.run(shell).stdout == "here\n"


def test_a_failed_test_leaves_no_process_mount_emulator_or_folder(arm_files: Path) -> None:
    before = Path("/proc/mounts").read_text(), _emulators()
    devices = ArmDevices(2)

    def fail() -> None:
        with devices:
            _keep_busy(devices)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert _processes_of(devices.network) == []
    assert not devices.folder.exists()
    assert (Path("/proc/mounts").read_text(), _emulators()) == before


def test_devices_end_with_a_process_that_is_killed(arm_files: Path) -> None:
    code = (
        "import time; from tests.devices.arm_device import ArmDevices\n"
        "with ArmDevices() as d: print(d.network, flush=True); time.sleep(1000)"
    )
    command = [sys.executable, "-c", code]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert holder.stdout is not None
    network = int(holder.stdout.readline())
    assert _processes_of(network)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    until = time.monotonic() + 20
    while (left := _processes_of(network)) and time.monotonic() < until:
        time.sleep(0.1)
    assert left == []


def _keep_busy(devices: ArmDevices) -> None:
    """Has work going on in the devices."""
    shell = ["adb", "-s", devices.adb(2), "shell"]
    devices.run([*shell, "setsid sleep 1000 < /dev/null > /dev/null 2>&1 & touch /data/local/tmp/x"])
    devices.run(["adb", "-P", "5099", "start-server"])  # a client that leaves a server of its own
    assert _processes_of(devices.network).count("adb") == 2


def _processes_of(network: int) -> list[str]:
    """Names of processes in a network, zombies left out."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.stat(path / "ns" / "net").st_ino == network:
                found.append((path / "comm").read_text().strip())
        except OSError:
            continue
    return found


def _emulators() -> list[str]:
    return sorted(os.listdir("/proc/sys/fs/binfmt_misc"))
