"""Linux devices and other computers, through the OpenSSH client."""

from __future__ import annotations

import re
import shlex
import tempfile
import threading
from pathlib import Path
from types import TracebackType

from edgeseg.bench.shell import Shell
from edgeseg.structures import InputError

_OPTIONS = {
    "BatchMode": "yes",  # a question for a password would wait for ever
    "ConnectTimeout": "10",
    "ServerAliveInterval": "2",  # a host that says nothing any more is noticed within 8 s
    "ServerAliveCountMax": "3",
    "LogLevel": "ERROR",
}


class SshShell(Shell):
    """A host by USER@HOST[:PORT]; keys and known hosts are ssh's own business.

    The lease's connection carries the other commands too: one login per session, and all of it ends at once.
    """

    parent = '"${TMPDIR:-/var/tmp}"'

    def __init__(self, address: str, *, config: Path | None = None, stop: threading.Event | None = None) -> None:
        super().__init__(f"ssh:{address}", stop=stop)
        found = re.fullmatch(r"([\w.][\w.-]*@)?([\w.][\w.-]*|\[[0-9a-fA-F:%.]+\])(:(\d+))?", address)
        if found is None:
            raise InputError(f"ssh:{address} is not ssh:USER@HOST or ssh:USER@HOST:PORT")
        self.host, self.port = (found[1] or "") + found[2].strip("[]"), found[4]
        self.config = config
        self._sockets: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> SshShell:
        """See Shell."""
        self._sockets = tempfile.TemporaryDirectory(prefix="edgeseg-", dir="/tmp")  # a socket's path is short
        try:
            super().__enter__()
        except BaseException:
            self._sockets.cleanup()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See Shell."""
        try:
            super().__exit__(kind, error, trace)
        finally:
            assert self._sockets is not None
            self._sockets.cleanup()

    def client(self, text: str) -> list[str]:
        """See Shell; `sh` whatever the login shell is."""
        options = dict(_OPTIONS)
        if self._sockets is not None:
            options |= {"ControlPath": f"{self._sockets.name}/c", "ControlMaster": "no" if self.folder else "yes"}
        words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        words += ["-F", str(self.config)] if self.config else []
        words += ["-p", self.port] if self.port else []
        return ["ssh", *words, "-T", self.host, f"exec sh -c {shlex.quote(text)}"]

    def require_connected(self) -> None:
        """The login itself shows it."""

    def advice(self) -> str:
        """See Shell."""
        port = f"-p {self.port} " if self.port else ""
        return f"; try it by hand: ssh {port}{self.host}"
