"""The deployed chain through the real runtimes; each must give the integers that torch gives."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import fx

from edgeseg.quantize import ActivationQuantizer, QuantConv2d, Recipe, calibrate, deploy, prepare
from tests.quantize.tiny import Chain, images, warmed

Run = Callable[[fx.GraphModule, torch.Tensor, Path], NDArray[np.float32]]


def run_onnxruntime(model: fx.GraphModule, image: torch.Tensor, folder: Path) -> NDArray[np.float32]:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    for module in model.modules():
        if isinstance(module, ActivationQuantizer):
            module.set_storage("uint8")
    path = folder / "chain.onnx"
    program = torch.export.export(model, (image,))
    torch.onnx.export(program, (image,), path, dynamo=True, external_data=False, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    output: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: image.numpy()})[0]
    return output


def run_executorch(model: fx.GraphModule, image: torch.Tensor, folder: Path) -> NDArray[np.float32]:
    pytest.importorskip("executorch")
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower
    from executorch.runtime import Runtime

    graph_module = torch.export.export(model, (image,)).module()
    assert isinstance(graph_module, fx.GraphModule)
    for node in list(graph_module.graph.nodes):  # XNNPACK's partitioner wants one dequantize per user
        for user in list(node.users)[1:] if "dequantize_per_tensor" in str(node.target) else []:
            with graph_module.graph.inserting_before(node):
                user.replace_input_with(node, graph_module.graph.node_copy(node))
    graph_module.recompile()
    program = to_edge_transform_and_lower(
        torch.export.export(graph_module, (image,)),
        partitioner=[XnnpackPartitioner()],
        compile_config=EdgeCompileConfig(_check_ir_validity=False),
    ).to_executorch()
    loaded = Runtime.get().load_program(program.buffer)
    output: NDArray[np.float32] = loaded.load_method("forward").execute([image])[0].numpy()
    return output


def run_litert(model: fx.GraphModule, image: torch.Tensor, folder: Path) -> NDArray[np.float32]:
    litert_torch = pytest.importorskip("litert_torch")
    from ai_edge_litert.interpreter import Interpreter
    from litert_torch.quantize.pt2e_quantizer import PT2EQuantizer, get_symmetric_quantization_config
    from litert_torch.quantize.quant_config import QuantConfig

    for module in model.modules():
        if isinstance(module, QuantConv2d):
            module.set_weight_storage("float_qdq")
    switch = PT2EQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    edge = litert_torch.convert(model, (image,), quant_config=QuantConfig(pt2e_quantizer=switch))
    edge.export(str(folder / "chain.tflite"))
    interpreter = Interpreter(str(folder / "chain.tflite"), num_threads=1)
    interpreter.allocate_tensors()
    entry, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero_point = entry["quantization"]
    feed = np.clip(np.round(image.numpy() / scale) + zero_point, -128, 127).astype(np.int8)
    interpreter.set_tensor(entry["index"], feed)
    interpreter.invoke()
    scale, zero_point = result["quantization"]
    integers = interpreter.get_tensor(result["index"]).astype(np.float32)
    return (integers - zero_point) * np.float32(scale)


@pytest.mark.slow
@pytest.mark.parametrize("run", [run_onnxruntime, run_executorch, run_litert])
def test_runtime_gives_the_same_integers_as_torch(run: Run, tmp_path: Path) -> None:
    prepared = prepare(warmed(Chain()), Recipe(name="test"), images(1, seed=0))
    calibrate(prepared, [images(16, seed=1)])
    deployed = deploy(prepared)
    image = images(1, seed=5)
    with torch.no_grad():
        expected = deployed(image).numpy()
    got = run(copy.deepcopy(deployed), image, tmp_path)
    step = float(deployed.get_submodule("grid_last").scale)
    assert np.array_equal(np.round(got / step), np.round(expected / step))
