"""Virtual ARM devices with their own adbd and sshd, in a network of their own that vanishes with this process."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.devices.arm_root import INSIDE, folder
from tests.devices.namespace import spawn

_LISTENING = "0A"  # of /proc/net/tcp
_END_SECONDS = 60
_SSH_OPTIONS = "BatchMode yes\nStrictHostKeyChecking yes\nIdentitiesOnly yes\n"


class ArmDevices:
    """Some devices, numbered from 1, that start with `with` and leave nothing.

    adbd lets anyone in, so that neither it nor sshd is reachable from outside: `run` runs a host's command where they
    are. Whatever a device writes is in memory.

    Args:
        count: How many.
        folder_mib: Size of /data/local/tmp; None = as much as there is memory.

    Attributes:
        folder: Key, known hosts and log, while they run.
        network: Number of their network namespace.
    """

    def __init__(self, count: int = 1, *, folder_mib: int | None = None) -> None:
        self._count, self._folder_mib = count, folder_mib

    def adb(self, device: int = 1) -> str:
        """Its serial number, as `adb devices` lists it."""
        return f"127.0.0.1:{5600 + device}"

    def ssh(self, device: int = 1) -> str:
        """Its USER@HOST:PORT."""
        return f"root@127.0.0.1:{2200 + device}"

    def __enter__(self) -> ArmDevices:
        self.folder = Path(tempfile.mkdtemp(prefix="edgeseg-devices-"))
        try:
            self._write_tools()
            self._unshare = self._boot()
        except BaseException:
            shutil.rmtree(self.folder)
            raise
        self.network = os.stat(f"/proc/{self._unshare.pid}/ns/net").st_ino
        try:
            numbers = range(1, self._count + 1)
            self._wait_for({5037, *(base + number for base in (5600, 2200) for number in numbers)})
            for number in numbers:
                self.run(["adb", "connect", self.adb(number)])
                self.run(["adb", "-s", self.adb(number), "wait-for-device"])
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def run(
        self, command: Sequence[str], *, environment: Mapping[str, str] | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program of this machine in the devices' network, with the key to them.

        Raises:
            subprocess.TimeoutExpired: It took longer than `timeout` seconds.
        """
        return subprocess.run(
            self.wrapped(command),
            env=self.environment() | dict(environment or {}),
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )

    def wrapped(self, command: Sequence[str]) -> list[str]:
        """The command that runs `command` in the devices' network."""
        return ["nsenter", f"--net=/proc/{self._unshare.pid}/ns/net", "--", *command]

    def environment(self) -> dict[str, str]:
        """What `run` gives a program: its `ssh` and `scp` know the key."""
        return os.environ | {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}

    def shell(self, command: str, device: int = 1) -> str:
        """Runs a command on a device past its daemons: how a test looks what is there.

        Raises:
            subprocess.CalledProcessError: It failed.
        """
        enter = ["nsenter", f"--target={self._first()}", "--user", "--mount", "--pid", "--net", "--"]
        environment = {"QEMU_CPU": "cortex-a76", "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        return subprocess.run(
            [*enter, "chroot", f"/mnt/{device}", "sh", "-c", command],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout

    def kill(self, daemon: str, device: int = 1) -> None:
        """Kills `adbd` or `sshd` of a device with its sessions, at once; what they started lives on."""
        self._tell(f"kill_now {daemon} {device}")
        self._wait_until(lambda: self._port(daemon, device) not in self._listening())

    def start(self, daemon: str, device: int = 1) -> None:
        """Starts it again after `kill`."""
        self._tell(f"start {daemon} {device}")
        self._wait_for({self._port(daemon, device)})
        if daemon == "adbd":
            self.run(["adb", "disconnect", self.adb(device)])
            self.run(["adb", "connect", self.adb(device)])

    def processes(self) -> dict[int, str]:
        """Every process of this machine that is in the devices' network: number and command line."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if os.stat(path / "ns" / "net").st_ino == self.network:
                    found[int(path.name)] = (path / "cmdline").read_text().replace("\0", " ").strip()
            except OSError:  # ended meanwhile
                continue
        return found

    def _boot(self) -> subprocess.Popen[bytes]:
        size = [] if self._folder_mib is None else [str(self._folder_mib)]
        key = self.folder / "key.pub"
        command = [INSIDE, "boot", folder() / "qemu-aarch64", folder() / "root", self._count, key, *size]
        return spawn([str(part) for part in command], own_network=True, log=self.folder / "log")

    def _write_tools(self) -> None:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / "key")], check=True)
        host_key = (folder() / "root/etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2]
        known = [f"[127.0.0.1]:{2200 + number} {' '.join(host_key)}\n" for number in range(1, self._count + 1)]
        (self.folder / "known_hosts").write_text("".join(known))
        config = f"IdentityFile {self.folder}/key\nUserKnownHostsFile {self.folder}/known_hosts\n"
        (self.folder / "config").write_text(_SSH_OPTIONS + config)
        (self.folder / "bin").mkdir()
        for name in ("ssh", "scp", "sftp"):
            wrapper = self.folder / "bin" / name
            wrapper.write_text(f'#!/bin/sh\nexec /usr/bin/{name} -F {self.folder}/config "$@"\n')
            wrapper.chmod(0o755)

    def _first(self) -> int:
        """Process 1 of the devices: the only child of `unshare`."""
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text()
        return int(children.split()[0])

    def _tell(self, line: str) -> None:
        assert self._unshare.stdin is not None
        self._unshare.stdin.write(f"{line}\n".encode())
        self._unshare.stdin.flush()

    def _port(self, daemon: str, device: int) -> int:
        return {"adbd": 5600, "sshd": 2200}[daemon] + device

    def _listening(self) -> set[int]:
        rows = [
            row.split()
            for name in ("tcp", "tcp6")
            for row in Path(f"/proc/{self._unshare.pid}/net/{name}").read_text().splitlines()[1:]
        ]
        return {int(row[1].rsplit(":", 1)[1], 16) for row in rows if row[3] == _LISTENING}

    def _wait_for(self, ports: set[int]) -> None:
        self._wait_until(lambda: ports <= self._listening())

    def _wait_until(self, is_so: Callable[[], bool], seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while not is_so():
            if self._unshare.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the devices did not start: {(self.folder / 'log').read_text(errors='replace')}")
            time.sleep(0.05)

    def _stop(self) -> None:
        """Ends the namespaces, and what else is in their network: an adb server that a client started."""
        self._unshare.kill()
        until = time.monotonic() + _END_SECONDS
        while (left := self.processes()) and time.monotonic() < until:
            for number in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
            time.sleep(0.05)
        self._unshare.wait()
        shutil.rmtree(self.folder)
        if left:
            raise RuntimeError(f"processes of the devices do not end: {left}")
