"""A value per channel as a row of them, for runtimes that keep an image's channels innermost."""

from __future__ import annotations

import torch
from torch.export import ExportedProgram

_CHANNELS = 4  # at most: a wider operand is long enough as it is


def channels_to_rows(program: ExportedProgram) -> None:
    """Constants of (1, C, 1, 1), C at most 4, that are subtracted from an image get its width, in place.

    The values are the same bit by bit. LiteRT, and ONNX Runtime between integers, keep channels innermost and subtract
    the means of the colours three numbers at a time: a twentieth of a call of the default network in int8 at 256x256
    in the one, a tenth in the other (docs/coverage.md). A row of means, 3 KB, is subtracted at the speed of memory.
    """
    signature = program.graph_signature
    buffers = signature.inputs_to_buffers | signature.inputs_to_lifted_tensor_constants
    for node in program.graph.find_nodes(op="call_function", target=torch.ops.aten.sub.Tensor):
        image, constant = node.args
        name = buffers.get(getattr(constant, "name", ""))
        if name is None or len(constant.users) > 1:
            continue
        held = program.constants if name in program.constants else program.state_dict
        channels = held[name].numel()
        if held[name].shape == (1, channels, 1, 1) and channels <= _CHANNELS:
            shape = (1, channels, 1, image.meta["val"].shape[3])
            held[name] = held[name].expand(shape).contiguous()
            constant.meta["val"] = constant.meta["val"].expand(shape).contiguous()
