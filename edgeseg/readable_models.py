"""Tables of networks for people."""

from __future__ import annotations

from typing import Any


def models_table(result: dict[str, Any]) -> str:
    """Networks with parameters and multiply-accumulates."""
    lines = [f"{result['num_categories']} categories", f"{'':<60}{'input':>10}{'M params':>10}{'G MACs':>10}"]
    for row in result["models"]:
        size = "x".join(map(str, row["image_size"]))
        lines.append(f"{row['name']:<60}{size:>10}{row['params'] / 1e6:>10.2f}{row['macs'] / 1e9:>10.3f}")
    return "\n".join(lines)


def shipped_table(result: dict[str, Any]) -> str:
    """Trained networks that come with edgeseg."""
    lines = [f"{'':<18}{'input':>10}{'categories':>12}{'M params':>10}{'MB':>7}{'PQ':>7}"]
    for row in result["models"]:
        size = "x".join(map(str, row["image_size"]))
        numbers = (
            f"{row['num_categories']:>12}{row['params'] / 1e6:>10.2f}{row['bytes'] / 1e6:>7.1f}{100 * row['pq']:>7.1f}"
        )
        lines.append(f"{row['name']:<18}{size:>10}{numbers}")
    return "\n".join(lines)


def latency_table(result: dict[str, Any]) -> str:
    """A network a line, as a Markdown table: least milliseconds and bytes of its files, and where they are cut.

    Medians, operators outside a delegate that is in one piece, machine and commit are in the JSON alone.
    """
    if not (rows := result["list"]):
        return "nothing measured yet"
    cells = [cell for row in rows for cell in row["measurements"]]
    runtimes, precisions = (list(dict.fromkeys(cell[key] for cell in cells)) for key in ("runtime", "precision"))
    units = [f"{runtime} {unit}" for unit in ("ms", "MB") for runtime in runtimes]
    heads = ["network", "M params", "G MACs", *units, "refused, or in more than one piece: operators outside"]
    lines = [" -> ".join(precisions) + "; the least of the calls, one thread, merge in the app", ""]
    lines += [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        found = {(cell["runtime"], cell["precision"]): cell for cell in row["measurements"]}
        columns = [
            " → ".join(_number(found.get((runtime, precision)), key, scale) for precision in precisions)
            for key, scale in (("least_ms", 1.0), ("bytes", 1e-6))
            for runtime in runtimes
        ]
        notes = "; ".join(filter(None, map(_note, row["measurements"])))
        numbers = [f"{row['params'] / 1e6:.2f}", f"{row['macs'] / 1e9:.3f}", *columns, notes]
        lines.append(f"| {row['name']} | {' | '.join(numbers)} |")
    return "\n".join(lines)


def _number(cell: dict[str, Any] | None, key: str, scale: float) -> str:
    if cell is None or cell["refused"]:
        return "–"
    return f"{cell[key] * scale:.1f}"


def _note(cell: dict[str, Any]) -> str:
    name = f"{cell['runtime']} {cell['precision']}"
    if cell["refused"]:
        return f"{name} refused: {cell['refused']}"
    if cell["num_delegates"] in (None, 1):
        return ""
    outside = sorted((cell["outside"] or {}).items())
    return f"{name}: {', '.join(f'{count} {operator}' for operator, count in outside)}"
