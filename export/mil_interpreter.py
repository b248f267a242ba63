"""Runs a Core ML program (MIL) in torch, so that a package can be checked without a Mac.

It proves what a file means, not what a device computes: which unit runs an operator, and in which order and width that
unit sums, is Apple's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeseg.export.mil_integer import IntegerLayer, integer_layer
from edgeseg.export.mil_narrow import NARROW, to_half
from edgeseg.export.mil_operators import OPERATORS, Inputs
from edgeseg.structures import InputError

Arithmetic = Literal["exact", "typed", "narrow"]
"""What a value of the program's type fp16 is.

`typed`: rounded to half where it is stored, summed in float32 within an operator (MIL's specification names the types
of inputs and outputs, not of accumulators). `narrow`: sums are rounded to half after every term, too. `exact`: float32
everywhere, which tells a converter's mistake from rounding.

Layers between grids of integers are computed in integers (mil_integer.py), unless operators are to be run as if half.
"""

_ALWAYS_FLOAT32 = {"alpha", "beta", "epsilon"}
"""Constants that programs for iOS 17 and later keep float32 in half-precision operators."""


class MilProgram:
    """The main function of an .mlpackage.

    Args:
        path: The package's folder.
        as_if_half: To study rounding in a float32 program: operators that it accepts are run as if they were half,
            their float inputs and constants rounded, too.

    Raises:
        InputError: The program holds operators that this interpreter does not know; all are named.
    """

    def __init__(self, path: Path, *, as_if_half: Callable[[Any], bool] | None = None) -> None:
        import coremltools as ct
        from coremltools.converters.mil.frontend.milproto.load import load
        from coremltools.converters.mil.mil import types

        spec = ct.utils.load_spec(str(path))
        weights = path / "Data" / "com.apple.CoreML" / "weights"
        program = load(spec, specification_version=spec.specificationVersion, file_weights_dir=str(weights))
        self._function = program.functions["main"]
        self._constants: dict[str, Tensor] = {}
        self._steps = [operation for operation in self._function.operations if operation.op_type != "const"]
        if unknown := Counter(step.op_type for step in self._steps if step.op_type not in OPERATORS):
            named = ", ".join(f"{name} ({count})" for name, count in sorted(unknown.items()))
            raise InputError(
                f"{path} uses Core ML operators that the interpreter does not know: {named}; "
                "add them to edgeseg/export/mil_operators.py"
            )
        self._is_half = {v.name: v.dtype == types.fp16 for step in self._steps for v in step.outputs}
        self._is_pretended: set[str] = set()
        self._layers: dict[str, tuple[IntegerLayer, Any]] = {}
        if as_if_half:
            self._is_pretended = {v.name for step in self._steps if as_if_half(step) for v in step.outputs}
            self._is_half |= dict.fromkeys(self._is_pretended, True)
        else:
            self._join_layers()

    @torch.inference_mode()
    def run(
        self, image: NDArray[np.float32], *, num_threads: int = 1, arithmetic: Arithmetic = "typed"
    ) -> dict[str, NDArray[Any]]:
        """Outputs by name.

        Args:
            image: (1, 3, H, W) float32 in 0..255.
            num_threads: Of torch, while it runs.
            arithmetic: What half precision means.
        """
        before = torch.get_num_threads()
        torch.set_num_threads(num_threads)
        try:
            values: dict[str, Any] = {name: torch.from_numpy(image) for name in self._function.inputs}
            for step in self._steps:
                results = self._run(step, values, arithmetic)
                for variable, result in zip(step.outputs, results, strict=True):
                    is_rounded = self._is_half[variable.name] and arithmetic != "exact"
                    values[variable.name] = _to_half(result) if is_rounded else result
            return {variable.name: values[variable.name].numpy() for variable in self._function.outputs}
        finally:
            torch.set_num_threads(before)

    def _join_layers(self) -> None:
        """Finds integer layers, and drops the steps that only led to their outputs."""
        for step in self._steps:
            if step.op_type == "quantize" and (found := integer_layer(step, self._known_inputs)):
                self._layers[step.outputs[0].name] = found
        needed = {variable.name for variable in self._function.outputs}
        kept = []
        for step in reversed(self._steps):
            if needed.isdisjoint(variable.name for variable in step.outputs):
                continue
            kept.append(step)
            layer = self._layers.get(step.outputs[0].name)
            for entry in [layer[1]] if layer else step.inputs.values():
                needed |= {
                    variable.name for variable in (entry if _is_list(entry) else [entry]) if variable is not None
                }
        self._steps = kept[::-1]

    def _known_inputs(self, step: Any) -> Inputs:
        """Of those inputs that do not depend on the image."""
        known: Inputs = {}
        for name, variable in step.inputs.items():
            maker = None if variable is None or _is_list(variable) else variable.op
            if maker is not None and maker.op_type == "const":
                known[name] = self._constant(variable)
            elif maker is not None and maker.op_type.startswith("constexpr"):
                known[name] = OPERATORS[maker.op_type](self._known_inputs(maker))
        return known

    def _run(self, step: Any, values: dict[str, Any], arithmetic: Arithmetic) -> tuple[Any, ...]:
        is_narrow = arithmetic == "narrow" and step.op_type in NARROW and self._is_half[step.outputs[0].name]
        if layer := self._layers.get(step.outputs[0].name):
            return (layer[0](values[layer[1].name]),)
        operator = (NARROW if is_narrow else OPERATORS)[step.op_type]
        inputs = self._inputs(step, values)
        if step.outputs[0].name in self._is_pretended and arithmetic != "exact":
            inputs = {name: value if name in _ALWAYS_FLOAT32 else _to_half(value) for name, value in inputs.items()}
        results = operator(inputs)
        return tuple(results) if isinstance(results, (tuple, list)) else (results,)

    def _inputs(self, step: Any, values: dict[str, Any]) -> Inputs:
        def read(variable: Any) -> Any:
            if _is_list(variable):
                return [read(item) for item in variable]
            return values[variable.name] if variable.name in values else self._constant(variable)

        return {name: read(variable) for name, variable in step.inputs.items() if variable is not None}

    def _constant(self, variable: Any) -> Any:
        """A tensor, float32 unless it is of integers; strings and None as they are."""
        if isinstance(variable.val, str) or variable.val is None:
            return variable.val
        if variable.name not in self._constants:
            constant = torch.from_numpy(np.array(variable.val))
            self._constants[variable.name] = constant.float() if constant.is_floating_point() else constant
        return self._constants[variable.name]


def _is_list(variable: Any) -> bool:
    return isinstance(variable, (list, tuple))


def _to_half(value: Any) -> Any:
    if isinstance(value, list):
        return [_to_half(item) for item in value]
    return to_half(value) if isinstance(value, Tensor) and value.dtype == torch.float32 else value
