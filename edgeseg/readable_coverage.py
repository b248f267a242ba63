"""Where a bundle's time goes, as a table for people."""

from __future__ import annotations

from typing import Any

_COLUMNS = ("operator", "where", "count", "ms", "share")


def coverage_table(result: dict[str, Any]) -> str:
    """Per artifact: the dearest operators, what is left of them, then advice."""
    return "\n\n".join(_artifact(artifact, result["top"]) for artifact in result["artifacts"])


def _artifact(artifact: dict[str, Any], top: int) -> str:
    rows = artifact["rows"]
    table = [_COLUMNS, *(_cells(row) for row in rows[:top])]
    if rest := rows[top:]:
        table.append(
            (f"{len(rest)} more kinds", "", *_numbers(_sum(rest, "count"), _sum(rest, "ms"), _sum(rest, "share")))
        )
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  "
        + "  ".join(
            cell.rjust(w) if i > 1 else cell.ljust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
        )
        for cells in table
    ]
    advice = [f"  -> {line}" for line in artifact["advice"]]
    return "\n".join([_heading(artifact), *lines, *advice])


def _heading(artifact: dict[str, Any]) -> str:
    pieces = artifact["num_delegates"]
    words = [artifact["delegate"] + ("" if pieces is None else f" in {pieces} piece{'s' * (pieces != 1)}")]
    if artifact["operators_ms"] is None:
        words.append("not timed")
    else:
        words.append(f"operators {artifact['operators_ms']:.2f} ms of a call of {artifact['call_ms']:.2f} ms")
        words.append(f"{100 * artifact['outside_share']:.1f} % of it outside {artifact['delegate']}")
        words.append(f"{artifact['num_calls']} calls, {artifact['threads']} thread{'s' * (artifact['threads'] != 1)}")
    return f"{artifact['file']}: {'; '.join(words)} ({artifact['method']})"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    made_from = f" = {' + '.join(row['made_from'])}" if row["made_from"] else ""
    return row["operator"] + made_from, row["where"], *_numbers(row["count"], row["ms"], row["share"])


def _numbers(count: int, ms: float | None, share: float | None) -> tuple[str, str, str]:
    return str(count), "-" if ms is None else f"{ms:.3f}", "-" if share is None else f"{100 * share:.1f} %"


def _sum(rows: list[dict[str, Any]], key: str) -> Any:
    values = [row[key] for row in rows if row[key] is not None]
    return sum(values) if values else None
