"""Ternary weights of a Core ML program as 2-bit indices into the exact table -1, 0, 1.

Core ML's converter stores them as int4. iOS 18 reads indices into a table of int8, and a scale per output channel over
what comes out: the form that coremltools itself writes for palettized weights with channel scales. Codes times scales
are the products that they were, so nothing changes but the size.
"""

from __future__ import annotations

from typing import Any

import numpy as np

PASS = "edgeseg::store_ternary_tables"


def register() -> None:
    """Makes PASS known to coremltools; once is enough."""
    from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
    from coremltools.converters.mil.mil.passes.pass_registry import PASS_REGISTRY, register_pass

    class store_ternary_tables(AbstractGraphPass):  # type: ignore[misc]  # noqa: N801  # the registry takes its name
        def apply(self, prog: Any) -> None:
            for function in prog.functions.values():
                _store_tables(function)

    if PASS not in PASS_REGISTRY:
        register_pass(namespace="edgeseg")(store_ternary_tables)


def _store_tables(block: Any) -> None:
    from coremltools.converters.mil.mil import Builder, types

    two_bits = types.nptype_from_builtin(types.uint2)
    for operation in list(block.operations):
        if operation.op_type != "constexpr_blockwise_shift_scale" or operation.offset is not None:
            continue
        if (codes := operation.data.val) is None:
            continue
        codes = np.asarray(codes, np.int8)
        if np.abs(codes).max() > 1:
            continue
        table = np.array([-1, 0, 1, 0], np.int8).reshape([1] * codes.ndim + [4, 1])
        with block:
            dense = Builder.constexpr_lut_to_dense(
                indices=(codes + 1).astype(two_bits), lut=table, before_op=operation, name=f"{operation.name}_codes"
            )
            weight = Builder.constexpr_blockwise_shift_scale(
                data=dense, scale=operation.scale, before_op=operation, name=f"{operation.name}_scaled"
            )
        block.replace_uses_of_var_after_op(
            anchor_op=operation, old_var=operation.outputs[0], new_var=weight, force_replace=True
        )
        block.remove_ops([operation])
