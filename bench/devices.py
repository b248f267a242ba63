"""Addresses of devices, and what is connected."""

from __future__ import annotations

import os
import shutil
import threading
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeseg.bench.machine import FACTS, device_of, emulator
from edgeseg.bench.shell import Shell
from edgeseg.bench.transport_adb import AdbShell, attached_devices
from edgeseg.bench.transport_ios import connected_devices
from edgeseg.bench.transport_local import LocalShell
from edgeseg.bench.transport_ssh import SshShell
from edgeseg.config import config_from_dict
from edgeseg.structures import CheckError, InputError


@dataclass(frozen=True)
class Known:
    """devices.toml: what cannot be found by asking.

    Attributes:
        ssh: USER@HOST[:PORT] of each host.
        ssh_config: Configuration file for ssh (`ssh -F`) instead of the user's own.
        python: Python on the devices, such as `~/bench/bin/python3` of a virtual environment.
    """

    ssh: tuple[str, ...] = ()
    ssh_config: Path | None = None
    python: str = "python3"


def read_known(path: Path | None) -> Known:
    """Reads devices.toml; the user's own where none is given, nothing where that does not exist.

    Raises:
        InputError: A file that was given is missing; not TOML; an unknown key.
    """
    default = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "edgeseg" / "devices.toml"
    file = path or default
    if not file.is_file():
        if path is not None:
            raise InputError(f'{path} does not exist; it would hold lines like: ssh = ["pi@raspberrypi.local"]')
        return Known()
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is not TOML: {error}") from error
    return config_from_dict(Known, table, where=str(file))


def shell_of(address: str, known: Known, *, stop: threading.Event | None = None) -> Shell:
    """The way to a device by its address; nothing is opened yet.

    Raises:
        InputError: Not an address.
    """
    kind, _, rest = address.partition(":")
    if address == "local":
        return LocalShell(stop=stop)
    if kind == "adb" and rest:
        return AdbShell(rest, stop=stop)
    if kind == "ssh" and rest:
        return SshShell(rest, config=known.ssh_config, stop=stop)
    raise InputError(
        f"{address!r} is no device; write local, adb:SERIAL, ssh:USER@HOST[:PORT] or ios:UDID, as edgeseg devices lists"
    )


def list_devices(known: Known, ssh: Sequence[str] = ()) -> dict[str, Any]:
    """What is connected: this computer, what adb sees, hosts of devices.toml and of `ssh`, iPhones on a Mac.

    Returns:
        `devices`, a row each with its address `on` and `state` (`ready`, or why not); and `absent`, why a whole kind is
        missing.
    """
    rows: list[dict[str, Any]] = []
    absent: dict[str, str] = {}
    shells: list[Shell] = [LocalShell()]
    try:
        for attached in attached_devices():
            if attached.state == "device":
                shells.append(AdbShell(attached.serial))
            else:
                rows.append({"on": f"adb:{attached.serial}", "state": attached.state})
    except InputError as error:
        absent["adb"] = str(error)
    shells += [SshShell(host, config=known.ssh_config) for host in dict.fromkeys((*known.ssh, *ssh))]
    with ThreadPoolExecutor(max_workers=8) as pool:
        rows = [*pool.map(_row, shells), *rows]
    if shutil.which("xcrun"):
        try:
            rows += [
                {"on": f"ios:{phone.udid}", "state": phone.reason or "ready", "name": phone.name}
                for phone in connected_devices()
            ]
        except (InputError, CheckError) as error:
            absent["ios"] = str(error)
    return {"devices": rows, "absent": absent}


def _row(shell: Shell) -> dict[str, Any]:
    try:
        shell.require_connected()
        facts = shell.call(FACTS, doing="reading what it is").text
    except (InputError, CheckError) as error:
        return {"on": shell.name, "state": str(error)}
    return {"on": shell.name, "state": "ready", **asdict(device_of(facts)), "emulated": emulator(facts)}
