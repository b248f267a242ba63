"""A real ONNX file whose cost is known, and a bundle around it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgeseg.bench.protocol import Target
from edgeseg.config import Config, config_to_dict
from edgeseg.export.bundle import Artifact, Bundle, Verdict, checksum, size_bytes, to_table
from edgeseg.export.runtimes import Coverage, MergeMode
from edgeseg.structures import Category

SIZE = (64, 64)
CATEGORIES = (Category(1, "car", True, (200, 0, 0)), Category(2, "road", False, (90, 90, 90)))


def write_onnx(path: Path, *, num_products: int, width: int = 512) -> Target:
    """A file with the deployed graph's input and outputs that multiplies square matrices on the way."""
    onnx = pytest.importorskip("onnx", reason="pip install 'edgeseg[onnx]'")
    pytest.importorskip("onnxruntime", reason="pip install 'edgeseg[onnx]'")
    helper, kinds = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=kinds.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["weight", "mean"], ["x0"]),
    ]
    nodes += [helper.make_node("MatMul", [f"x{i}", "weight"], [f"x{i + 1}"]) for i in range(num_products)]
    nodes += [
        helper.make_node("Cast", [f"x{num_products}"], ["slot_map"], to=kinds.UINT8),
        helper.make_node("Cast", ["mean"], ["slot_category"], to=kinds.INT32),
        helper.make_node("Identity", ["mean"], ["slot_score"]),
    ]
    outputs = [
        helper.make_tensor_value_info("slot_map", kinds.UINT8, [width, width]),
        helper.make_tensor_value_info("slot_category", kinds.INT32, []),
        helper.make_tensor_value_info("slot_score", kinds.FLOAT, []),
    ]
    image = helper.make_tensor_value_info("image", kinds.UINT8, [1, *SIZE, 3])
    weight = onnx.numpy_helper.from_array(np.eye(width, dtype=np.float32), "weight")
    graph = helper.make_graph(nodes, "products", [image], outputs, [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return Target(path, "tiny.edgeseg", path.name, "0" * 64, "onnx", "float32", "graph", SIZE)


def write_bundle(folder: Path) -> Path:
    """A bundle of one ONNX file that runs and one Core ML file that only a Mac could."""
    path = folder / "tiny.edgeseg"
    path.mkdir()
    write_onnx(path / "tiny.float32.onnx", num_products=2, width=64)
    (path / "tiny.float32.mlpackage").write_text("for a Mac")
    config = Config()
    bundle = Bundle(
        path=path,
        name="tiny",
        image_size=SIZE,
        num_slots=4,
        categories=CATEGORIES,
        merge=config.merge,
        config=config_to_dict(config),
        metrics={},
        tools={},
        licence="CC0-1.0",
        artifacts=(
            _artifact(path / "tiny.float32.onnx", "onnx", "graph"),
            _artifact(path / "tiny.float32.mlpackage", "coreml", "app"),
        ),
        provenance={"time_utc": "2026-01-31T12:00:00+00:00", "commit": ""},
    )
    (path / "bundle.json").write_text(json.dumps(to_table(bundle, files={})), encoding="utf-8")
    return path


def _artifact(path: Path, runtime: str, merge: MergeMode) -> Artifact:
    return Artifact(
        file=path.name,
        runtime=runtime,
        precision="float32",
        merge=merge,
        input="image_uint8_nhwc",
        bytes=size_bytes(path),
        sha256=checksum(path),
        coverage=Coverage("CPU", 1, {}, {}),
        verify=Verdict(1.0, 1.0, 1, 1, None, runtime),
    )
