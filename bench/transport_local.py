"""This computer as a device."""

from __future__ import annotations

import threading

from edgeseg.bench.shell import Shell


class LocalShell(Shell):
    """The same folder, copies and limits as elsewhere, through `sh`."""

    parent = '"${TMPDIR:-/tmp}"'

    def __init__(self, *, stop: threading.Event | None = None) -> None:
        super().__init__("local", stop=stop)

    def client(self, text: str) -> list[str]:
        """See Shell."""
        return ["sh", "-c", text]

    def require_connected(self) -> None:
        """It is."""
