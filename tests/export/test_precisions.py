"""What runtimes make of a float32 network: half-precision and palettized files, and Core AI."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeseg.config import MergeConfig
from edgeseg.export.graph import DeployedGraph
from edgeseg.export.program import export_program
from edgeseg.export.runtimes import OUTPUT_NAMES, MergeMode, get_runtime, is_available
from tests.export.toy import QuantWeight, ToySlots, toy_float, toy_images

SIZE = (64, 64)
IMAGE = toy_images(1, SIZE, seed=3)[0]


@pytest.fixture(scope="module")
def model() -> ToySlots:
    return toy_float(size=SIZE, n=8)


def converted(model: nn.Module, name: str, precision: str, path: Path, merge: MergeMode = "app") -> Path:
    runtime = get_runtime(name)
    if not is_available(runtime):
        pytest.skip(f"the packages of {name} are missing: pip install 'edgeseg[{runtime.pip_extra}]'")
    graph = DeployedGraph(model, merge=merge, config=MergeConfig(thing_threshold=0.25), is_thing=[True] * 9)
    path = path / f"{precision}.{merge}{runtime.suffix}"
    runtime.convert(export_program(graph, runtime, SIZE), OUTPUT_NAMES[merge], path, precision=precision)
    return path


def mask_logits(model: nn.Module) -> np.ndarray:
    return model(torch.from_numpy(IMAGE).permute(2, 0, 1)[None].float())[1].numpy()


def is_float32(path: Path) -> dict[str, set[bool]]:
    """By operator of an ML program, whether its results are float32."""
    import coremltools as ct

    main = ct.utils.load_spec(str(path)).mlProgram.functions["main"]
    found: dict[str, set[bool]] = {}
    for op in main.block_specializations[main.opset].operations:
        types = {output.type.tensorType.dataType for output in op.outputs}
        found.setdefault(op.type, set()).update(kind == 11 for kind in types)  # MIL's DataType: 10 half, 11 float32
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["coreml", "coreml-ios16"])
def test_half_precision_core_ml_keeps_its_islands_float32(model: ToySlots, name: str, tmp_path: Path) -> None:
    path = converted(model, name, "float16", tmp_path)
    runtime = get_runtime(name)
    assert (
        runtime.describe(path).delegate == "decided on the device; float32 in half precision: averages, normalisation"
    )
    kinds = is_float32(path)
    assert kinds["reduce_mean"] == {True}
    assert kinds["conv"] == kinds["matmul"] == {False}
    assert kinds["sub"] == {True, False}  # of the normalisation, and of the assignment
    # Logits of a few tens in steps of 2 ** -6, through twenty layers.
    assert np.abs(runtime.load(path)(IMAGE[None])["mask_logits"] - mask_logits(model)).max() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("name", "precision"), [("coreml", "palette4"), ("coreml-ios16", "palette6")])
def test_palettized_weights_mean_what_core_ml_tools_read_in_them(
    model: ToySlots, name: str, precision: str, tmp_path: Path
) -> None:
    """The interpreter against coremltools' own decompression, which writes the tables out as dense weights."""
    path = converted(model, name, precision, tmp_path)
    import coremltools as ct
    import coremltools.optimize.coreml as cto

    from edgeseg.export.mil_interpreter import MilProgram

    assert "constexpr_lut_to_dense" in is_float32(path)
    dense = cto.decompress_weights(ct.models.MLModel(str(path), skip_model_load=True))
    dense.save(str(tmp_path / "dense.mlpackage"))
    assert "constexpr_lut_to_dense" not in is_float32(tmp_path / "dense.mlpackage")
    image = IMAGE.transpose(2, 0, 1)[None].astype(np.float32)
    tables, written_out = (MilProgram(p).run(image) for p in (path, tmp_path / "dense.mlpackage"))
    np.testing.assert_array_equal(tables["mask_logits"], written_out["mask_logits"])
    assert np.abs(tables["mask_logits"] - mask_logits(model)).max() > 1e-3  # something was lost: it is a palette


@pytest.mark.slow
def test_half_weights_of_litert_are_those_of_a_rounded_network(model: ToySlots, tmp_path: Path) -> None:
    path = converted(model, "litert", "float16", tmp_path)
    rounded = copy.deepcopy(model)
    for module in rounded.modules():
        if isinstance(module, (QuantWeight, nn.Conv2d, nn.Linear)):
            module.weight.data = module.weight.data.half().float()
    got = get_runtime("litert").load(path)(IMAGE[None])["mask_logits"]
    assert np.abs(got - mask_logits(rounded)).max() < 2e-4 < np.abs(got - mask_logits(model)).max()


def test_large_constants_of_onnx_are_stored_in_half_and_small_ones_are_not(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="pip install 'edgeseg[onnx]'")
    ort = pytest.importorskip("onnxruntime", reason="pip install 'edgeseg[onnx]'")
    from edgeseg.export.onnx import _halve_constants

    helper, third = onnx.helper, np.float32(1) / 3
    sizes = {"large": 1024, "small": 1023}
    constants = [onnx.numpy_helper.from_array(np.full(size, third), name) for name, size in sizes.items()]
    nodes = [helper.make_node("Mul", ["x", name], [f"{name}_times"]) for name in sizes]
    ends = [helper.make_tensor_value_info(f"{name}_times", 1, [size]) for name, size in sizes.items()]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, [1])], ends, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    _halve_constants(model)
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    large, small = session.run(None, {"x": np.ones(1, np.float32)})
    assert set(large) == {np.float32(np.float16(third))}
    assert set(small) == {third}


@pytest.mark.slow
@pytest.mark.parametrize("merge", ["app", "graph"])
def test_core_ai_runs_its_file_here_and_agrees_with_torch(model: ToySlots, merge: MergeMode, tmp_path: Path) -> None:
    path = converted(model, "coreai", "float32", tmp_path, merge)
    runtime = get_runtime("coreai")
    outputs = runtime.load(path)(IMAGE[None])
    graph = DeployedGraph(model, merge=merge, config=MergeConfig(thing_threshold=0.25), is_thing=[True] * 9)
    wanted = dict(zip(OUTPUT_NAMES[merge], graph(torch.from_numpy(IMAGE[None])), strict=True))
    assert list(outputs) == list(wanted)
    for name, output in outputs.items():
        np.testing.assert_allclose(output, wanted[name].numpy(), atol=2e-4)
    operators = runtime.describe(path).operators
    assert operators is not None
    assert operators["conv2d"] == 32  # as the Core ML program of the same network has
