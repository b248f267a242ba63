"""ExecuTorch with the XNNPACK delegate."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from edgeseg.export.captured import silenced
from edgeseg.export.runtimes import Coverage, MergeMode, Stages, in_words, name_outputs, require_runner

if TYPE_CHECKING:
    from torch import fx
    from torch.export import ExportedProgram


_FOUR_BITS = (-8, 7)


class ExecuTorch:
    """See Runtime."""

    name = "executorch"
    suffix = ".pte"
    pip_extra = "executorch"
    converter_packages: tuple[str, ...] = ("executorch",)
    runner_packages: tuple[str, ...] = ("executorch",)
    default_merge: MergeMode = "app"  # in the graph it costs more than the network (docs/merge.md)
    precisions: tuple[str, ...] = ("float32",)
    weight_storage: Literal["int8", "float_qdq"] = "int8"
    activation_storage: Literal["int8", "uint8"] = "int8"
    has_fast_argmax = False
    input: Literal["image_uint8_nhwc", "pixels"] = "image_uint8_nhwc"

    delegate = "XNNPACK"

    def refusal(self, precision: str, merge: MergeMode) -> str:
        """Takes every recipe with integer activations, and the merge in both places; makes nothing smaller of float32.

        A .pte keeps weights at the width they are computed with, and half arithmetic is ARM's (docs/runtimes.md).
        """
        from edgeseg.quantize import forms  # brings what trains; a process that loads has no use for it

        return forms.refusal(precision, self.name)

    def convert(self, program: ExportedProgram, output_names: tuple[str, ...], path: Path, *, precision: str) -> None:
        """Lowers to the delegate and writes a .pte; outputs keep their order, a .pte has no names for them.

        XNNPACK gets the weights of linears of 4 bits and fewer as such: its kernels for them give the same integers.
        """
        del output_names, precision
        from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

        from edgeseg.export.executorch_operators import respell

        if self.delegate == "XNNPACK":
            _declare_four_bits(program)
            respell(program)
        edge = to_edge_transform_and_lower(
            program,
            partitioner=[self.partitioner()],
            compile_config=EdgeCompileConfig(_check_ir_validity=False),
        )
        _cast_in_order(edge.exported_program().graph_module)
        path.write_bytes(edge.to_executorch().buffer)

    def partitioner(self) -> Any:
        """What chooses the delegate's operators."""
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

        return XnnpackPartitioner()

    def load(self, path: Path, *, num_threads: int = 1) -> Stages:
        """The thread pool is one for the process: the last load decides for all."""
        require_runner(self)
        with silenced():  # the C++ side reports on the CPU
            native = _native()
            if native._threadpool_get_thread_count() != num_threads:
                native._unsafe_reset_threadpool(num_threads)
            program = native._load_program(str(path), program_verification=native.Verification.InternalConsistency)
            method = program.load_method("forward")

        return Stages(
            upload=lambda image: [torch.from_numpy(np.ascontiguousarray(image))],
            network=method,
            readout=lambda outputs: name_outputs([o.numpy().copy() for o in outputs]),  # the next call writes over them
            accelerator=lambda: in_words(self.describe(path)),
        )

    def describe(self, path: Path) -> Coverage:
        """Counts the instructions of the program: delegate calls and portable kernels."""
        require_runner(self)
        from edgeseg.export.pte import count_pieces

        num_delegates, outside = count_pieces(path)
        counts = {name.removeprefix("aten::"): count for name, count in outside.items()}
        return Coverage(self.delegate, num_delegates, counts, None)

    def stored(self, path: Path) -> dict[str, int]:
        """Nothing: the delegate's constants are in a form of its own."""
        del path
        return {}

    def engine(self) -> str:
        """See Runtime."""
        return f"executorch {importlib.metadata.version('executorch')} (portable + XNNPACK, this machine's CPU)"


def _native() -> Any:
    """The binding itself: the public module around it imports the exporter, five seconds, for one warning.

    On Windows that module also says where the binding's libraries lie.
    """
    try:
        from executorch.extension.pybindings import _C
    except ImportError:
        from executorch.extension.pybindings import portable_lib

        return portable_lib
    return _C


def _declare_four_bits(program: ExportedProgram) -> None:
    """Sets the stated range of linears' weights that fit to -8..7, in place: by it XNNPACK's serializer stores nibbles.

    Not of convolutions': those would be stored so too, and the file would not load (executorch 1.5.1).
    """
    dequantize = torch.ops.quantized_decomposed.dequantize_per_channel.default
    held = program.state_dict | program.constants
    buffers = program.graph_signature.inputs_to_buffers
    for node in program.graph.find_nodes(op="call_function", target=dequantize):
        weight, scale, zero, axis, _, _, kind = node.args
        is_linear = all(user.target is torch.ops.aten.linear.default for user in node.users)
        if is_linear and weight.name in buffers and int(held[buffers[weight.name]].int().abs().max()) <= _FOUR_BITS[1]:
            node.args = (weight, scale, zero, axis, *_FOUR_BITS, kind)


def _cast_in_order(module: fx.GraphModule) -> None:
    """Casts that keep the order of axes become plain ones, in place.

    The portable kernel that may reorder looks up each entry's place: of the camera's bytes, which no delegate casts, a
    plain loop makes float32 in an eighth of the time (docs/coverage.md).
    """
    from executorch.exir.dialects._ops import ops

    reordering = ops.edge.dim_order_ops._to_dim_order_copy.default
    for node in module.graph.find_nodes(op="call_function", target=reordering):
        orders = {tensor.meta["val"].dim_order() for tensor in (node.args[0], node)}
        if orders == {tuple(range(node.meta["val"].dim()))}:
            node.target, node.kwargs = ops.edge.aten._to_copy.default, {"dtype": node.kwargs["dtype"]}
    module.recompile()


RUNTIME = ExecuTorch()
