"""ONNX Runtime on the CPU."""

from __future__ import annotations

import importlib.metadata
import math
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from edgeseg.export.runtimes import Coverage, MergeMode, Stages, require_converter, require_runner

if TYPE_CHECKING:
    import onnx
    from torch.export import ExportedProgram

_MIN_ENTRIES = 1024  # the merge's thresholds and indices are fewer, and stay exact

# The wheel (seen in 1.31) reports to its maker unless told not to before it is imported: a thread, an address at
# events.data.microsoft.com, and a file .ses in TMPDIR.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


class OnnxRuntime:
    """See Runtime.

    Args:
        small: Stores weights of 4 bits and fewer as such (onnx_low_bit.py), which older versions cannot read.
    """

    suffix = ".onnx"
    pip_extra = "onnx"
    converter_packages: tuple[str, ...] = ("onnx", "onnxscript")
    runner_packages: tuple[str, ...] = ("onnxruntime",)
    default_merge: MergeMode = "app"  # in the graph it costs more than the network (docs/merge.md)
    precisions: tuple[str, ...] = ("float32", "float16")
    weight_storage: Literal["int8", "float_qdq"] = "int8"
    activation_storage: Literal["int8", "uint8"] = "uint8"
    has_fast_argmax = True
    input: Literal["image_uint8_nhwc", "pixels"] = "image_uint8_nhwc"

    def __init__(self, *, small: bool = False) -> None:
        self.small = small
        self.name = "onnx-small" if small else "onnx"

    def refusal(self, precision: str, merge: MergeMode) -> str:
        """Takes every recipe, and the merge in both places; the small form only what it makes smaller."""
        if not self.small:
            return ""
        from edgeseg.quantize import forms  # brings torch; a device that loads has none

        return forms.refusal("int8" if precision in self.precisions else precision, self.name)

    def convert(self, program: ExportedProgram, output_names: tuple[str, ...], path: Path, *, precision: str) -> None:
        """Writes one self-contained .onnx, without torch's stack traces: they outweigh a small network's weights.

        `float16` stores large constants in half and casts them back, which ONNX Runtime does once, at load: the CPU
        provider has few kernels that compute in half.
        """
        import onnx
        import torch

        from edgeseg.export.row_constants import channels_to_rows
        from edgeseg.export.transposed_products import transpose_products

        transpose_products(program)
        if precision not in self.precisions:  # in float32 channels stay outermost, and `float16` would halve a row
            channels_to_rows(program)
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
        if precision == "float16":
            _halve_constants(model)
        if self.small:
            from edgeseg.export.onnx_low_bit import store_low_bit  # brings torch

            store_low_bit(model)
        onnx.save(model, str(path))

    def load(self, path: Path, *, num_threads: int = 1) -> Stages:
        """See Runtime."""
        require_runner(self)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.log_severity_level = 3  # errors
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]

        return Stages(
            upload=lambda image: {"image": image},  # numpy's memory is used as it is
            network=lambda inputs: session.run(names, inputs),
            readout=lambda outputs: dict(zip(names, outputs, strict=True)),
            accelerator=lambda: ", ".join(session.get_providers()),
        )

    def describe(self, path: Path) -> Coverage:
        """The CPU provider runs every operator itself, so there is one piece and nothing outside."""
        require_converter(self)
        import onnx

        operators = Counter(node.op_type for node in onnx.load(str(path), load_external_data=False).graph.node)
        return Coverage("CPUExecutionProvider", 1, {}, dict(operators))

    def stored(self, path: Path) -> dict[str, int]:
        """See Runtime."""
        import onnx

        counts: Counter[str] = Counter()
        for constant in onnx.load(str(path), load_external_data=False).graph.initializer:
            counts[onnx.TensorProto.DataType.Name(constant.data_type).lower()] += math.prod(constant.dims)
        return dict(counts)

    def engine(self) -> str:
        """See Runtime."""
        return f"onnxruntime {importlib.metadata.version('onnxruntime')} (this machine's CPU)"


def _halve_constants(model: onnx.ModelProto) -> None:
    """Constants of 1024 float32 entries and more become half, cast to float32 under their old names, in place."""
    import onnx

    casts = []
    for constant in model.graph.initializer:
        if constant.data_type != onnx.TensorProto.FLOAT or math.prod(constant.dims) < _MIN_ENTRIES:
            continue
        name = constant.name
        half = onnx.numpy_helper.to_array(constant).astype(np.float16)
        constant.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}.float16"))
        casts.append(onnx.helper.make_node("Cast", [constant.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


RUNTIME = OnnxRuntime()
SMALL = OnnxRuntime(small=True)
