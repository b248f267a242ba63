"""Real conversions, run by the real runtimes."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator
from torch import nn

from edgeseg.config import Config, DataConfig, MergeConfig
from edgeseg.export.api import Progress, export_bundle, load_predictor
from edgeseg.export.bundle import SCHEMA, open_bundle
from edgeseg.export.graph import DeployedGraph
from edgeseg.export.ladder import verify_bundle
from edgeseg.export.plan import Job
from edgeseg.export.program import Conversions, export_program
from edgeseg.export.runtimes import get_runtime, runtime_names
from edgeseg.merge import merge_slots
from edgeseg.structures import Category, CheckError, InputError, Slots
from tests.export.toy import Chain, ToySlots, toy_float, toy_images, toy_int8

SIZE = (64, 64)
CATEGORIES = tuple(Category(10 * i, f"category {i}", i % 2 == 0, (i, i, i)) for i in range(9))
CONFIG = Config(
    data=DataConfig(image_size=SIZE), merge=MergeConfig(thing_threshold=0.25, stuff_threshold=0.2, min_area=4)
)


@pytest.fixture(scope="module")
def model() -> ToySlots:
    return toy_float(size=SIZE, n=8)


@pytest.mark.slow
@pytest.mark.parametrize("name", runtime_names())
def test_integer_layers_are_bit_exact(name: str, tmp_path: Path) -> None:
    """Biases are multiples of input scale x weight scale, so torch's float sums and int32 sums are the same numbers."""
    torch.manual_seed(3)
    chain = toy_int8(Chain(), toy_images(4, (32, 32), seed=4))
    graph = DeployedGraph(chain, merge="app", config=CONFIG.merge, is_thing=[True])
    runtime = get_runtime(name)
    path = tmp_path / f"chain{runtime.suffix}"
    job = Job(runtime, "int8", "int8", "app", path.name)
    with Conversions(tmp_path, tmp_path, num_workers=1) as conversions:
        conversions.submit(export_program(graph, runtime, (32, 32)), job, path).result()
    predict = runtime.load(path)
    for image in toy_images(3, (32, 32), seed=5):
        outputs = predict(image[None])
        wanted = chain(torch.from_numpy(image).permute(2, 0, 1)[None].float())
        for output, expected, step in (
            (outputs["mask_logits"], wanted.mask_logits, chain.get_submodule("last.out").scale),
            (outputs["class_logits"], wanted.class_logits, chain.get_submodule("class_out").scale),
        ):
            assert len(expected.unique()) > 20
            np.testing.assert_array_equal(np.round(output / step), np.round(expected.numpy() / step))


@pytest.mark.slow
@pytest.mark.timeout(1800)  # eight conversions; 768 s were seen on a machine under load
def test_bundle_holds_a_verified_artifact_per_runtime_and_precision(
    model: ToySlots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Random weights put many pixels near a tie between slots; the floor of 0.99 is for trained networks.
    monkeypatch.setattr("edgeseg.export.verify.QUANTIZED_FLOOR", 0.95)
    models = {"float32": model, "int8": toy_int8(copy.deepcopy(model), toy_images(8, SIZE, seed=5))}
    seen: list[Progress] = []
    out = export_bundle(
        models,
        name="toy",
        config=CONFIG,
        categories=CATEGORIES,
        golden_images=toy_images(3, SIZE, seed=9),
        out=tmp_path / "toy.edgeseg",
        metrics={"float32": {"pq": 0.5}},
        on_progress=seen.append,
    )
    assert [progress.done for progress in seen] == list(range(seen[0].total + 1))
    assert [state.step for state in seen][:3] == [
        "torch's answers in float32",
        "torch's answers in int8",
        f"tracing {open_bundle(out).artifacts[0].file}",
    ]
    assert {state.step.split()[0] for state in seen} == {
        "torch's",
        "tracing",
        "converting",
        "verifying",
        out.name + ":",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy.edgeseg"]
    bundle = open_bundle(out)
    assert {(artifact.runtime, artifact.precision) for artifact in bundle.artifacts} == {
        (runtime, precision) for runtime in runtime_names() for precision in models
    }
    for artifact in bundle.artifacts:
        words = f"64x64.{artifact.precision}.{artifact.runtime}.{artifact.merge}"
        assert artifact.file == f"toy-{words}{get_runtime(artifact.runtime).suffix}"
        assert artifact.merge == get_runtime(artifact.runtime).default_merge
    table = json.loads((out / "bundle.json").read_text())
    assert list(Draft202012Validator(json.loads(SCHEMA.read_text())).iter_errors(table)) == []
    assert set(json.loads((out / "verify.json").read_text())) == {artifact.file for artifact in bundle.artifacts}
    for artifact in bundle.artifacts:
        assert artifact.verify.num_segments > 6  # three images of several segments: equal maps mean something
        float_twin = bundle.find(artifact.runtime, "float32")
        assert artifact.precision == "float32" or artifact.bytes < 0.8 * float_twin.bytes
    for name in ("executorch", "litert"):
        coverage = bundle.find(name, "float32").coverage
        assert coverage.num_delegates is not None
        assert coverage.outside is not None
        assert 1 <= coverage.num_delegates <= 10
        assert not {"conv", "CONV_2D", "convolution", "MAXIMUM", "maximum"} & set(coverage.outside)

    image = toy_images(1, SIZE, seed=77)[0]  # not a golden one
    slots = model(torch.from_numpy(image).permute(2, 0, 1)[None].float())
    is_thing = [category.is_thing for category in CATEGORIES]
    wanted = merge_slots(slots[0][0].numpy(), slots[1][0].numpy(), config=CONFIG.merge, is_thing=is_thing)
    for runtime in runtime_names():
        merged = load_predictor(out, runtime=runtime, precision="float32")(image)
        assert (merged.slot_map == wanted.slot_map).mean() >= 0.999
        np.testing.assert_array_equal(merged.slot_category, wanted.slot_category)
    with pytest.raises(InputError, match=r"takes uint8 \(64, 64, 3\)"):
        load_predictor(out, runtime="onnx")(image[:32])
    assert [proof.faults for proof in verify_bundle(out).artifacts] == [()] * len(bundle.artifacts)


class WrongNormalisation(nn.Module):
    """The commonest export bug: the graph divides by 255 what the caller has divided already."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor) -> Slots:
        slots: Slots = self.model(image / 255.0)
        return slots


@pytest.mark.slow
def test_artifact_that_differs_from_torch_is_not_left_behind(
    model: ToySlots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class BrokenGraph(DeployedGraph):
        def __init__(self, model: nn.Module, **arguments: object) -> None:
            super().__init__(WrongNormalisation(model), **arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("edgeseg.export.api.DeployedGraph", BrokenGraph)
    with pytest.raises(CheckError, match=r"toy-64x64\.float32\.onnx\.graph\.onnx differs from the torch model: 0\.\d+"):
        export_bundle(
            {"float32": model},
            name="toy",
            config=CONFIG,
            categories=CATEGORIES,
            golden_images=toy_images(2, SIZE, seed=9),
            out=tmp_path / "toy.edgeseg",
            runtimes=["onnx"],
            merges=["graph"],
        )
    assert list(tmp_path.iterdir()) == []


class Unconvertible(nn.Module):
    """A Bessel function, which ONNX has no operator for."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor) -> Slots:
        class_logits, mask_logits = self.model(image)
        return Slots(class_logits, torch.special.bessel_j1(mask_logits))


@pytest.mark.slow
def test_failed_conversion_keeps_its_log_and_no_bundle(model: ToySlots, tmp_path: Path) -> None:
    log = tmp_path / "toy-64x64.float32.onnx.graph.onnx.log"
    with pytest.raises(
        CheckError, match=r"converting toy-64x64\.float32\.onnx\.graph\.onnx for onnx failed: .*; its log is"
    ):
        export_bundle(
            {"float32": Unconvertible(model)},
            name="toy",
            config=CONFIG,
            categories=CATEGORIES,
            golden_images=toy_images(1, SIZE),
            out=tmp_path / "toy.edgeseg",
            runtimes=["onnx"],
            merges=["graph"],
        )
    assert list(tmp_path.iterdir()) == [log]
    assert "bessel_j1" in log.read_text()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"runtimes": ["ncnn"]}, "no runtime named 'ncnn'"),
        ({"out": Path("toy.zip")}, "must be called NAME.edgeseg"),
        ({"name": "my/toy"}, "goes into file names"),
        ({"golden_images": []}, "no golden images"),
        ({"golden_images": [np.zeros((32, 32, 3), np.uint8)]}, r"must be uint8 \(64, 64, 3\)"),
        ({"golden_images": [np.zeros((64, 64, 3), np.float32)]}, "one is float32"),
        ({"models": {}}, "no model was given"),
    ],
)
def test_bad_request_is_refused_before_any_work(change: dict[str, object], message: str, tmp_path: Path) -> None:
    request: dict[str, object] = {
        "models": {"float32": nn.Identity()},
        "name": "toy",
        "config": CONFIG,
        "categories": CATEGORIES,
        "golden_images": toy_images(1, SIZE),
        "out": tmp_path / "toy.edgeseg",
        "runtimes": ["onnx"],
    }
    with pytest.raises(InputError, match=message):
        export_bundle(**request | change)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_existing_folder_is_replaced_only_on_request_and_only_if_it_is_a_bundle(tmp_path: Path) -> None:
    out = tmp_path / "toy.edgeseg"
    out.mkdir()
    request = {"name": "toy", "config": CONFIG, "categories": CATEGORIES, "golden_images": toy_images(1, SIZE)}
    with pytest.raises(InputError, match="exists"):
        export_bundle({"float32": nn.Identity()}, out=out, runtimes=["onnx"], **request)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="is no bundle"):
        export_bundle({"float32": nn.Identity()}, out=out, runtimes=["onnx"], overwrite=True, **request)  # type: ignore[arg-type]


def test_merge_thresholds_are_part_of_the_graph(model: ToySlots) -> None:
    """A score can't exceed 1, so with thresholds above 1 nothing is kept."""
    merge = dataclasses.replace(CONFIG.merge, thing_threshold=1.5, stuff_threshold=1.5)
    graph = DeployedGraph(model, merge="graph", config=merge, is_thing=[c.is_thing for c in CATEGORIES]).eval()
    slot_map, _, _ = graph(torch.from_numpy(toy_images(1, SIZE)[0])[None])
    assert slot_map.unique().tolist() == [255]
