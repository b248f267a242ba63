"""Results of `edgeseg ablate` and `edgeseg pseudo-label` as tables for people."""

from __future__ import annotations

from typing import Any


def ablation_table(result: dict[str, Any]) -> str:
    """The cells to come with their time, or the table of those that are done."""
    if "known_from" in result:
        lines = [f"{'seed':>4}  {'state':<6} combination"]
        for row in result["cells"]:
            same = f" (and {', '.join(row['same_as'])})" if row["same_as"] else ""
            lines.append(f"{row['seed']:>4}  {row['state']:<6} {row['name']}{same}")
        each, left = result["seconds_per_cell"] / 60, result["seconds_left"] / 60
        return "\n".join([*lines, f"about {each:.1f} min a cell ({result['known_from']}), {left:.0f} min left"])
    state = "interrupted; the same command goes on" if result["interrupted"] else "done"
    return f"{result['table']}\n\n{result['finished']} of {result['cells']} cells in {result['out']}, {state}"


def pseudo_label_table(result: dict[str, Any]) -> str:
    """How much was labelled, and as what."""
    lines = [f"{result['labelled']} of {result['photos']} photos labelled, {100 * result['void_share']:.1f} % void"]
    if result["left_out"]:
        first = ", ".join(result["left_out"][:3])
        lines.append(f"{len(result['left_out'])} left out, as too little of them is sure: {first}")
    lines += [f"{count:>8} {name}" for name, count in result["segments"].items()]
    if result["real_labels"]:
        lines.append(f"{result['real_labels']} photos with real labels beside them")
    return "\n".join([*lines, f"COCO panoptic folder: {result['out']}"])
