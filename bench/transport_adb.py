"""Android devices, through the adb client."""

from __future__ import annotations

import re
import subprocess
import threading
from dataclasses import dataclass

from edgeseg.bench.shell import PATIENCE, Shell
from edgeseg.structures import InputError

_SECONDS = 15 * PATIENCE
_INSTALL = "adb is not installed; install Android's platform-tools (Debian: apt install adb)"


@dataclass(frozen=True)
class Attached:
    """A row of `adb devices -l`.

    Attributes:
        serial: What `adb -s` takes.
        state: `device` where it can be used; `unauthorized`, `offline`, ...
        model: As adb names it; may be empty.
    """

    serial: str
    state: str
    model: str


class AdbShell(Shell):
    """A device by its serial, or by host:port over Wi-Fi."""

    parent = "/data/local/tmp/edgeseg"

    def __init__(self, serial: str, *, stop: threading.Event | None = None) -> None:
        super().__init__(f"adb:{serial}", stop=stop)
        self.serial = serial

    def client(self, text: str) -> list[str]:
        """See Shell."""
        return ["adb", "-s", self.serial, "shell", text]

    def require_connected(self) -> None:
        """See Shell."""
        if re.search(r":\d+$", self.serial):
            _adb("connect", self.serial)
        attached = attached_devices()
        state = next((row.state for row in attached if row.serial == self.serial), None)
        if state == "device":
            return
        if state == "unauthorized":
            raise InputError(
                f"{self.name} has not allowed this computer; unlock it and confirm the USB debugging question"
            )
        if state is not None:
            raise InputError(
                f"{self.name} is {state}; unplug it and plug it in again, or run: adb reconnect {self.serial}"
            )
        others = ", ".join(f"adb:{row.serial}" for row in attached) or "nothing"
        raise InputError(f"{self.name} is not connected; adb sees {others} (edgeseg devices)")


def attached_devices() -> list[Attached]:
    """What the adb server sees.

    Raises:
        InputError: No adb, or it does not answer.
    """
    _adb("start-server")
    return parse_devices(_adb("devices", "-l"))


def parse_devices(text: str) -> list[Attached]:
    """Rows of `adb devices -l`; the serial may hold blanks, the state stands before the first `key:value`."""
    rows = []
    for line in text.splitlines():
        found = re.match(
            r"(\S.*?)\s+(device|offline|unauthorized|authorizing|recovery|sideload|bootloader|no permissions)\b", line
        )
        if found and not line.startswith(("List of", "*")):
            model = re.search(r"\bmodel:(\S+)", line)
            rows.append(Attached(found[1], found[2], model[1] if model else ""))
    return rows


def _adb(*words: str) -> str:
    try:
        done = subprocess.run(
            ["adb", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
        )
    except FileNotFoundError as error:
        raise InputError(_INSTALL) from error
    except subprocess.TimeoutExpired as error:
        raise InputError(f"adb {words[0]} gave no answer within {_SECONDS:.0f} s; try: adb kill-server") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise InputError(f"adb {words[0]} failed: {said}")
    return done.stdout
