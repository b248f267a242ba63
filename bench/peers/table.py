"""The race's result for people, and whether the bars are met."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from edgeseg.bench.paired_ratio import PairedRatio
from edgeseg.bench.peers.race import Row

BARS = {256: 0.5, 640: 0.6}
"""By the input's side: how much of the reference's network time we may take from the input's bytes to the slot map."""

Verdict = Literal["met", "missed", "open", ""]


def verdict(ratio: PairedRatio, side: int) -> Verdict:
    """Whether a ratio's whole interval is under the side's bar, or above it; empty where there is no bar."""
    if side not in BARS:
        return ""
    if ratio.low is None or ratio.high is None:
        return "open"
    if ratio.high <= BARS[side]:
        return "met"
    return "missed" if ratio.low > BARS[side] else "open"


def row_dict(row: Row) -> dict[str, Any]:
    """A row as JSON holds it, with the verdict on ours."""
    judged = verdict(row.bytes_ratio, row.side) if row.name.startswith("edgeseg") else ""
    return asdict(row) | {"bar": judged}


def table(result: dict[str, Any]) -> str:
    """The conditions, then for each side a line per subject and way to a map."""
    conditions = result["conditions"]
    device = conditions["device"]
    lines = [
        f"{device['name']}, {device['cores']} cores, {device['os']}; one thread, {conditions['clock']} time, "
        f"load {conditions['load']:.1f}, {conditions['pairs']} pairs; ratios to {conditions['reference']}",
        f"{'':<43}{'M params':>9}{'G MACs':>8}{'MB':>7}{'network':>9}{'prepare':>9}{'finish':>8}{'whole ms':>9}"
        f"{'+-':>6}{'net x':>7}{'whole x':>8}{'bytes x':>8}  interval",
    ]
    for side in dict.fromkeys(row["side"] for row in result["rows"]):
        lines += ["", f"{side} x {side}"]
        previous = ""
        for row in (row for row in result["rows"] if row["side"] == side):
            name = f"{row['name']}, {row['runtime']} {row['precision']}"
            if name != previous:
                facts = row["facts"]
                cost = f"{facts['params'] / 1e6:>9.2f}{facts['macs'] / 1e9:>8.2f}{facts['bytes'] / 1e6:>7.2f}"
                lines += [f"{name:<43}{cost}{row['network_ms']:>9.2f}{_tail(row)}"]
            else:
                lines += [f"{'':<76}{_tail(row)}"]
            previous = name
    return "\n".join(lines)


def _tail(row: dict[str, Any]) -> str:
    ratio = row["bytes_ratio"]
    interval = "" if ratio["low"] is None else f"{ratio['low']:.3f} to {ratio['high']:.3f}"
    words = ", ".join(word for word in (interval, f"bar {row['bar']}" if row["bar"] else "", row["finish"]) if word)
    return (
        f"{row['prepare_ms']:>9.2f}{row['finish_ms']:>8.2f}{row['whole_ms']:>9.2f}{100 * row['spread']:>5.0f}%"
        f"{row['network_ratio']['ratio']:>7.3f}{row['whole_ratio']['ratio']:>8.3f}{ratio['ratio']:>8.3f}  {words}"
    )
