"""The parts of a half-precision Core ML program that stay float32, by what they do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_PRODUCTS = {"conv", "linear", "matmul"}
_LONG_SUMS = {"avg_pool", "reduce_mean", "reduce_sum"}


def island_of(operation: Any) -> str:
    """Name of the island that an operator belongs to, empty where it may be half.

    Measured on trained weights (docs/runtimes.md):

    - `averages`: sums over all pixels, as of squeeze-and-excite. With half-precision accumulators these alone take a
      MobileNetV3 from 0.999 to 0.75 of the pixels: 5120 terms outgrow 11 bits.
    - `normalisation`: everything before the first convolution. Rounding 0..255 pixels moves every value behind.

    Args:
        operation: Of coremltools' MIL, before or after casts were put around its neighbours.
    """
    if operation.op_type in _LONG_SUMS:
        return "averages"
    if operation.op_type not in _PRODUCTS and not _has_product_before(operation):
        return "normalisation"
    return ""


def _has_product_before(operation: Any) -> bool:
    seen: set[int] = set()
    todo = [operation]
    while todo:
        for source in _sources(todo.pop()):
            if source.op_type in _PRODUCTS:
                return True
            if id(source) not in seen:
                seen.add(id(source))
                todo.append(source)
    return False


def _sources(operation: Any) -> Iterator[Any]:
    for value in operation.inputs.values():
        for variable in value if isinstance(value, (list, tuple)) else (value,):
            if variable is not None and variable.op is not None:
                yield variable.op
