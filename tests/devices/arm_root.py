"""The file system of the virtual ARM device: python -m tests.devices.arm_root builds it once (2.6 CPU minutes).

Debian 13 for arm64 with its own adbd and sshd, Python, and the aarch64 wheels of the runtimes in the versions of
constraints.txt; beside it QEMU's user emulator of the same Debian (that of Debian 12 dies in these wheels).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from filelock import FileLock

from tests.devices.namespace import reason_not_here, spawn

BUILD = "python -m tests.devices.arm_root"
INSIDE = Path(__file__).with_name("inside.sh")
_LAYOUT = "1"  # counted up with the build steps
_SUITE = "trixie"
_PYTHON = "3.13"  # of that suite
_PACKAGES = "adbd,openssh-server,python3"
_WHEELS = ("numpy", "ai-edge-litert", "onnxruntime")
_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64")
_MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_TOOLS = ("debootstrap", "apt-get", "dpkg-deb")


def wheels() -> list[str]:
    """Requirements of the device, as constraints.txt pins them."""
    pins = Path(__file__).parents[2].joinpath("constraints.txt").read_text(encoding="utf-8")
    return [re.search(rf"^{name}==\S+", pins, re.MULTILINE)[0] for name in _WHEELS]  # type: ignore[index]


def folder() -> Path:
    """Where it lies, or would: `root` and `qemu-aarch64`; the name changes with what is put in."""
    recipe = "\n".join([_LAYOUT, _SUITE, _PACKAGES, _PYTHON, *wheels(), *_PLATFORMS])
    cache = Path(os.environ.get("EDGESEG_CACHE", Path.home() / ".cache" / "edgeseg"))
    return cache / f"arm-root-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"


def reason_not_built() -> str:
    """Why the file system is not there and cannot be built; empty if it is or can."""
    if folder().is_dir():
        return ""
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        return f"{BUILD} needs {', '.join(missing)}: apt-get install debootstrap"
    return "" if _KEYRING.is_file() else f"{BUILD} needs {_KEYRING}: apt-get install debian-archive-keyring"


def build() -> Path:
    """Builds it aside and renames it; does nothing where it is there. Of two processes the second waits.

    Raises:
        RuntimeError: This machine cannot, or a step failed; its log stays beside the folder.
    """
    done = folder()
    if done.is_dir():
        return done
    if reason := reason_not_here() or reason_not_built():
        raise RuntimeError(reason)
    done.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(done.with_suffix(".lock")):
        if not done.is_dir():
            _build(done)
    return done


def _build(done: Path) -> None:
    log = done.with_suffix(".log")
    aside = Path(tempfile.mkdtemp(prefix=f"{done.name}.", dir=done.parent))
    aside.chmod(0o755)
    try:
        _fetch_emulator(aside, log)
        _bootstrap(aside, log)
        _install_wheels(aside / "root", log)
        aside.rename(done)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _fetch_emulator(to: Path, log: Path) -> None:
    """QEMU of the suite, its signature checked by apt; the host's own packages and lists are not touched."""
    with tempfile.TemporaryDirectory(prefix="edgeseg-apt-") as name:
        apt = Path(name)
        for part in ("state/lists/partial", "cache/archives/partial"):
            (apt / part).mkdir(parents=True)
        (apt / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {_MIRROR} {_SUITE} main\n")
        options = {
            "Dir::Etc::SourceList": apt / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State": apt / "state",
            "Dir::State::Status": "/dev/null",
            "Dir::Cache": apt / "cache",
            "Acquire::Languages": "none",
            "APT::Sandbox::User": "root",
        }
        get = ["apt-get", *(f"-o{key}={value}" for key, value in options.items())]
        _run([*get, "update"], log)
        _run([*get, "download", "qemu-user"], log, cwd=apt)
        (package,) = apt.glob("qemu-user_*.deb")
        _run(["dpkg-deb", "--extract", str(package), str(apt / "unpacked")], log)
        shutil.move(apt / "unpacked" / "usr" / "bin" / "qemu-aarch64", to / "qemu-aarch64")


def _bootstrap(to: Path, log: Path) -> None:
    command = [INSIDE, "build", to / "qemu-aarch64", to / "root", _SUITE, _MIRROR, _PACKAGES]
    own_log = log.with_suffix(".debootstrap.log")
    code = spawn([str(part) for part in command], own_network=False, log=own_log).wait()
    if code:
        raise RuntimeError(f"debootstrap failed ({own_log}): {_last_line(own_log)}")
    own_log.unlink()


def _install_wheels(root: Path, log: Path) -> None:
    target = root / "usr" / "local" / "lib" / f"python{_PYTHON}" / "dist-packages"
    platforms = [option for platform in _PLATFORMS for option in ("--platform", platform)]
    pip = [sys.executable, "-m", "pip", "install", "--no-compile", "--only-binary=:all:", "--target", str(target)]
    _run([*pip, "--upgrade", "--python-version", _PYTHON, *platforms, *wheels()], log)


def _run(command: list[str], log: Path, cwd: Path | None = None) -> None:
    with log.open("ab") as words:
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=words, stderr=words, cwd=cwd).returncode
    if code:
        raise RuntimeError(f"{command[0]} failed ({log}): {_last_line(log)}")


def _last_line(log: Path) -> str:
    return (log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]


if __name__ == "__main__":
    print(build())
