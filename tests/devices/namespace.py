"""Processes in namespaces of their own that vanish with whoever started them."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

_WAIT = 'read -r go && [ "$go" = go ] && exec "$@"'  # capabilities come with the exec after the ids are mapped


def reason_not_here() -> str:
    """Why this machine cannot start such processes; empty if it can."""
    if os.geteuid() != 0:
        return "a virtual device needs root"
    tools = ("unshare", "nsenter", "ip", "mount", "chroot")
    if missing := [tool for tool in tools if shutil.which(tool) is None]:
        return f"a virtual device needs {', '.join(missing)}: apt-get install util-linux iproute2"
    release = os.uname().release.split(".")
    if (int(release[0]), int(release[1].split("-")[0])) < (6, 7):
        return f"a virtual device needs Linux 6.7 (binfmt_misc of a user namespace), this is {os.uname().release}"
    return ""


def spawn(command: Sequence[str], *, own_network: bool, log: Path) -> subprocess.Popen[bytes]:
    """Starts a command as root of its own user, mount and process namespaces.

    It is process 1 there, so its end ends everything that it started; mounts and emulators that it registers are seen
    by nobody else. Its standard input stays open for as long as the caller lives: read it to notice a killed caller.

    Args:
        command: Program and arguments.
        own_network: Also a network of its own, with nothing in it but a loopback that is down.
        log: File for its words.

    Raises:
        RuntimeError: The namespaces could not be made.
    """
    spaces = ["--user", "--mount", "--pid", "--fork", "--kill-child", *(["--net"] if own_network else [])]
    with log.open("wb") as words:
        process = subprocess.Popen(
            ["unshare", *spaces, "sh", "-c", _WAIT, "sh", *command], stdin=subprocess.PIPE, stdout=words, stderr=words
        )
    assert process.stdin is not None
    own = os.readlink("/proc/self/ns/user")
    until = time.monotonic() + 10
    while os.readlink(f"/proc/{process.pid}/ns/user") == own:
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            raise RuntimeError(f"unshare made no namespaces: {log.read_text(errors='replace').strip()}")
        time.sleep(0.01)
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{process.pid}/{name}").write_text("0 0 4294967295")
    process.stdin.write(b"go\n")
    process.stdin.flush()
    return process
