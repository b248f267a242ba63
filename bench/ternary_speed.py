"""What ternary kernels are worth on our layers: python -m edgeseg.bench.ternary_speed

The largest 1x1 convolutions of the default network, each as ONNX Runtime runs it with int8 weights, and as its
MatMulNBits runs it with weights of 4 and of 2 bits: the one kernel for 2 bits in a runtime that is here.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgeseg.config import Config
from edgeseg.export.onnx import OnnxRuntime
from edgeseg.export.runtimes import require_runner
from edgeseg.models import build_model
from edgeseg.quantize.packed import pack_bits
from edgeseg.structures import CheckError

_BLOCK = 32  # entries that share a scale in MatMulNBits; here all of a row have the same


@dataclass(frozen=True, order=True)
class Layer:
    """A 1x1 convolution.

    Attributes:
        macs: Multiplications of one image.
        num_inputs: Channels.
        num_outputs: Channels.
        side: Height and width of its map.
    """

    macs: int
    num_inputs: int
    num_outputs: int
    side: int


def largest_layers(config: Config, count: int) -> list[Layer]:
    """Of the network with 16 categories; those of one shape once, the largest first."""
    model = build_model(config.model, [True] * 16, config.data.image_size).eval().deployable()
    found: set[Layer] = set()

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        outputs, side = output.shape[1], output.shape[2]
        macs = module.in_channels * outputs * side * output.shape[3]
        found.add(Layer(macs, module.in_channels, outputs, side))

    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1:
            module.register_forward_hook(note)
    with torch.no_grad():
        model(torch.zeros(1, 3, *config.data.image_size))
    return sorted(found, reverse=True)[:count]


def time_layer(layer: Layer, calls: int) -> dict[str, float]:
    """Microseconds of processor time of one call by form: the least of many, one thread.

    Raises:
        CheckError: A form computes something else than the others.
    """
    random = np.random.default_rng(0)
    codes = random.integers(-1, 2, (layer.num_outputs, layer.num_inputs)).astype(np.int8)
    pixels = random.integers(0, 256, (layer.side**2, layer.num_inputs)).astype(np.uint8)
    wanted = (pixels.astype(np.int32) - 128) @ codes.T.astype(np.int32)
    times = {"int8": _integer(layer, codes, pixels, wanted, calls)}
    for bits in (4, 2):
        times[f"{bits} bits"] = _few_bits(layer, codes, pixels, wanted, bits, calls)
    return times


def _integer(
    layer: Layer, codes: NDArray[np.int8], pixels: NDArray[np.uint8], wanted: NDArray[np.int32], calls: int
) -> float:
    """A quantized convolution, activations in and out as integers."""
    import onnx

    step = max(int(np.abs(wanted).max()) / 127, 1.0)
    constants = {
        "one": np.float32(1),
        "zero": np.uint8(128),
        "weight": codes[:, :, None, None],
        "steps": np.ones(len(codes), np.float32),
        "none": np.zeros(len(codes), np.int8),
        "step": np.float32(step),
    }
    inputs = ["x", "one", "zero", "weight", "steps", "none", "step", "zero"]
    node = onnx.helper.make_node("QLinearConv", inputs, ["y"])
    image = np.ascontiguousarray(pixels.T).reshape(1, layer.num_inputs, layer.side, layer.side)
    run = _session([node], constants, {"x": image})
    got = run().reshape(layer.num_outputs, -1).T.astype(np.int32) - 128
    if np.abs(got * step - wanted).max() > 0.51 * step:
        raise CheckError(f"QLinearConv of {layer} computes something else")
    return _least_us(run, calls)


def _few_bits(
    layer: Layer, codes: NDArray[np.int8], pixels: NDArray[np.uint8], wanted: NDArray[np.int32], bits: int, calls: int
) -> float:
    """MatMulNBits: float activations, which it makes int8 by itself (accuracy_level 4)."""
    import onnx

    blocks = -(-layer.num_inputs // _BLOCK)
    padded = np.zeros((layer.num_outputs, blocks * _BLOCK), np.int8)
    padded[:, : layer.num_inputs] = codes
    half = 1 << (bits - 1)  # what stands for 0 where no zero points are given
    unsigned = (padded + half).astype(np.int16)
    signed = np.where(unsigned >= half, unsigned - 2 * half, unsigned).astype(np.int8)  # the same bits
    constants = {
        "weight": pack_bits(signed, bits).reshape(layer.num_outputs, blocks, -1),
        "steps": np.ones(layer.num_outputs * blocks, np.float32),
    }
    shape: dict[str, Any] = {"K": layer.num_inputs, "N": layer.num_outputs, "bits": bits, "block_size": _BLOCK}
    names = ["x", "weight", "steps"]
    node = onnx.helper.make_node("MatMulNBits", names, ["y"], domain="com.microsoft", accuracy_level=4, **shape)
    run = _session([node], constants, {"x": (pixels.astype(np.float32) - 128)})
    if np.abs(run() - wanted).max() > 0.02 * np.abs(wanted).max():  # activations are rounded anew, row by row
        raise CheckError(f"MatMulNBits with {bits} bits of {layer} computes something else")
    return _least_us(run, calls)


def _session(nodes: list[Any], constants: dict[str, Any], feeds: dict[str, NDArray[Any]]) -> Callable[[], NDArray[Any]]:
    require_runner(OnnxRuntime())
    import onnx
    import onnxruntime

    helper = onnx.helper
    kinds = {np.dtype(np.uint8): onnx.TensorProto.UINT8, np.dtype(np.float32): onnx.TensorProto.FLOAT}
    ends = [helper.make_tensor_value_info(name, kinds[value.dtype], value.shape) for name, value in feeds.items()]
    output = helper.make_tensor_value_info("y", kinds[next(iter(feeds.values())).dtype], None)
    initializers = [onnx.numpy_helper.from_array(np.array(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "layer", ends, [output], initializers)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    content = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda: np.asarray(session.run(None, feeds)[0])


def _least_us(run: Callable[[], NDArray[Any]], calls: int) -> float:
    def one() -> float:
        begin = time.process_time()
        run()
        return time.process_time() - begin

    return 1e6 * min(one() for _ in range(calls))


def rows(count: int, calls: int) -> Iterator[str]:
    """The table, a line at a time."""
    yield "| 1x1 convolution | int8 | 4 bits | 2 bits |"
    yield "|---|---|---|---|"
    for layer in largest_layers(Config(), count):
        times = time_layer(layer, calls)
        cells = " | ".join(f"{value:.0f} us" for value in times.values())
        yield f"| {layer.num_inputs} -> {layer.num_outputs} at {layer.side}x{layer.side} | {cells} |"


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--calls", type=int, default=300)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for line in rows(arguments.layers, arguments.calls):
        print(line, flush=True)


if __name__ == "__main__":
    _main()
