"""Results as tables for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def quality_table(result: dict[str, Any]) -> str:
    """PQ, SQ, RQ in percent: all, things, stuff, then each category."""
    head = f"{'':<24}{'PQ':>7}{'SQ':>7}{'RQ':>7}{'n':>6}"
    lines = [head]
    for group in ("all", "things", "stuff"):
        row = result[group]
        lines.append(f"{group:<24}{_percent(row)}{row['n']:>6}")
    lines.append("")
    for id_, row in result["per_category"].items():
        lines.append(f"{row['name'] + ' (' + id_ + ')':<24}{_percent(row)}{row['tp'] + row['fn']:>6}")
    return "\n".join(lines)


def train_table(result: dict[str, Any]) -> str:
    """Where the run is, and its last evaluation."""
    state = "interrupted" if result["interrupted"] else "done"
    lines = [
        f"{state} at step {result['step']} after {result['seconds']:.0f} s of training; checkpoints in {result['out']}"
    ]
    return "\n".join(lines + ([quality_table(result["metrics"])] if result["metrics"] else []))


def predict_table(result: dict[str, Any]) -> str:
    """What was found in each photo."""
    lines = []
    for photo in result["images"]:
        found = ", ".join(f"{count} {name}" for name, count in photo["segments"].items()) or "nothing"
        lines.append(f"{photo['image']} -> {photo['overlay']}: {found}")
    return "\n".join([*lines, f"COCO panoptic JSON: {result['panoptic_json']}"])


def models_table(result: dict[str, Any]) -> str:
    """Networks with parameters and multiply-accumulates."""
    height, width = result["image_size"]
    lines = [f"at {height} x {width}, {result['num_categories']} categories", f"{'':<28}{'M params':>10}{'G MACs':>10}"]
    lines += [f"{row['name']:<28}{row['params'] / 1e6:>10.2f}{row['macs'] / 1e9:>10.3f}" for row in result["models"]]
    return "\n".join(lines)


def _percent(row: dict[str, Any]) -> str:
    return "".join(f"{100 * row[key]:>7.1f}" for key in ("pq", "sq", "rq"))


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "eval": quality_table,
    "train": train_table,
    "predict": predict_table,
    "models": models_table,
}
