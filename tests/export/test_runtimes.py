from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeseg.export.executorch import ExecuTorch
from edgeseg.export.litert import LiteRT
from edgeseg.export.lowering import QNN
from edgeseg.export.runtimes import (
    MergeMode,
    family,
    get_runtime,
    is_available,
    require_converter,
    require_runner,
    runtime_names,
)
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
    with pytest.raises(InputError, match=r"'ncnn'.*; known are executorch, litert, coreml, onnx, coreml-ios17"):
        get_runtime("ncnn")


ON_REQUEST = (
    "coreml-ios17", "coreml-ios16", "coreai", "litert-small", "onnx-small",
    "executorch-coreml", "executorch-vulkan", "executorch-qnn",
)  # fmt: skip


@pytest.mark.parametrize("name", ON_REQUEST)
def test_runtimes_on_request_are_made_only_where_they_are_named(name: str) -> None:
    assert get_runtime(name).name == name
    assert name not in runtime_names()


def test_nothing_is_refused_of_what_the_default_export_makes() -> None:
    for runtime in map(get_runtime, runtime_names()):
        assert [runtime.refusal(precision, runtime.default_merge) for precision in (*runtime.precisions, "int8")] == [
            ""
        ] * (len(runtime.precisions) + 1)


@pytest.mark.parametrize(
    ("name", "precision", "merge", "reason"),
    [
        ("coreml", "float16", "graph", "cannot count a slot's pixels"),
        ("coreml", "palette4", "graph", "cannot count a slot's pixels"),
        ("coreml-ios16", "int8", "app", "came with iOS 17; take coreml-ios17 or coreml"),
        ("coreai", "int8", "app", "converts no quantize_per_tensor"),
        ("litert-small", "float32", "app", "has none here; take litert"),
        ("litert-small", "int8-full", "app", "has none here; take litert"),
        ("litert-small", "ternary-w", "app", "keep the weights float"),
        ("onnx-small", "float16", "app", "has none here; take onnx"),
        ("executorch-vulkan", "float32", "app", "only a GPU with Vulkan proves a file for Vulkan"),
        ("executorch-qnn", "float32", "app", "only a Snapdragon proves"),
    ],
)
def test_what_a_runtime_cannot_hold_is_refused_with_the_reason(
    name: str, precision: str, merge: MergeMode, reason: str
) -> None:
    assert reason in get_runtime(name).refusal(precision, merge)


def test_half_precision_cannot_count_past_2048() -> None:
    """Why Core ML's half-precision files leave the merge to the app."""
    assert np.float16(2048) + np.float16(1) == np.float16(2048)


def test_what_was_only_lowered_does_not_load() -> None:
    with pytest.raises(InputError, match=r"a\.pte was lowered, not run here; run it on a GPU with Vulkan"):
        get_runtime("executorch-vulkan").load(Path("a.pte"))


def test_lowering_for_qnn_without_its_sdk_says_where_it_is_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QNN_SDK_ROOT", raising=False)
    with pytest.raises(InputError, match=r"needs Qualcomm's AI Engine Direct SDK, .*set QNN_SDK_ROOT"):
        QNN.partitioner()


def test_missing_package_is_named_with_the_install_command() -> None:
    runtime = WithoutPackage()
    assert not is_available(runtime)
    with pytest.raises(InputError, match=r"no_such_converter .*pip install 'edgeseg\[executorch\]'"):
        require_converter(runtime)
    with pytest.raises(InputError, match=r"no_such_runner .*pip install 'edgeseg\[executorch\]'"):
        require_runner(runtime)


def test_other_forms_of_a_file_are_run_by_the_runtime_itself() -> None:
    assert [family(name) for name in ("litert", "litert-small", "coreml-ios16")] == ["litert", "litert", "coreml"]
    for name in ON_REQUEST:
        assert family(name) in (*runtime_names(), "coreai")


def test_second_interpreter_serves_where_the_first_is_missing() -> None:
    assert require_runner(OnABoard()) == "json"


def test_no_runtime_package_and_nothing_that_trains_is_imported_before_it_is_used() -> None:
    """`edgeseg --help` and a machine with one runtime depend on it, and how soon a benchmark's worker starts."""
    code = (
        "import sys; from edgeseg.export.runtimes import get_runtime, runtime_names;"
        f"[get_runtime(n) for n in [*runtime_names(), *{ON_REQUEST}]];"
        "heavy = {'executorch', 'litert_torch', 'ai_edge_litert', 'coremltools', 'onnx', 'onnxruntime', 'coreai',"
        " 'torchvision'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
