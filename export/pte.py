"""Reads out of a .pte what delegates got of it. ExecuTorch's own reader brings the exporter, which takes seconds.

Fields are numbered as in executorch/schema/program.fbs, which only ever adds some at a table's end.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from flatbuffers.encode import Get
from flatbuffers.number_types import Int32Flags, Uint8Flags, UOffsetTFlags
from flatbuffers.table import Table

_PROGRAM_EXECUTION_PLAN = 1
_PLAN_CHAINS, _PLAN_OPERATORS, _PLAN_DELEGATES = 5, 6, 7
_CHAIN_INSTRUCTIONS = 2
_INSTRUCTION_KIND, _INSTRUCTION_CALL = 0, 1
_KERNEL_CALL = 1  # the kind
_KERNEL_CALL_OPERATOR = 0
_OPERATOR_NAME = 0


def count_pieces(path: Path) -> tuple[int, Counter[str]]:
    """Pieces that delegates got, and calls of each operator outside, such as aten::topk, in a file's first method."""
    content = path.read_bytes()
    program = Table(content, Get(UOffsetTFlags.packer_type, content, 0))
    plan = _tables(program, _PROGRAM_EXECUTION_PLAN)[0]
    names = [_text(operator, _OPERATOR_NAME) for operator in _tables(plan, _PLAN_OPERATORS)]
    calls = [
        _table(instruction, _INSTRUCTION_CALL)
        for instruction in _tables(_tables(plan, _PLAN_CHAINS)[0], _CHAIN_INSTRUCTIONS)
        if instruction.GetSlot(_slot(_INSTRUCTION_KIND), 0, Uint8Flags) == _KERNEL_CALL
    ]
    outside = Counter(names[call.GetSlot(_slot(_KERNEL_CALL_OPERATOR), 0, Int32Flags)] for call in calls)
    return len(_tables(plan, _PLAN_DELEGATES)), outside


def _slot(field: int) -> int:
    """Where a table's layout says where a field is: behind two sizes, two bytes each."""
    return 4 + 2 * field


def _tables(parent: Table, field: int) -> list[Table]:
    if (offset := parent.Offset(_slot(field))) == 0:
        return []
    first = parent.Vector(offset)
    starts = range(first, first + 4 * parent.VectorLen(offset), 4)
    return [Table(parent.Bytes, parent.Indirect(start)) for start in starts]


def _table(parent: Table, field: int) -> Table:
    return Table(parent.Bytes, parent.Indirect(parent.Pos + parent.Offset(_slot(field))))


def _text(parent: Table, field: int) -> str:
    text: bytes = parent.String(parent.Pos + parent.Offset(_slot(field)))
    return text.decode()
