"""Cells of a model table as a page: a grid of backbones and heads for each size and runtime, and whether costs add up.

python -m edgeseg.bench.latency_pages docs/latency.jsonl > docs/latency.md
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from edgeseg.bench.model_table import Cell, read_cells
from edgeseg.bench.refusals import refusals
from edgeseg.config import Config
from edgeseg.export.plan import FLOAT
from edgeseg.models import BACKBONES, HEADS
from edgeseg.models.timm_adapter import TESTED

_BACKBONES = [*BACKBONES, *(f"timm:{name}" for name in TESTED)]
_RUNTIMES = {"litert": "LiteRT", "executorch": "ExecuTorch", "onnx": "ONNX Runtime"}
_PRECISIONS = (FLOAT, "int8")

_INTRODUCTION = """# What every network costs

Written by `python -m edgeseg.bench.latency_pages docs/latency.jsonl > docs/latency.md`, from cells that
`edgeseg models table --seconds 1 --out docs/latency.jsonl` adds to. [models.md](models.md) says how they are measured
and what they say.

{cells} cells of {networks} networks: 133 categories, 64 slots, merge in the app, one thread; least milliseconds of the
calls, float32 → `int8`. {machines}. A median is {typical:.2f} times its least call, {tenth:.2f} times or more in a
tenth of the cells. Compare within a grid, and by its hours (UTC, under it): a host is not always as fast.
Bytes, medians, operators outside the delegate, load and commit of each cell:
`edgeseg models table --out docs/latency.jsonl --plan --json`.
"""

_GAINS = """## What int8 gains at {side}x{side}

float32's milliseconds by int8's: median over the heads, and least to most.
"""

_HEADS_COST = """
## What a head costs at {side}x{side}

Milliseconds by those of the same backbone under `{head}`: median over the backbones, and least to most.
"""

_BACKBONES_COST = """
## What a backbone costs at {side}x{side}

Milliseconds by those of `{backbone}` under the same head: median over the heads, and least to most.
"""

_CUT = """## Cut in int8

Pieces that the delegate gets of an `int8` file, where it is more than one, and operators that stay outside.

| head | LiteRT | ExecuTorch | backbones |
|---|---|---|---|"""


@dataclass(frozen=True)
class Sums:
    """How far costs add up.

    Attributes:
        num: Networks of neither the default backbone nor the default head whose parts were measured.
        median: Of the relative differences between what was measured and the sum of its parts, signs left out.
        most: What nine of ten differ by at most.
        largest: Of these.
    """

    num: int
    median: float
    most: float
    largest: float


def page(cells: Sequence[Cell]) -> str:
    """Markdown of cells that are named BACKBONE+HEAD@SIDE."""
    ratios = sorted(cell.ms / cell.least_ms for cell in cells if not cell.refused)
    parts = [
        _INTRODUCTION.format(
            cells=len(cells),
            networks=len({cell.network for cell in cells}),
            machines=", ".join(sorted({cell.machine for cell in cells})),
            typical=statistics.median(ratios),
            tenth=ratios[len(ratios) * 9 // 10],
        )
    ]
    for side in sorted({_parts(cell)[2] for cell in cells}, key=int):
        for runtime, title in _RUNTIMES.items():
            if here := [cell for cell in cells if cell.runtime == runtime and _parts(cell)[2] == side]:
                versions = dict.fromkeys(cell.runtime_version.partition(" (")[0] for cell in here if not cell.refused)
                parts += [
                    f"## {side}x{side}, {title}\n",
                    _grid(here),
                    f"\n{', '.join(versions)}; {_hours(here)}.{_sums(here)}\n",
                ]
        parts += _ratios([cell for cell in cells if _parts(cell)[2] == side], side)
    return "\n".join([*parts, _CUT, *_cuts(cells)]) + "\n"


def add_up(cells: Iterable[Cell]) -> Sums | None:
    """Whether networks cost what their parts do, in cells of one runtime, side and precision.

    The sum is least_ms(backbone, default head) + least_ms(default backbone, head) - least_ms(both default).

    Returns:
        None where no network can be compared.
    """
    default = Config().model
    ms = {_parts(cell)[:2]: cell.least_ms for cell in cells if not cell.refused}
    differences = []
    for (backbone, head), found in ms.items():
        parts = [(backbone, default.head), (default.backbone, head), (default.backbone, default.head)]
        if (backbone, head) not in parts and all(part in ms for part in parts):
            first, second, shared = (ms[part] for part in parts)
            differences.append(abs(found / (first + second - shared) - 1))
    if not differences:
        return None
    median, most, largest = np.quantile(differences, (0.5, 0.9, 1.0)).tolist()
    return Sums(len(differences), median, most, largest)


def _grid(cells: Sequence[Cell]) -> str:
    found = {(*_parts(cell)[:2], cell.precision): _milliseconds(cell) for cell in cells}
    lines = [f"| | {' | '.join(f'`{head}`' for head in HEADS)} |", "|---" * (1 + len(HEADS)) + "|"]
    for backbone in _BACKBONES:
        row = [" → ".join(found.get((backbone, head, p), "") for p in _PRECISIONS) for head in HEADS]
        if any(shown := ["" if pair == " → " else pair for pair in row]):
            lines.append(f"| `{backbone}` | {' | '.join(shown)} |")
    return "\n".join(lines)


def _milliseconds(cell: Cell) -> str:
    return "refused" if cell.refused else f"{cell.least_ms:.1f}"


def _hours(cells: Sequence[Cell]) -> str:
    """First and last minute."""
    minutes = sorted(cell.time_utc[:16].replace("T", " ") for cell in cells)
    return f"{minutes[0]} to {minutes[-1]}"


def _sums(cells: Sequence[Cell]) -> str:
    """A sentence for each precision."""
    said = ""
    for precision in _PRECISIONS:
        if sums := add_up(cell for cell in cells if cell.precision == precision):
            said += (
                f" {precision}: {sums.num} networks differ from the sum of their parts by {sums.median:.0%} (median), "
                f"nine of ten by no more than {sums.most:.0%}, one by {sums.largest:.0%}."
            )
    return said


def _ratios(cells: Iterable[Cell], side: str) -> list[str]:
    """Tables of what int8 gains on each backbone, what each head costs and what each backbone does."""
    usual = Config().model
    ms = {(*_parts(cell)[:2], cell.runtime, cell.precision): cell.least_ms for cell in cells if not cell.refused}
    gains: dict[tuple[str, ...], list[float]] = {}
    heads: dict[tuple[str, ...], list[float]] = {}
    backbones: dict[tuple[str, ...], list[float]] = {}
    for (backbone, head, runtime, precision), found in ms.items():
        if precision == FLOAT and (int8 := ms.get((backbone, head, runtime, "int8"))):
            gains.setdefault((backbone, runtime), []).append(found / int8)
        if head != usual.head and (least := ms.get((backbone, usual.head, runtime, precision))):
            heads.setdefault((head, runtime, precision), []).append(found / least)
        if backbone != usual.backbone and (least := ms.get((usual.backbone, head, runtime, precision))):
            backbones.setdefault((backbone, runtime, precision), []).append(found / least)
    ways: dict[tuple[str, ...], str] = {
        (runtime, p): f"{title} {p}" for runtime, title in _RUNTIMES.items() for p in _PRECISIONS
    }
    return [
        _GAINS.format(side=side),
        _table(gains, _BACKBONES, {(runtime,): title for runtime, title in _RUNTIMES.items()}),
        _HEADS_COST.format(side=side, head=usual.head),
        _table(heads, HEADS, ways),
        _BACKBONES_COST.format(side=side, backbone=usual.backbone),
        _table(backbones, _BACKBONES, ways) + "\n",
    ]


def _table(
    ratios: Mapping[tuple[str, ...], Sequence[float]], names: Iterable[str], columns: Mapping[tuple[str, ...], str]
) -> str:
    lines = [f"| | {' | '.join(columns.values())} |", "|---" * (1 + len(columns)) + "|"]
    for name in names:
        if any(shown := [_spread(ratios.get((name, *column), ())) for column in columns]):
            lines.append(f"| `{name}` | {' | '.join(shown)} |")
    return "\n".join(lines)


def _spread(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}" if ratios else ""


def _cuts(cells: Sequence[Cell]) -> list[str]:
    """A row for each head and way to cut it."""
    cut: dict[tuple[str, str, str], dict[str, str]] = {}
    for cell in cells:
        if cell.precision == "int8" and (cell.num_delegates or 1) > 1:
            backbone, head, side = _parts(cell)
            outside = ", ".join(f"{count} {name}" for name, count in sorted((cell.outside or {}).items()))
            cut.setdefault((head, backbone, side), {})[cell.runtime] = f"{cell.num_delegates}: {outside}"
    rows: dict[str, list[str]] = {}
    for (head, backbone, side), said in sorted(cut.items()):
        row = f"| `{head}` | {said.get('litert', '')} | {said.get('executorch', '')} |"
        rows.setdefault(row, []).append(f"`{backbone}` {side}")
    return [f"{row} {', '.join(names)} |" for row, names in rows.items()]


def _parts(cell: Cell) -> tuple[str, str, str]:
    """Backbone, head and side."""
    backbone, _, rest = cell.network.rpartition("+")
    head, _, side = rest.partition("@")
    return backbone, head, side


def main(cells: Path, /) -> None:
    """Prints the page of a file of cells."""
    print(page(read_cells(cells)), end="")


if __name__ == "__main__":
    with refusals():
        tyro.cli(main)
