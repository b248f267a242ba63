"""Operators of an .mlpackage and where Apple's devices can run them; what they cost is known on a device only."""

from __future__ import annotations

from typing import Any

from edgeseg.bench.neural_engine import where
from edgeseg.bench.operator_profile import OperatorRun, Profile, Request
from edgeseg.export.captured import silenced
from edgeseg.export.runtimes import get_runtime, require_runner

METHOD = "list of operators against public knowledge of the Neural Engine; nothing was run or timed"


def profile(request: Request) -> Profile:
    """See `operator_profile.profile`; no operator has a time."""
    require_runner(get_runtime(request.runtime))
    with silenced():
        import coremltools as ct

        main = ct.utils.load_spec(str(request.path)).mlProgram.functions["main"]
        operations = main.block_specializations[main.opset].operations
        name_of_type = ct.proto.MIL_pb2.DataType.Name
    types: dict[str, str] = {}
    runs = []
    for operation in operations:
        for output in operation.outputs:
            types[output.name] = name_of_type(output.type.tensorType.dataType).lower()
        if operation.type != "const":
            element_type = _element_type(operation, types)
            words, is_taken, source = where(operation.type, element_type)
            runs.append(OperatorRun(f"{operation.type} ({element_type})", words, is_taken, None, source=source))
    return Profile(tuple(runs), None, 0, METHOD)


def _element_type(operation: Any, types: dict[str, str]) -> str:
    """`float32` where it reads or writes that, or else the type of its output."""
    output = types[operation.outputs[0].name]
    inputs = (argument.name for value in operation.inputs.values() for argument in value.arguments)
    return "float32" if "float32" in (output, *(types.get(name) for name in inputs)) else output
