"""Weights of few bits in the files of the runtimes: the same integers in fewer bytes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edgeseg.config import MergeConfig
from edgeseg.export.graph import DeployedGraph
from edgeseg.export.program import export_program
from edgeseg.export.runtimes import OUTPUT_NAMES, get_runtime, is_available
from edgeseg.quantize.deploy import deploy
from edgeseg.quantize.qat import quantize
from edgeseg.quantize.recipes import RECIPES
from edgeseg.structures import CheckError
from tests.quantize.tiny import SIZE, TinySlots, images, warmed

IMAGES = [image.permute(1, 2, 0).byte().numpy()[None] for image in images(4, seed=7)]
TERNARY = 16 * 16 + 16 * 16 * 9 + 16 * 16 + 8 * 16 + 32 * 16
"""Weights of TinySlots behind the first layer, without the last linear's 3 * 8."""


def integer_network(recipe: str) -> torch.nn.Module:
    """TinySlots calibrated, not trained, as it is exported."""
    untrained = replace(
        RECIPES[recipe],
        qat_steps=0,
        qat_free_fraction=0.0,
        qat_gradual_fraction=0.0,
        qat_ema_decay=0.0,
        int8_share=0.0,
    )
    return deploy(quantize(warmed(TinySlots()), untrained, calibration=[images(32, seed=1)]))


def converted(model: torch.nn.Module, name: str, folder: Path) -> Path:
    runtime = get_runtime(name)
    if not is_available(runtime):
        pytest.skip(f"the packages of {name} are missing: pip install 'edgeseg[{runtime.pip_extra}]'")
    graph = DeployedGraph(model, merge="app", config=MergeConfig(), is_thing=[True] * 2)
    path = folder / f"{name}{runtime.suffix}"
    runtime.convert(export_program(graph, runtime, SIZE), OUTPUT_NAMES["app"], path, precision="ternary")
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "kind"), [("ternary", "int2"), ("int4", "int4")])
def test_onnx_runtime_computes_the_same_from_two_and_four_bits(recipe: str, kind: str, tmp_path: Path) -> None:
    network = integer_network(recipe)
    plain, small = (converted(network, name, tmp_path) for name in ("onnx", "onnx-small"))
    runtime = get_runtime("onnx")
    before, after = runtime.stored(plain), runtime.stored(small)
    assert after[kind] >= TERNARY
    assert after["int8"] == before["int8"] - after[kind]
    for image in IMAGES:
        for name, output in runtime.load(plain)(image).items():
            np.testing.assert_array_equal(runtime.load(small)(image)[name], output)


def test_onnx_runtime_folds_the_cast_and_sees_an_integer_convolution(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="pip install 'edgeseg[onnx]'")
    ort = pytest.importorskip("onnxruntime", reason="pip install 'edgeseg[onnx]'")
    from edgeseg.export.onnx_low_bit import store_low_bit

    model = one_convolution(onnx, np.random.default_rng(0).integers(-1, 2, (8, 16, 1, 1)))
    store_low_bit(model)
    onnx.checker.check_model(model)
    assert {c.name: c.data_type for c in model.graph.initializer}["weight.int2"] == onnx.TensorProto.INT2
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "seen.onnx")
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    seen = {node.op_type for node in onnx.load(str(tmp_path / "seen.onnx")).graph.node}
    assert "QLinearConv" in seen
    assert not seen & {"Cast", "Conv"}


def test_a_file_without_small_weights_is_refused() -> None:
    onnx = pytest.importorskip("onnx", reason="pip install 'edgeseg[onnx]'")
    from edgeseg.export.onnx_low_bit import store_low_bit

    with pytest.raises(CheckError, match="no weights of 4 bits or fewer; export it for onnx"):
        store_low_bit(one_convolution(onnx, np.arange(-64, 64).reshape(8, 16, 1, 1)))


def one_convolution(onnx: Any, codes: NDArray[np.int64]) -> Any:
    """Between a quantize and a dequantize, as exported files have it."""
    helper, array = onnx.helper, onnx.numpy_helper.from_array
    grid = ["step", "zero"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *grid], ["x_int"]),
        helper.make_node("DequantizeLinear", ["x_int", *grid], ["x_float"]),
        helper.make_node("DequantizeLinear", ["weight", "weight_step"], ["weight_float"], axis=0),
        helper.make_node("Conv", ["x_float", "weight_float"], ["y_float"]),
        helper.make_node("QuantizeLinear", ["y_float", *grid], ["y_int"]),
        helper.make_node("DequantizeLinear", ["y_int", *grid], ["y"]),
    ]
    constants = {
        "weight": codes.astype(np.int8),
        "weight_step": np.full(len(codes), 0.1, np.float32),
        "step": np.float32(0.02),
        "zero": np.uint8(128),
    }
    ends = [helper.make_tensor_value_info(name, 1, [1, size, 4, 4]) for name, size in (("x", 16), ("y", 8))]
    initializers = [array(np.array(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "one", ends[:1], ends[1:], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


@pytest.mark.slow
@pytest.mark.parametrize("has_delegate", [True, False])
def test_litert_computes_the_same_from_int4(has_delegate: bool, tmp_path: Path) -> None:
    """In XNNPACK's kernels and in LiteRT's own."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="pip install 'edgeseg[litert]'")
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    from edgeseg.export.litert_int4 import store_int4

    plain = converted(integer_network("ternary"), "litert", tmp_path)
    small = tmp_path / "small.tflite"
    shutil.copy(plain, small)
    store_int4(small)
    runtime = get_runtime("litert")
    before, after = runtime.stored(plain), runtime.stored(small)
    assert after["int4"] == TERNARY + 3 * 8 - 16 * 16 * 9  # without the 3x3 convolution
    assert after["int8"] == before["int8"] - after["int4"]
    kernels = OpResolverType.AUTO if has_delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES

    def outputs(path: Path, image: NDArray[np.uint8]) -> list[NDArray[Any]]:
        interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=kernels)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
        interpreter.invoke()
        return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]

    for image in IMAGES:
        for ours, wanted in zip(outputs(small, image), outputs(plain, image), strict=True):
            np.testing.assert_array_equal(ours, wanted)
    content = small.read_bytes()
    model = schema.Model.GetRootAs(content, 0)
    for index in range(model.BuffersLength()):
        data = model.Buffers(index).DataAsNumpy()
        if not isinstance(data, int):  # 0 where there is none
            address = data.__array_interface__["data"][0] - np.frombuffer(content, np.uint8).ctypes.data
            assert address % 16 == 0


@pytest.mark.slow
def test_core_ml_computes_the_same_from_two_bits(tmp_path: Path) -> None:
    """iOS 17 has no 2-bit tables for channels, so its file stores the same codes in bytes."""
    network = integer_network("ternary")
    plain, small = (converted(network, name, tmp_path) for name in ("coreml-ios17", "coreml"))
    runtime = get_runtime("coreml")
    before, after = runtime.stored(plain), runtime.stored(small)
    assert "uint2" not in before
    assert after["uint2"] == TERNARY + 3 * 8
    for image in IMAGES:
        for name, output in runtime.load(plain)(image).items():
            np.testing.assert_array_equal(runtime.load(small)(image)[name], output)


class OneLinear(torch.nn.Module):
    """256 outputs of 128 inputs between two grids, weights -high..high times a step."""

    def __init__(self, high: int) -> None:
        super().__init__()
        codes = torch.randint(-high, high + 1, (256, 128), generator=torch.Generator().manual_seed(0))
        self.register_buffer("codes", codes.to(torch.int8))
        self.register_buffer("step", torch.linspace(0.5, 2, 256) / high / 16)
        self.register_buffer("zero", torch.zeros(256, dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ops, grid = torch.ops.quantized_decomposed, (0.02, 3, -128, 127, torch.int8)
        weight = ops.dequantize_per_channel(self.codes, self.step, self.zero, 0, -127, 127, torch.int8)
        y = torch.nn.functional.linear(ops.dequantize_per_tensor(ops.quantize_per_tensor(x, *grid), *grid), weight)
        return ops.dequantize_per_tensor(ops.quantize_per_tensor(y, *grid), *grid)


@pytest.mark.slow
def test_executorch_computes_the_same_from_linears_of_four_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = get_runtime("executorch")
    if not is_available(runtime):
        pytest.skip("the packages of executorch are missing: pip install 'edgeseg[executorch]'")
    from executorch.runtime import Runtime

    from edgeseg.export import executorch

    x = torch.randn(1, 64, 128, generator=torch.Generator().manual_seed(1))
    outputs = []
    for path in (tmp_path / "four.pte", tmp_path / "eight.pte"):
        runtime.convert(torch.export.export(OneLinear(7), (x,)), ("y",), path, precision="int4")
        outputs.append(Runtime.get().load_program(path).load_method("forward").execute([x])[0].clone())
        monkeypatch.setattr(executorch, "_declare_four_bits", lambda program: None)
    assert torch.equal(*outputs)
    assert (outputs[0] != OneLinear(7)(x)).float().mean() < 0.001  # ties, which torch's float sum may round otherwise
    assert (tmp_path / "eight.pte").stat().st_size - (tmp_path / "four.pte").stat().st_size == 256 * 128 // 2
