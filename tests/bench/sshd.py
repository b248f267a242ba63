"""A real OpenSSH server on the loopback, with keys, port and configuration of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

_SERVER = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class Sshd:
    """Listens while it is entered; lets this user in by a key that lies in `folder`.

    Args:
        folder: For keys, configuration and log.
        environment: NAME=VALUE that its sessions get.

    Attributes:
        address: USER@HOST:PORT.
        config: For `ssh -F`.
    """

    def __init__(self, folder: Path, environment: Sequence[str] = ()) -> None:
        if _SERVER is None:
            pytest.skip("needs an OpenSSH server: apt install openssh-server")
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.address = f"{getpass.getuser()}@127.0.0.1:{self.port}"
        self.config = folder / "ssh_config"
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        host_key = (folder / "host.pub").read_text()
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {host_key}")
        self.config.write_text(
            f"Host *\nIdentityFile {folder}/user\nIdentitiesOnly yes\nUserKnownHostsFile {folder}/known_hosts\n"
        )
        settings = {
            "Port": self.port,
            "ListenAddress": "127.0.0.1",
            "HostKey": folder / "host",
            "AuthorizedKeysFile": folder / "user.pub",
            "PidFile": folder / "pid",
            "StrictModes": "no",  # the key lies in a folder that others may enter
            "PasswordAuthentication": "no",
            "PermitRootLogin": "yes",
            "SetEnv": " ".join((f"PATH={Path(sys.executable).parent}:{os.environ['PATH']}", *environment)),
        }
        (folder / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))

    def __enter__(self) -> Sshd:
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where it locks itself in before a login
        command = [str(_SERVER), "-D", "-f", str(self.folder / "sshd_config"), "-E", str(self.folder / "log")]
        self._server = subprocess.Popen(command)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.05)
        raise RuntimeError(f"sshd does not listen: {(self.folder / 'log').read_text()}")

    def __exit__(self, *raised: object) -> None:
        self.send(signal.SIGCONT)
        self.send(signal.SIGKILL)
        self._server.wait()

    def send(self, number: signal.Signals) -> None:
        """A signal to the server and to what serves its sessions, not to what they run."""
        for pid in [*self._sessions(), self._server.pid]:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def _sessions(self) -> list[int]:
        found, parents = [], [self._server.pid]
        while parents:
            listed = subprocess.run(
                ["pgrep", "-P", ",".join(map(str, parents)), "sshd"], capture_output=True, text=True
            )
            parents = [int(word) for word in listed.stdout.split()]
            found += parents
        return found
