"""Which artifacts an export makes, and what it refuses before any work."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from edgeseg.export import plan
from edgeseg.export.coreml import CoreML
from edgeseg.export.litert import LiteRT
from edgeseg.export.onnx import OnnxRuntime
from edgeseg.export.plan import plan_export
from edgeseg.export.runtimes import MergeMode, Runtime
from edgeseg.structures import InputError


class Halving(LiteRT):
    """Lowers a float network to float12, with the merge in the app only."""

    precisions = ("float32", "float12")
    default_merge: MergeMode = "graph"

    def refusal(self, precision: str, merge: MergeMode) -> str:
        return "its argmax is 12 bits wide" if (precision, merge) == ("float12", "graph") else ""


class Plain(OnnxRuntime):
    precisions = ("float32",)
    default_merge: MergeMode = "graph"

    def refusal(self, precision: str, merge: MergeMode) -> str:
        return ""


class NotInstalled(CoreML):
    converter_packages = ("no_such_converter",)


RUNTIMES: dict[str, Runtime] = {"litert": Halving(), "onnx": Plain()}


@pytest.fixture(autouse=True)
def two_runtimes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "runtime_names", lambda: list(RUNTIMES))
    monkeypatch.setattr(plan, "get_runtime", lambda name: RUNTIMES[name])


def planned(networks: Sequence[str] = ("float32", "int8"), **words: Sequence[str]) -> list[str]:
    made = plan_export(networks, name="street", image_size=(64, 96), **words)
    return [f"{job.runtime.name} {job.precision} of {job.source}, {job.merge}" for job in made.jobs]


def test_every_network_goes_to_every_runtime_unless_told_otherwise() -> None:
    assert planned() == [
        "litert float32 of float32, graph",
        "onnx float32 of float32, graph",
        "litert int8 of int8, graph",
        "onnx int8 of int8, graph",
    ]


def test_file_name_says_model_size_precision_runtime_and_merge() -> None:
    made = plan_export(["int8"], name="street", image_size=(64, 96), runtimes=["litert"], merges=["app"])
    assert [job.file for job in made.jobs] == ["street-64x96.int8.litert.app.tflite"]


def test_runtimes_precisions_and_merges_are_picked_and_each_is_made_once() -> None:
    assert planned(runtimes=["litert", "litert"], precisions=["int8"], merges=["graph", "app", "auto"]) == [
        "litert int8 of int8, graph",
        "litert int8 of int8, app",
    ]


def test_one_runtime_may_have_its_merge_elsewhere() -> None:
    made = plan_export(["int8"], name="x", image_size=(64, 64), merges={"litert": "app"})
    assert [(job.runtime.name, job.merge) for job in made.jobs] == [("litert", "app"), ("onnx", "graph")]


def test_a_precision_that_a_runtime_makes_is_made_of_the_float_network() -> None:
    made = plan_export(
        ["float32", "int8"],
        name="x",
        image_size=(64, 64),
        runtimes=["litert"],
        precisions=["int8", "float12"],
        merges=["app"],
    )
    assert [(job.precision, job.source) for job in made.jobs] == [("int8", "int8"), ("float12", "float32")]
    assert made.precisions == ("int8", "float12")
    assert made.sources == ("int8", "float32")


def test_a_runtime_that_nobody_named_is_left_out_aloud() -> None:
    made = plan_export(["float32"], name="x", image_size=(64, 64), precisions=["float12"], merges=["app"])
    assert [job.runtime.name for job in made.jobs] == ["litert"]
    assert made.left_out == ("onnx holds no float12 with the merge in the app: of a float32 network it makes float32",)


@pytest.mark.parametrize(
    "words, message",
    [
        ({"precisions": ["float12"], "runtimes": ["onnx", "litert"], "merges": ["app"]}, "^onnx holds no float12 "),
        ({"precisions": ["float12"], "runtimes": ["litert"]}, "merge in the graph: its argmax is 12 bits wide$"),
        ({"precisions": ["float12"], "merges": ["graph"]}, "its argmax is 12 bits wide; onnx holds no float12"),
        (
            {"precisions": ["flaot32"]},
            r"no precision 'flaot32' here \(did you mean 'float32'\?\); there are float32, int8",
        ),
        ({"merges": ["grpah"]}, r"no merge 'grpah' \(did you mean 'graph'\?\); it is graph, app or auto"),
    ],
)
def test_what_a_named_runtime_or_every_runtime_refuses_is_refused(words: dict[str, list[str]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        planned(**words)


def test_without_a_float_network_nothing_is_made_of_it() -> None:
    with pytest.raises(InputError, match="no precision 'float12' here; there are int8; edgeseg quantize makes more"):
        planned(["int8"], precisions=["float12"])


def test_missing_package_is_refused_with_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNTIMES, "coreml", NotInstalled())
    with pytest.raises(
        InputError, match=r"needs the package no_such_converter to convert; pip install 'edgeseg\[coreml\]"
    ):
        planned()
