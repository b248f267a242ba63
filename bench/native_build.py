"""Builds the C++ runner and packs it with all it needs: python -m edgeseg.bench.native_build --preset host --out DIR.

The runtimes are those of the installed wheels, which carry C++ libraries; for another processor the same versions'
wheels are downloaded with pip. What comes out runs on any Linux of that processor: loader and C library are in it.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from edgeseg.structures import CheckError, InputError

SOURCES = Path(__file__).parent / "native"
PROGRAMS = ("edgeseg-runner", "edgeseg-spec")
_PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # cmake and ninja may be pip's

_LAUNCHER = """#!/bin/sh
# Runs bin/{program} with the loader and the libraries of this folder, none of the system's.
here=$(dirname "$(readlink -f "$0")")
exec "$here/{loader}" --library-path "$here/lib" "$here/bin/{program}" "$@"
"""


@dataclass(frozen=True)
class Preset:
    """What of CMakePresets.json can be packed.

    Attributes:
        machine: Processor it is for, as `uname -m` says it.
        compiler: Its C++ compiler.
        wheel_platforms: Tags of the wheels to download; none = the installed ones are for this processor.
        packages: Debian packages with the tools.
    """

    machine: str
    compiler: str
    wheel_platforms: tuple[str, ...]
    packages: str


_COMMON_PACKAGES = "cmake ninja-build nlohmann-json3-dev"
PRESETS = {
    "host": Preset(platform.machine(), "c++", (), f"{_COMMON_PACKAGES} g++"),
    "aarch64-linux": Preset(
        "aarch64",
        "aarch64-linux-gnu-g++",
        tuple(f"manylinux_2_{minor}_aarch64" for minor in (17, 26, 27, 28, 31, 34)),
        f"{_COMMON_PACKAGES} g++-aarch64-linux-gnu",
    ),
}
"""By name."""


@dataclass(frozen=True)
class Sdk:
    """Where one runtime's libraries come from.

    Attributes:
        runtime: As in edgeseg.export.runtimes.
        package: Its wheel's name.
        module: Folder in the wheel that CMakeLists.txt is told.
    """

    runtime: str
    package: str
    module: str


SDKS = (Sdk("executorch", "executorch", "executorch"), Sdk("litert", "ai-edge-litert", "ai_edge_litert"))
"""Runtimes that the runner can be built with."""


def missing(preset: str) -> str:
    """What this machine lacks to build, in one line with the command that helps; empty where nothing."""
    wanted = PRESETS[preset]
    tools = [tool for tool in ("cmake", "ninja", wanted.compiler, "readelf") if not shutil.which(tool, path=_PATH)]
    if not any(Path(prefix, "include/nlohmann/json.hpp").exists() for prefix in ("/usr", "/usr/local")):
        tools.append("nlohmann/json.hpp")
    if sys.platform != "linux":
        return "the runner is built on Linux"
    if not _versions():
        return "no runtime with C++ libraries is installed; pip install 'edgeseg[executorch,litert]'"
    return f"the runner needs {', '.join(tools)}; apt install {wanted.packages}" if tools else ""


def build(preset: str) -> Path:
    """Builds, or finds the same build of an earlier call.

    Args:
        preset: A key of `PRESETS`.

    Returns:
        A folder in the cache, `~/.cache/edgeseg/native` or below EDGESEG_CACHE: `edgeseg-runner` and `edgeseg-spec`
        start the programs, `build.json` says what is in it.

    Raises:
        InputError: Something is missing here.
        CheckError: A step failed.
    """
    if preset not in PRESETS:
        raise InputError(f"no preset {preset!r}; known are {', '.join(PRESETS)}")
    if reason := missing(preset):
        raise InputError(reason)
    cache = Path(os.environ.get("EDGESEG_CACHE", Path.home() / ".cache" / "edgeseg")) / "native"
    done = cache / f"{preset}-{_key(preset)}"
    if done.exists():
        return done
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{preset}.lock"):  # of two processes one builds
        if not done.exists():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                made, packed = Path(scratch, "build"), Path(scratch, "packed")
                sdks = _find_sdks(preset, cache)
                _compile(preset, sdks, made)
                _pack(preset, sdks, made, packed)
                packed.rename(done)
    return done


def _versions() -> dict[str, str]:
    """Installed version by runtime."""
    installed = [sdk for sdk in SDKS if importlib.util.find_spec(sdk.module)]
    return {sdk.runtime: importlib.metadata.version(sdk.package) for sdk in installed}


def _key(preset: str) -> str:
    """Changes with whatever changes the result."""
    compiler = _run([PRESETS[preset].compiler, "--version"]).splitlines()[0]
    digest = hashlib.sha256(f"{preset} {compiler} {_versions()}".encode())
    for path in (Path(__file__), *sorted([*SOURCES.glob("CMake*"), *SOURCES.glob("src/*")])):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _find_sdks(preset: str, cache: Path) -> dict[str, Path]:
    """Folder with the libraries by runtime."""
    versions = _versions()
    found = {}
    for sdk in (sdk for sdk in SDKS if sdk.runtime in versions):
        if PRESETS[preset].wheel_platforms:
            found[sdk.runtime] = _download(preset, sdk, versions[sdk.runtime], cache) / sdk.module
        else:
            spec = importlib.util.find_spec(sdk.module)
            assert spec is not None
            found[sdk.runtime] = Path(next(iter(spec.submodule_search_locations or [])))
    return found


def _download(preset: str, sdk: Sdk, version: str, cache: Path) -> Path:
    wheel = cache / "wheels" / f"{sdk.package}-{version}-{PRESETS[preset].machine}"
    if not wheel.exists():
        wheel.parent.mkdir(parents=True, exist_ok=True)
        platforms = [f"--platform={tag}" for tag in PRESETS[preset].wheel_platforms]
        with tempfile.TemporaryDirectory(dir=wheel.parent) as scratch:
            pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", f"--dest={scratch}"]
            _run([*pip, *platforms, f"{sdk.package}=={version}"])
            (file,) = Path(scratch).glob("*.whl")
            zipfile.ZipFile(file).extractall(Path(scratch, "wheel"))
            Path(scratch, "wheel").rename(wheel)
    return wheel


def _compile(preset: str, sdks: Mapping[str, Path], out: Path) -> None:
    settings = [f"-DEDGESEG_{runtime.upper()}={folder}" for runtime, folder in sdks.items()]
    settings.append(f"-DEDGESEG_LITERT_VERSION={_versions().get('litert', '')}")
    _run(["cmake", "--preset", preset, "-S", str(SOURCES), "-B", str(out), *settings])
    _run(["cmake", "--build", str(out)])


def _pack(preset: str, sdks: Mapping[str, Path], made: Path, out: Path) -> None:
    """Programs, the runtimes' modules, and every library that they need down to the loader."""
    folders = [made, *(folder for sdk in sdks.values() for folder in (sdk, sdk / "lib"))]
    (out / "bin").mkdir(parents=True)
    (out / "lib").mkdir()
    for program in PROGRAMS:
        shutil.copy2(made / program, out / "bin" / program)
    loader = _loader(made / PROGRAMS[0])
    todo = {loader, *(f"libedgeseg_{runtime}.so" for runtime in sdks)}
    todo |= {name for program in PROGRAMS for name in _needed(made / program)}
    while todo - (packed := {path.name for path in (out / "lib").iterdir()}):
        name = min(todo - packed)
        shutil.copyfile(_find_library(name, folders, PRESETS[preset].compiler), out / "lib" / name)
        todo |= _needed(out / "lib" / name)
    (out / "lib" / loader).chmod(0o755)
    for program in PROGRAMS:
        (out / program).write_text(_LAUNCHER.format(program=program, loader=f"lib/{loader}"), encoding="utf-8")
        (out / program).chmod(0o755)
    about = {"machine": PRESETS[preset].machine, "loader": f"lib/{loader}", "runtimes": _versions()}
    (out / "build.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _find_library(name: str, folders: Sequence[Path], compiler: str) -> Path:
    """Among what was built, in the wheels, then where the compiler looks."""
    for folder in folders:
        if (folder / name).exists():
            return folder / name
    found = Path(_run([compiler, f"-print-file-name={name}"]).strip())
    if not found.is_absolute():
        raise CheckError(f"no library {name} in the wheels or with {compiler}")
    return found


def _needed(path: Path) -> set[str]:
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", _run(["readelf", "--dynamic", str(path)])))


def _loader(program: Path) -> str:
    found = re.search(r"interpreter: .*/(.+)\]", _run(["readelf", "--program-headers", str(program)]))
    if found is None:
        raise CheckError(f"{program} names no loader")
    return found[1]


def _run(command: Sequence[str]) -> str:
    """What it printed; CheckError with its last line where it failed."""
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PATH": _PATH, "LC_ALL": "C"})
    if done.returncode != 0:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        errors = [line for line in said if "error" in line.lower()] or said[-1:]
        raise CheckError(f"{' '.join(command)} failed: {(errors or ['it said nothing'])[0]}")
    return done.stdout


def main(argv: Sequence[str] | None = None) -> int:
    """Builds a preset and copies it to a folder."""
    parser = argparse.ArgumentParser(prog="python -m edgeseg.bench.native_build", description=__doc__)
    parser.add_argument("--preset", choices=list(PRESETS), default="host")
    parser.add_argument("--out", type=Path, required=True, help="folder to make; it must not exist yet")
    args = parser.parse_args(argv)
    try:
        if args.out.exists():
            raise InputError(f"{args.out} exists; name a new folder")
        shutil.copytree(build(args.preset), args.out)
    except (InputError, CheckError) as error:
        print(f"native_build: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    size = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file()) / 2**20
    print(f"{args.out}: {size:.0f} MiB for {PRESETS[args.preset].machine}, {_versions()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
