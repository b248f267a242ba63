from __future__ import annotations

import subprocess
import sys

import pytest

from edgeseg.export.executorch import ExecuTorch
from edgeseg.export.litert import LiteRT
from edgeseg.export.runtimes import get_runtime, is_available, require_converter, require_runner, runtime_names
from edgeseg.structures import InputError


class WithoutPackage(ExecuTorch):
    converter_packages = ("no_such_converter",)
    runner_packages = ("no_such_runner",)


class OnABoard(LiteRT):
    runner_packages = ("no_such_runner", "json")


def test_four_runtimes_are_registered_under_their_names() -> None:
    assert runtime_names() == ["executorch", "litert", "coreml", "onnx"]
    assert [get_runtime(name).name for name in runtime_names()] == runtime_names()


def test_suffixes_tell_the_runtimes_apart() -> None:
    assert len({get_runtime(name).suffix for name in runtime_names()}) == len(runtime_names())


def test_unknown_runtime_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="'ncnn'; known are executorch, litert, coreml, onnx"):
        get_runtime("ncnn")


def test_missing_package_is_named_with_the_install_command() -> None:
    runtime = WithoutPackage()
    assert not is_available(runtime)
    with pytest.raises(InputError, match=r"no_such_converter .*pip install 'edgeseg\[executorch\]'"):
        require_converter(runtime)
    with pytest.raises(InputError, match=r"no_such_runner .*pip install 'edgeseg\[executorch\]'"):
        require_runner(runtime)


def test_second_interpreter_serves_where_the_first_is_missing() -> None:
    assert require_runner(OnABoard()) == "json"


def test_no_runtime_package_is_imported_before_it_is_used() -> None:
    """`edgeseg --help` and a machine with one runtime depend on it."""
    code = (
        "import sys; from edgeseg.export.runtimes import get_runtime, runtime_names;"
        "[get_runtime(n) for n in runtime_names()];"
        "heavy = {'executorch', 'litert_torch', 'ai_edge_litert', 'coremltools', 'onnx', 'onnxruntime'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
