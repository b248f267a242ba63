"""ONNX Runtime on the CPU."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeseg.export.runtimes import Coverage, MergeMode, Predict, require_converter, require_runner

if TYPE_CHECKING:
    from torch.export import ExportedProgram


class OnnxRuntime:
    """See Runtime."""

    name = "onnx"
    suffix = ".onnx"
    pip_extra = "onnx"
    converter_packages: tuple[str, ...] = ("onnx", "onnxscript")
    runner_packages: tuple[str, ...] = ("onnxruntime",)
    default_merge: MergeMode = "graph"
    weight_storage: Literal["int8", "float_qdq"] = "int8"
    activation_storage: Literal["int8", "uint8"] = "uint8"
    input: Literal["image_uint8_nhwc", "pixels"] = "image_uint8_nhwc"

    def convert(self, program: ExportedProgram, output_names: tuple[str, ...], path: Path) -> None:
        """Writes one self-contained .onnx, without torch's stack traces: they outweigh a small network's weights."""
        import onnx
        import torch

        torch.onnx.export(
            program,
            program.example_inputs[0],
            str(path),
            dynamo=True,
            external_data=False,
            input_names=["image"],
            output_names=list(output_names),
            verbose=False,
        )
        model = onnx.load(str(path))
        model.graph.ClearField("metadata_props")
        for described in (*model.graph.node, *model.graph.value_info, *model.graph.initializer):
            described.ClearField("metadata_props")
        onnx.save(model, str(path))

    def load(self, path: Path, *, num_threads: int = 1) -> Predict:
        """See Runtime."""
        require_runner(self)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.log_severity_level = 3  # errors
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]

        def predict(image: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
            return dict(zip(names, session.run(names, {"image": image}), strict=True))

        return predict

    def describe(self, path: Path) -> Coverage:
        """The CPU provider runs every operator itself, so there is one piece and nothing outside."""
        require_converter(self)
        import onnx

        operators = Counter(node.op_type for node in onnx.load(str(path), load_external_data=False).graph.node)
        return Coverage("CPUExecutionProvider", 1, {}, dict(operators))

    def engine(self) -> str:
        """See Runtime."""
        return f"onnxruntime {importlib.metadata.version('onnxruntime')} (this machine's CPU)"


RUNTIME = OnnxRuntime()
