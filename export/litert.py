"""LiteRT (TensorFlow Lite) with its XNNPACK delegate."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeseg.export.captured import silenced
from edgeseg.export.runtimes import Coverage, MergeMode, Stages, in_words, name_outputs, require_runner

if TYPE_CHECKING:
    from torch.export import ExportedProgram


class LiteRT:
    """See Runtime.

    Args:
        small: Stores weights of 4 bits and fewer as INT4 (litert_int4.py), which older versions cannot read.
    """

    suffix = ".tflite"
    pip_extra = "litert"
    converter_packages: tuple[str, ...] = ("litert_torch",)
    runner_packages: tuple[str, ...] = ("ai_edge_litert", "tflite_runtime")
    default_merge: MergeMode = "app"  # in the graph it costs more than the network (docs/merge.md)
    precisions: tuple[str, ...] = ("float32", "float16")
    weight_storage: Literal["int8", "float_qdq"] = "float_qdq"  # folded int8 weights do not convert
    activation_storage: Literal["int8", "uint8"] = "int8"
    has_fast_argmax = False
    input: Literal["image_uint8_nhwc", "pixels"] = "image_uint8_nhwc"

    def __init__(self, *, small: bool = False) -> None:
        self.small = small
        self.name = "litert-small" if small else "litert"

    def refusal(self, precision: str, merge: MergeMode) -> str:
        """Takes every recipe with integer activations, the small form of few bits, and the merge in both places."""
        from edgeseg.quantize import forms  # brings torch; a device that loads has none

        return forms.refusal("int8" if self.small and precision in self.precisions else precision, self.name)

    def convert(self, program: ExportedProgram, output_names: tuple[str, ...], path: Path, *, precision: str) -> None:
        """Writes a .tflite; outputs keep their order, litert_torch names them output_0, output_1, ...

        `float16` stores weights in half; the CPU computes in float32, a GPU delegate in half.
        """
        del output_names
        import litert_torch
        from litert_torch.quantize.pt2e_quantizer import PT2EQuantizer, get_symmetric_quantization_config
        from litert_torch.quantize.quant_config import QuantConfig

        from edgeseg.export.litert_constants import keep_apart
        from edgeseg.export.litert_means import mean_by_rows, pool_by_convolution
        from edgeseg.export.litert_products import in_two_batches
        from edgeseg.export.row_constants import channels_to_rows

        quant_config = None
        if _is_quantized(program):
            # The quantizer itself never runs: its presence switches the converter to static q/dq.
            static = get_symmetric_quantization_config(is_per_channel=True)
            quant_config = QuantConfig(pt2e_quantizer=PT2EQuantizer().set_global(static))
        mean_by_rows(program.graph_module)
        pool_by_convolution(program.graph_module)
        in_two_batches(program.graph_module)
        keep_apart(program)
        channels_to_rows(program)
        (image,) = program.example_inputs[0]
        litert_torch.convert(program.module(), (image,), quant_config=quant_config).export(str(path))
        if precision == "float16":
            _halve_weights(path)
        if self.small:
            from edgeseg.export.litert_int4 import store_int4  # brings torch

            store_int4(path)

    def load(self, path: Path, *, num_threads: int = 1) -> Stages:
        """Outputs that the converter left int8 are dequantized by the scale that the file states."""
        interpreter = self._interpreter(path, num_threads)
        image_index = interpreter.get_input_details()[0]["index"]
        outputs = sorted(interpreter.get_output_details(), key=lambda detail: str(detail["name"]))

        def upload(image: NDArray[np.uint8]) -> None:
            interpreter.set_tensor(image_index, image)

        def network(uploaded: None) -> None:
            interpreter.invoke()

        def readout(ran: None) -> dict[str, NDArray[Any]]:
            return name_outputs([_dequantized(interpreter.get_tensor(d["index"]), d) for d in outputs])

        return Stages(upload, network, readout, lambda: in_words(self.describe(path)))

    def describe(self, path: Path) -> Coverage:
        """Loads the file: operators that no delegate's outputs depend on stayed outside."""
        interpreter = self._interpreter(path, 1)
        details = interpreter._get_ops_details()
        delegates = [op for op in details if op["op_name"] == "DELEGATE"]
        operators = {op["index"]: op for op in details if op["op_name"] != "DELEGATE"}
        producer = {int(t): index for index, op in operators.items() for t in op["outputs"]}
        inside: set[int] = set()
        for delegate in delegates:
            border = {int(t) for t in delegate["inputs"]}
            todo = [int(t) for t in delegate["outputs"]]
            while todo:
                tensor = todo.pop()
                if tensor in border or tensor not in producer or producer[tensor] in inside:
                    continue
                inside.add(producer[tensor])
                todo += [int(t) for t in operators[producer[tensor]]["inputs"]]
        names = {index: str(op["op_name"]) for index, op in operators.items()}
        outside = Counter(name for index, name in names.items() if index not in inside)
        return Coverage("XNNPACK", len(delegates), dict(outside), dict(Counter(names.values())))

    def stored(self, path: Path) -> dict[str, int]:
        """See Runtime; empty where the package that knows the format is not installed."""
        if importlib.util.find_spec("ai_edge_litert") is None:
            return {}
        from edgeseg.export.litert_int4 import stored_types

        return stored_types(path)

    def engine(self) -> str:
        """See Runtime."""
        package = require_runner(self).replace("_", "-")
        return f"{package} {importlib.metadata.version(package)} (XNNPACK, this machine's CPU)"

    def _interpreter(self, path: Path, num_threads: int) -> Any:
        module = importlib.import_module(f"{require_runner(self)}.interpreter")
        with silenced():
            interpreter = module.Interpreter(model_path=str(path), num_threads=num_threads)
            interpreter.allocate_tensors()
        return interpreter


def _is_quantized(program: ExportedProgram) -> bool:
    import torch

    quantize = torch.ops.quantized_decomposed.quantize_per_tensor.default
    return bool(program.graph.find_nodes(op="call_function", target=quantize))


def _halve_weights(path: Path) -> None:
    """Stores the weights of convolutions and linears in half, in place; position maps and queries stay float32."""
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import QuantGranularity, TFLOperationName
    from ai_edge_quantizer.quantizer import Quantizer

    quantizer = Quantizer(str(path))
    for kind in (TFLOperationName.CONV_2D, TFLOperationName.DEPTHWISE_CONV_2D, TFLOperationName.FULLY_CONNECTED):
        whole = QuantGranularity.TENSORWISE  # the format has no scales
        quantizer.add_weight_only_config(".*", kind, 16, whole, AlgorithmName.FLOAT_CASTING)
    quantizer.quantize().export_model(str(path), overwrite=True)


def _dequantized(tensor: NDArray[Any], detail: dict[str, Any]) -> NDArray[Any]:
    scale, zero_point = detail["quantization"]
    if tensor.dtype != np.int8 or scale == 0:
        return tensor
    return (tensor.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)


RUNTIME = LiteRT()
SMALL = LiteRT(small=True)
