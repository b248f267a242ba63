"""A device with a runner and artifacts on it, ready for requests."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from edgeseg.bench.machine import FACTS, STATE, device_of, emulator, state_of
from edgeseg.bench.measurement import DeviceState
from edgeseg.bench.shell import PATIENCE, Shell
from edgeseg.bench.transport_local import LocalShell
from edgeseg.bench.worker import Request, Result
from edgeseg.config import config_from_dict, config_to_dict
from edgeseg.export.bundle import DESCRIPTION
from edgeseg.export.runtimes import family
from edgeseg.structures import CheckError, InputError

NATIVE = "edgeseg-runner"
"""Executable at the top of a folder made from bench/native (docs/native.md)."""

_WORKER = (
    "edgeseg/__init__.py",
    "edgeseg/config.py",
    "edgeseg/enlarged_argmax.py",
    "edgeseg/merge.py",
    "edgeseg/structures.py",
    *(f"edgeseg/bench/{name}.py" for name in ("__init__", "tensors", "worker")),
    *(f"edgeseg/export/{name}.py" for name in ("__init__", "captured", "litert", "onnx", "runtimes")),
)
_NATIVE_RUNTIMES = ("executorch", "litert")
_PACKAGES = {"litert": ("ai_edge_litert", "tflite_runtime"), "onnx": ("onnxruntime",)}
_SECONDS = 600.0 * PATIENCE  # of a process beyond its timed calls: two loads, warm-up, slow devices


@dataclass(frozen=True)
class Deployed:
    """What a request on this device is made of.

    Attributes:
        path: Of the artifact, from the own folder.
        runtime: Registered name.
        image_size: (height, width) of the input.
    """

    path: str
    runtime: str
    image_size: tuple[int, int]


class Station:
    """One device in use; a context manager around its shell.

    Attributes:
        shell: The way to it.
        device: What it is.
        emulated: What emulates it, empty if nothing does.
        key: `Measurement.device_key`.
    """

    def __init__(
        self, shell: Shell, *, runner: Path | None = None, cpus: Sequence[int] = (), python: str = "python3"
    ) -> None:
        """Args:
        shell: Not yet opened.
        runner: Folder with the native runner; None = the Python worker.
        cpus: Processors to pin to; none = as the system likes.
        python: Python there; a leading ~ is its home.
        """
        if runner is not None and not (runner / NATIVE).is_file():
            raise InputError(f"{runner} holds no {NATIVE}; build it as docs/native.md says, and give its folder")
        self.shell = shell
        self.cpus = tuple(cpus)
        self._runner, self._python = runner, python
        self._sent: set[str] = set()
        self._command: list[str] = []
        self.key = "" if isinstance(shell, LocalShell) else hashlib.sha256(shell.name.encode()).hexdigest()[:12]

    def __enter__(self) -> Self:
        """Opens the shell and reads what the device is.

        Raises:
            InputError: It is not there, or has neither of the runners.
            CheckError: It failed.
        """
        self.shell.__enter__()
        try:
            facts = self.shell.call(FACTS, doing="reading what it is").text
            self.device, self.emulated = device_of(facts), emulator(facts)
            if unknown := set(self.cpus) - set(range(max(self.device.cores, 1))):
                raise InputError(f"{self.shell.name} has processors 0 to {self.device.cores - 1}, no {min(unknown)}")
            self._command = self._pinned(self._put_runner())
        except BaseException as error:
            self.shell.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        """Leaves the device as it was."""
        self.shell.__exit__(*raised)  # type: ignore[arg-type]

    @property
    def runner(self) -> str:
        """`Measurement.runner`."""
        return "native" if self._runner is not None else "python"

    def can_run(self, runtime: str) -> bool:
        """Whether the runner knows the runtime at all, installed or not."""
        if self._runner is not None:
            return family(runtime) in _NATIVE_RUNTIMES
        return isinstance(self.shell, LocalShell) or family(runtime) in _PACKAGES

    def deploy(self, path: Path, runtime: str, image_size: tuple[int, int]) -> Deployed:
        """Copies an artifact, and the bundle's description for its merge, unless they are there.

        Raises:
            InputError: The device has no runner for it.
            CheckError: No room there, or it arrived changed.
        """
        self._require_package(runtime)
        folder = f"bundle-{hashlib.sha256(str(path.resolve().parent).encode()).hexdigest()[:8]}"
        for source in (path, path.parent / DESCRIPTION):
            name = f"{folder}/{source.name}"
            if name not in self._sent and source.exists():
                self.shell.push(source, name)
                self._sent.add(name)
        return Deployed(f"{folder}/{path.name}", runtime, image_size)

    def run(
        self,
        deployed: Deployed,
        *,
        threads: int,
        seconds: float,
        seed: int,
        images: Path | None = None,
        answers: Path | None = None,
    ) -> Result:
        """One fresh process on the device.

        Args:
            deployed: From `deploy`.
            threads: Asked of the runtime.
            seconds: Timed calls.
            seed: Of the noise image.
            images: Safetensors file to answer instead of being timed.
            answers: Where the answers are put here.

        Raises:
            CheckError: The process died, its last words are in the message; or the device was lost.
        """
        request = Request(family(deployed.runtime), Path(deployed.path), deployed.image_size, threads, seconds, seed)
        if images is not None:
            self.shell.push(images, "images.safetensors")
            request = replace(request, images="images.safetensors", answers="answers.safetensors")
        doing = f"{'answering with' if images else 'timing'} {Path(deployed.path).name}"
        with tempfile.TemporaryDirectory(prefix="edgeseg-bench-") as folder:
            asked, answered = Path(folder, "request.json"), Path(folder, "result.json")
            asked.write_text(json.dumps(config_to_dict(request)), encoding="utf-8")
            self.shell.push(asked, "request.json")
            own = [f"OMP_NUM_THREADS={threads}", f"TMPDIR={self.shell.folder}"]  # ONNX Runtime leaves a file in TMPDIR
            words = ["env", *own, *self._command, "request.json", "result.json"]
            done = self.shell.run(words, seconds=_SECONDS + 2 * seconds, doing=doing)
            if done.code:
                raise CheckError(
                    f"{self.shell.name}: {doing} with {deployed.runtime} failed (exit {done.code}): {done.last_words}"
                )
            self.shell.fetch("result.json", answered)
            if answers is not None:
                self.shell.fetch("answers.safetensors", answers)
            return _result(answered, self.shell.name)

    def state(self) -> DeviceState:
        """What the device is like now."""
        return state_of(self.shell.call(STATE, doing="reading its state").text)

    def _put_runner(self) -> list[str]:
        if self._runner is not None:
            self.shell.push(self._runner, "runner")
            self.shell.call(f"chmod -R u+rwx runner && chmod +x runner/{NATIVE}", doing="preparing the runner")
            return [f"./runner/{NATIVE}"]
        if isinstance(self.shell, LocalShell):
            return [sys.executable, "-m", "edgeseg.bench.worker"]
        home = self.shell.call('echo "$HOME"', doing="looking for Python").text.strip()
        self._python = re.sub("^~(?=/)", home, self._python)
        done = self.shell.call(
            f"{shlex.quote(self._python)} -c 'import sys, numpy; assert sys.version_info >= (3, 11), sys.version'",
            doing="looking for Python",
            seconds=120,
        )
        if done.code:
            raise InputError(
                f"{self.shell.name} has no Python 3.11 with numpy ({done.last_words}); give the native runner's folder "
                "with --runner FOLDER (docs/native.md), or install it there: pip install numpy ai-edge-litert"
            )
        with tempfile.TemporaryDirectory(prefix="edgeseg-bench-") as folder:
            self.shell.push(write_worker(Path(folder, "worker.zip")), "worker.zip")
        return ["env", "PYTHONPATH=worker.zip", self._python, "-m", "edgeseg.bench.worker"]

    def _require_package(self, runtime: str) -> None:
        if self._runner is not None or isinstance(self.shell, LocalShell) or runtime in self._sent:
            return
        names = _PACKAGES[family(runtime)]
        code = f"import sys, importlib.util as u; sys.exit(not any(map(u.find_spec, {names})))"
        doing = f"looking for {runtime}"
        if self.shell.call(f"{shlex.quote(self._python)} -c {shlex.quote(code)}", seconds=120, doing=doing).code:
            way = f"pip install {names[0].replace('_', '-')}" if names else "use the native runner: --runner FOLDER"
            raise InputError(
                f"{self.shell.name} cannot run {runtime} with its Python; there: {way}, or leave it out with --runtimes"
            )
        self._sent.add(runtime)

    def _pinned(self, command: list[str]) -> list[str]:
        """`taskset MASK`, which util-linux and toybox both understand."""
        mask = sum(1 << cpu for cpu in set(self.cpus))
        return ["taskset", f"{mask:x}", *command] if mask else command


def write_worker(path: Path, names: Sequence[str] = _WORKER) -> Path:
    """The Python worker, or other files of edgeseg, as a zip file for another machine's or environment's Python."""
    root = Path(__file__).resolve().parents[1]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            source = root / name
            file.write(source if source.exists() else root / name.removeprefix("edgeseg/"), name)
    return path


def _result(path: Path, where: str) -> Result:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckError(f"{where}: the runner's result is not JSON ({error}); is it of this version?") from error
    return config_from_dict(Result, table, where=f"{where}: result.json")
