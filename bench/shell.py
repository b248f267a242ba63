"""A device reached by a client program that runs shell commands there: own folder, checked copies, time limits.

The folder is held by a *lease*: one session whose script waits on its standard input and, when that ends (this process
stopped, the cable was pulled, the daemon died), kills what runs in the folder and removes it. Nothing that happens to
this side can leave the folder behind; what a killed daemon takes its whole process group along for is removed by the
next session on the device.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shlex
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from edgeseg.export.bundle import checksum, size_bytes
from edgeseg.structures import CheckError, InputError


def _patience() -> float:
    asked = os.environ.get("EDGESEG_PATIENCE", "1")
    try:
        factor = float(asked)
    except ValueError:
        factor = 0.0
    if not 0 < factor < 1000:
        raise InputError(f"EDGESEG_PATIENCE={asked} is no factor above 0; it makes time limits toward devices longer")
    return factor


PATIENCE = _patience()
"""Factor on the time limits toward devices: an emulated one on a busy machine takes ten times as long."""

_CONNECT_SECONDS = 30.0 * PATIENCE
_CLEANUP_SECONDS = 10.0 * PATIENCE
_COPY_SECONDS, _COPY_BYTES_PER_SECOND = 30.0 * PATIENCE, 2**18  # a slow Wi-Fi link still moves 256 KiB/s
_BEAT_SECONDS, _LEASE_SECONDS = 5.0, round(30 * PATIENCE)  # the device gives a silent session up
_POLL_SECONDS = 0.2
_END = "edgeseg-end"

# Old folders first: of sessions whose script was killed with its daemon. `timeout` is missing on a Mac.
_LEASE = """
command -v timeout >/dev/null || timeout() {{ shift; "$@"; }}
base={parent}
mkdir -p "$base" || exit 1
for old in "$base"/edgeseg-run-*; do
  if [ -f "$old/.lease" ] && ! kill -0 "$(cat "$old/.lease")" 2>/dev/null; then rm -rf "$old"; fi
done
folder=$(mktemp -d "$base/edgeseg-run-XXXXXX") || exit 1
leave() {{ for pid in "$folder"/.*.pid; do [ -f "$pid" ] && kill -9 "$(cat "$pid")"; done; rm -rf "$folder"; }}
trap '' HUP PIPE
trap leave EXIT
trap exit TERM
echo $$ > "$folder/.lease" || exit 1
echo "{end}:$folder"
while [ -n "$(timeout {seconds} dd bs=1 count=1 2>/dev/null)" ]; do :; done
leave 2>/dev/null
trap - EXIT
[ -e "$folder" ] || echo "{end}:gone"
"""


class DeviceLost(CheckError):  # noqa: N818 - a name people read
    """The way to the device broke."""


class TimedOut(CheckError):  # noqa: N818
    """A command on the device took longer than it may."""


@dataclass(frozen=True)
class Done:
    """How a command on the device ended."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """Standard output."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def last_words(self) -> str:
        """The last line of the error output, else of the output."""
        return next((s.strip().splitlines()[-1] for s in (self.stderr, self.text) if s.strip()), "it said nothing")


class Shell(ABC):
    """A device while it is used; a context manager that opens and leaves the folder.

    Attributes:
        name: Address as the user wrote it; first in every error.
        parent: Shell word for the folder that the own one is made in.
        folder: Own folder on the device.
        stop: Set from another thread, it ends what runs.
    """

    parent: str

    def __init__(self, name: str, *, stop: threading.Event | None = None) -> None:
        self.name = name
        self.folder = ""
        self.stop = stop or threading.Event()
        self._lease: subprocess.Popen[bytes] | None = None
        self._closing = threading.Event()
        self._num_runs = 0

    @abstractmethod
    def client(self, text: str) -> list[str]:
        """Command line of the client that runs shell text on the device."""

    @abstractmethod
    def require_connected(self) -> None:
        """Raises InputError with what is connected instead, where this device is not."""

    def advice(self) -> str:
        """What to try, behind the message that it cannot be used."""
        return ""

    def __enter__(self) -> Self:
        """Takes a folder on the device.

        Raises:
            InputError: The device is not there, or no folder can be made on it.
        """
        self.require_connected()
        script = _LEASE.format(parent=self.parent, end=_END, seconds=_LEASE_SECONDS)
        self._lease = _start(self.client(script), stdin=subprocess.PIPE)
        line = _first_line(self._lease, _CONNECT_SECONDS)
        if not line.startswith(f"{_END}:"):
            error = _end(self._lease)
            words = (error.decode("utf-8", "replace").strip().splitlines() or ["no answer"])[-1]
            raise InputError(f"{self.name} cannot be used: {words}{self.advice()}")
        self.folder = line.partition(":")[2]
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives the folder back.

        Raises:
            CheckError: It could not be removed, and nothing else went wrong.
        """
        self._closing.set()
        assert self._lease is not None
        try:
            said, _ = self._lease.communicate(timeout=_CLEANUP_SECONDS)
        except subprocess.TimeoutExpired:
            _end(self._lease)
            said = b""
        if f"{_END}:gone".encode() not in said and kind is None:
            raise CheckError(
                f"{self.name}: {self.folder} could not be removed; the device does it within {_LEASE_SECONDS} s of "
                "silence, or when edgeseg uses it next"
            )

    def call(self, text: str, *, seconds: float = _CONNECT_SECONDS, doing: str, stdin: IO[bytes] | None = None) -> Done:
        """Runs shell text, in the own folder once there is one.

        Args:
            text: For `sh`.
            seconds: Time limit.
            doing: What it is for, in errors: "copying net.onnx".
            stdin: What it reads; nothing by default.

        Raises:
            DeviceLost: The client ended without the command's exit code.
            TimedOut: The limit passed.
        """
        place = f"cd {shlex.quote(self.folder)} || exit 97; " if self.folder else ""
        process = _start(self.client(f"({place}{text}\n); printf '\\n{_END}:%d\\n' $?"), stdin=stdin)
        try:
            stdout, stderr = self._wait(process, seconds, doing)
        except BaseException:
            _end(process)
            raise
        found = re.search(rb"\n" + _END.encode() + rb":(\d+)\r?\n$", stdout)
        words = stderr.decode("utf-8", "replace")
        if found is None:
            said = words.strip().splitlines() or [f"the client ended with {process.returncode}"]
            raise DeviceLost(f"{self.name} was lost while {doing}: {said[-1]}")
        return Done(int(found[1]), stdout[: found.start()], words)

    def run(self, command: Sequence[str], *, seconds: float, doing: str) -> Done:
        """Runs a program in the own folder; it dies with the session.

        Raises:
            DeviceLost, TimedOut: As `call`; the program is killed.
        """
        self._num_runs += 1
        pid = f".{self._num_runs}.pid"
        text = f"sh -c 'echo $$ > {pid}; exec \"$@\"' sh {shlex.join(command)}; code=$?; rm -f {pid}; exit $code"
        try:
            return self.call(text, seconds=seconds, doing=doing)
        except DeviceLost:  # the lease's script kills it
            raise
        except BaseException:
            self._kill(pid)
            raise

    def push(self, source: Path, name: str) -> None:
        """Copies a file, or a folder's files, into the own folder and compares sha256 there with sha256 here.

        Raises:
            CheckError: No room, or what arrived is not what was sent.
            DeviceLost, TimedOut: As `call`.
        """
        if source.is_dir():
            for file in sorted(source.rglob("*")):
                if file.is_file():
                    self.push(file, f"{name}/{file.relative_to(source).as_posix()}")
            return
        target = shlex.quote(name)
        seconds = _COPY_SECONDS + size_bytes(source) / _COPY_BYTES_PER_SECOND
        with source.open("rb") as data:
            done = self.call(
                f'mkdir -p "$(dirname {target})" && cat > {target}',
                seconds=seconds,
                doing=f"copying {name}",
                stdin=data,
            )
        if done.code:
            raise CheckError(f"{self.name}: copying {name} failed: {done.last_words}")
        if (arrived := self._sha256(name)) != checksum(source):
            raise CheckError(
                f"{self.name}: {name} arrived changed (sha256 {arrived[:12]}...); check the cable, try again"
            )

    def fetch(self, name: str, target: Path) -> None:
        """Copies a file from the own folder, with the same comparison.

        Raises:
            CheckError: It is not there, or changed on the way.
            DeviceLost, TimedOut: As `call`.
        """
        sent = self._sha256(name)
        done = self.call(f"cat {shlex.quote(name)}", seconds=600, doing=f"fetching {name}")
        target.write_bytes(done.stdout)
        if checksum(target) != sent:
            raise CheckError(f"{self.name}: {name} changed on the way here; check the cable, try again")

    def files(self) -> list[str]:
        """Files in the own folder, relative."""
        done = self.call("find . -type f", doing="listing files")
        return sorted(line.removeprefix("./") for line in done.text.splitlines() if not line.startswith("./."))

    def _sha256(self, name: str) -> str:
        done = self.call(
            f"if command -v sha256sum >/dev/null; then sha256sum {shlex.quote(name)}; "
            f"else shasum -a 256 {shlex.quote(name)}; fi",
            seconds=120,
            doing=f"checking {name}",
        )
        if done.code:
            raise CheckError(f"{self.name}: {name} cannot be read there: {done.last_words}")
        return done.text.split()[0]

    def _wait(self, process: subprocess.Popen[bytes], seconds: float, doing: str) -> tuple[bytes, bytes]:
        until = time.monotonic() + seconds
        while True:
            try:
                return process.communicate(timeout=_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                if self.stop.is_set():
                    raise CheckError(f"{self.name}: stopped while {doing}") from None
                if self._lease is not None and self._lease.poll() is not None and not self._closing.is_set():
                    raise DeviceLost(f"{self.name} was lost while {doing}: its session ended") from None
                if time.monotonic() > until:
                    raise TimedOut(f"{self.name}: {doing} took more than {seconds:.0f} s; is it stuck?") from None

    def _kill(self, pid: str) -> None:
        process = _start(self.client(f"kill -9 $(cat {shlex.quote(self.folder)}/{pid})"), stdin=None)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_CLEANUP_SECONDS / 2)
        _end(process)

    def _beat(self) -> None:
        assert self._lease is not None
        assert self._lease.stdin is not None
        while not self._closing.wait(_BEAT_SECONDS):
            try:
                self._lease.stdin.write(b".")
                self._lease.stdin.flush()
            except (OSError, ValueError):  # the session ended; whoever waits sees it
                return


def _start(command: Sequence[str], *, stdin: IO[bytes] | int | None) -> subprocess.Popen[bytes]:
    """A client in a session of its own: Ctrl-C reaches this process, which then ends the client in order."""
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise InputError(f"{command[0]} is not installed; install it, or put it on the PATH") from error


def _end(process: subprocess.Popen[bytes]) -> bytes:
    """Kills a client with what it started, and gives its error output, if nothing else holds that open.

    ssh's first connection does, for all that share it.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        return process.communicate(timeout=_POLL_SECONDS)[1]
    except subprocess.TimeoutExpired:
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.wait()
        return b""


def _first_line(process: subprocess.Popen[bytes], seconds: float) -> str:
    """The first line of the output; what came until the limit or the end otherwise."""
    assert process.stdout is not None
    said = b""
    until = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while b"\n" not in said and selector.select(max(0.0, until - time.monotonic())):
            block = process.stdout.read1(4096)  # type: ignore[attr-defined]
            if not block:
                break
            said += block
    return said.partition(b"\n")[0].decode("utf-8", "replace").strip()
