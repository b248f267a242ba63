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
    """Networks with their cost, and under each what was measured, as a Markdown table."""
    lines = [
        "| network | M params | G MACs | runtime | precision | MB | ms | least ms | pieces | outside the delegate |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["list"]:
        cost = f"{row['params'] / 1e6:.2f} | {row['macs'] / 1e9:.3f}"
        for cell in row["measurements"]:
            head = f"| {row['name']} | {cost} | {cell['runtime']} | {cell['precision']} |"
            lines.append(f"{head} {_measured(cell)} |")
    return "\n".join(lines)


def _measured(cell: dict[str, Any]) -> str:
    if cell["refused"]:
        return f"| | | | refused: {cell['refused']}"
    outside = ", ".join(f"{count} {name}" for name, count in sorted((cell["outside"] or {}).items())) or "nothing"
    return (
        f"{cell['bytes'] / 1e6:.2f} | {cell['ms']:.1f} | {cell['least_ms']:.1f} | {cell['num_delegates']} | {outside}"
    )
