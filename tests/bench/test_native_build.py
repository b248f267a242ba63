from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgeseg.bench import native_build
from edgeseg.bench.native_build import PRESETS, SOURCES, build, main, missing
from edgeseg.structures import CheckError, InputError

PRESET_FILE = json.loads((SOURCES / "CMakePresets.json").read_text(encoding="utf-8"))


def test_every_preset_that_is_packed_is_one_of_cmakes() -> None:
    named = {preset["name"]: preset for preset in PRESET_FILE["configurePresets"]}
    assert PRESETS.keys() == named.keys() - {"base", "android-ndk"}
    assert named["aarch64-linux"]["cacheVariables"]["CMAKE_CXX_COMPILER"] == PRESETS["aarch64-linux"].compiler


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="no preset 'riscv'; known are host, aarch64-linux"):
        build("riscv")


def test_missing_tools_are_named_with_the_packages_that_bring_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_build, "_PATH", "/nowhere")
    assert missing("aarch64-linux").startswith("the runner needs cmake, ninja, aarch64-linux-gnu-g++, readelf")
    assert missing("aarch64-linux").endswith("nlohmann-json3-dev g++-aarch64-linux-gnu")
    with pytest.raises(InputError, match=r"apt install cmake ninja-build nlohmann-json3-dev g\+\+$"):
        build("host")


def test_without_a_runtime_the_extras_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_build, "_versions", dict)
    assert missing("host") == "no runtime with C++ libraries is installed; pip install 'edgeseg[executorch,litert]'"


def test_an_existing_folder_is_refused_before_anything_is_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"native_build: {tmp_path} exists; name a new folder\n"


def test_a_failed_step_says_its_first_error(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "print('building'); print('x.cpp:3: error: no such thing'); print('stopped'); raise SystemExit(1)"
    with pytest.raises(CheckError, match=r"failed: x\.cpp:3: error: no such thing$"):
        native_build._run([sys.executable, "-c", lines])


def test_looking_for_runtimes_imports_none() -> None:
    code = "import sys; from edgeseg.bench.native_build import missing; missing('host'); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "executorch", "ai_edge_litert"} & set(json.loads(done.stdout.replace("'", '"')))


@pytest.mark.slow
@pytest.mark.skipif(missing("host") != "", reason=missing("host"))
def test_of_two_that_want_the_same_programs_one_builds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiled: list[str] = []
    compile_sources = native_build._compile

    def count(preset: str, sdks: Mapping[str, Path], out: Path) -> None:
        compiled.append(preset)
        compile_sources(preset, sdks, out)

    monkeypatch.setattr(native_build, "_compile", count)
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path))
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(build, ["host", "host"])
    assert (first, compiled) == (second, ["host"])
    assert {path.name for path in first.parent.iterdir()} <= {first.name, "host.lock"}
    assert subprocess.run([first / "edgeseg-runner"], capture_output=True).returncode == 2
