"""What is in a bundle, as a table for people."""

from __future__ import annotations

from typing import Any


def inspect_table(result: dict[str, Any]) -> str:
    """Name, sizes, categories, one line per artifact with the runtime's share below it, origin, checksums."""
    height, width = result["image_size"]
    map_height, map_width = result["map_size"]
    golden = result["golden"]
    lines = [
        f"{result['name']}: {height} x {width} RGB -> {result['num_slots']} slots, map {map_height} x {map_width}; "
        f"schema {result['schema_version']}, {_mib(result['bytes'])} MiB in all",
        f"categories ({len(result['categories'])}): {', '.join(_category(row) for row in result['categories'])}",
        f"merge: {', '.join(f'{key} {value:g}' for key, value in result['merge'].items())}",
        f"golden: {golden['images']} images in {', '.join(golden['precisions']) or 'no precision'}",
        "",
    ]
    return "\n".join([*lines, *_artifact_rows(result["artifacts"]), "", *_origin(result), _state(result)])


def export_table(result: dict[str, Any]) -> str:
    """The bundle, one line per artifact, and what was left out."""
    lines = [f"{row['file']}: {_mib(row['bytes'])} MiB, {_equal(row['verify'])}" for row in result["artifacts"]]
    lines += [f"left out: {line}" for line in result["left_out"]]
    return "\n".join([result["bundle"], *(f"  {line}" for line in lines)])


def _artifact_rows(artifacts: list[dict[str, Any]]) -> list[str]:
    """A heading and one row per artifact, columns as wide as their longest cell."""
    table = [("precision", "runtime", "merge", "MiB", "stored as", "pixels equal to torch", "who runs it", "file")]
    for row in artifacts:
        file = f"{row['file']} {row['problem'].upper()}".rstrip()
        size, equal = _mib(row["bytes"]), _equal(row["verify"])
        stored = _stored(row["stored"])
        table.append((row["precision"], row["runtime"], row["merge"], size, stored, equal, row["runs_on"], file))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    numbers = ("MiB", "pixels equal to torch")
    is_number = [name in numbers for name in table[0]]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, is_number, strict=True)
        ).rstrip()
        for cells in table
    ]


def _stored(counts: dict[str, int]) -> str:
    """Types of a twentieth of the constants and more, the commonest first; delegates hide theirs."""
    total = sum(counts.values())
    shares = sorted(((count / total, name) for name, count in counts.items()), reverse=True)
    return ", ".join(f"{name} {100 * share:.0f} %" for share, name in shares if share >= 0.05) or "not stated"


def _equal(verdict: dict[str, Any]) -> str:
    quartile = verdict["lower_quartile"]
    text = f"{100 * verdict['pixels_equal']:.2f} %"
    return text if quartile is None else f"{text} (q25 {100 * quartile:.2f})"


def _category(row: dict[str, Any]) -> str:
    return f"{row['name']} ({'thing' if row['is_thing'] else 'stuff'})"


def _origin(result: dict[str, Any]) -> list[str]:
    """Where it comes from, as far as it says."""
    origin, tools = result["provenance"], result["tools"]
    lines = []
    if origin:
        commit = f", commit {origin['commit']}" if origin["commit"] else ""
        lines.append(f"made {origin['time_utc']}{commit}")
    if data := origin.get("data"):
        counts = ", ".join(f"{count} {split}" for split, count in data["images"].items())
        lines.append(f"data: {data['name']} ({counts} images)")
    for precision, checkpoint in origin.get("checkpoints", {}).items():
        score = result["metrics"].get(precision, {}).get("all", {}).get("pq")
        lines.append(
            f"{precision}: {checkpoint['file']} at step {checkpoint['step']}"
            + (f", PQ {100 * score:.1f} on its val split" if score is not None else "")
        )
    lines.append("made with " + ", ".join(f"{name} {version}" for name, version in tools.items()))
    return [*lines, f"licence of the weights: {result['licence']}"]


def _state(result: dict[str, Any]) -> str:
    wrong = {file: problem for file, problem in result["files"].items() if problem}
    if not wrong:
        return f"checksums: all {len(result['files'])} files as exported"
    return "\n".join(f"checksums: {file} {problem}" for file, problem in wrong.items())


def _mib(size: int) -> str:
    return f"{size / 2**20:.2f}"
