"""Core ML programs in fewer bytes: each constant once, and short names.

coremltools writes every stride, padding and scale of every operator as a constant of its own under a long name: more
bytes than half of a small network's 2-bit weights have.
"""

from __future__ import annotations

import copy
from typing import Any

_SHORT = {
    "const": "c",
    "constexpr_lut_to_dense": "t",
    "constexpr_blockwise_shift_scale": "w",
    "quantize": "q",
    "dequantize": "d",
}


def compact(spec: Any) -> None:
    """Changes an ML program's specification in place; a program with branches is left as it is.

    Inputs and outputs of the program keep their names. Operators are called after their kind, with a number: `conv_12`;
    weights w (of tables t), constants c, quantize q, dequantize d.
    """
    for function in spec.mlProgram.functions.values():
        for block in function.block_specializations.values():
            if not any(operation.blocks for operation in block.operations):
                _compact_block(block, kept={value.name for value in function.inputs} | set(block.outputs))


def _compact_block(block: Any, *, kept: set[str]) -> None:
    names: dict[str, str] = {}  # new ones by old ones
    first: dict[bytes, str] = {}  # a constant's name by its type and value
    operations: list[Any] = []
    for operation in copy.deepcopy(list(block.operations)):
        value = operation.attributes["val"].SerializeToString(deterministic=True) if operation.type == "const" else b""
        if value in first and operation.outputs[0].name not in kept:
            names[operation.outputs[0].name] = first[value]
            continue
        for argument in (argument for given in operation.inputs.values() for argument in given.arguments):
            if argument.WhichOneof("binding") == "name":
                argument.name = names.get(argument.name, argument.name)
        for index, output in enumerate(operation.outputs):
            if output.name not in kept:
                kind = _SHORT.get(operation.type, f"{operation.type}_")
                short = f"{kind}{len(operations)}" + (f"_{index}" if index else "")
                names[output.name], output.name = short, short
        operation.attributes["name"].immediateValue.tensor.strings.values[0] = operation.outputs[0].name
        if value:
            first[value] = operation.outputs[0].name
        operations.append(operation)
    del block.operations[:]
    block.operations.extend(operations)
