"""Measurements and devices as tables for people."""

from __future__ import annotations

from typing import Any


def bench_table(result: dict[str, Any]) -> str:
    """Each device with its rows; then what the numbers cannot be used for."""
    if "imported" in result:
        return _imported_table(result)
    lines: list[str] = []
    devices = {device["on"]: device for device in result["devices"]}
    for address in dict.fromkeys([*devices, *(row["on"] for row in result["artifacts"])]):
        rows = [row for row in result["artifacts"] if row["on"] == address]
        lines += [_device_line(address, devices.get(address)), *_rows(rows), ""]
    return "\n".join([*lines, f"added to {result['measurements']}"])


def _imported_table(result: dict[str, Any]) -> str:
    """What `bench import` added; every row says whose number it is."""
    lines = []
    for row in result["imported"]:
        summary = row["summary"]
        median = "no median" if summary["p50_ms"] is None else f"p50 {summary['p50_ms']:.2f} ms"
        what = f"{row['name']}: mean {summary['mean_ms']:.2f} ms, {median}, {summary['num_runs']} runs"
        note = f"; {summary['note']}" if summary["note"] else ""
        lines.append(f"{what}  IMPORTED from {summary['tool']}{note}")
    return "\n".join([*lines, f"added to {result['out']}, apart from measurements"])


def compare_table(result: dict[str, Any]) -> str:
    """The verdict on B first, then what it rests on."""
    lines = [f"A {result['a']}", f"B {result['b']}"]
    for device, rows in _by_device(result["comparisons"]).items():
        lines += ["", device, f"  {'B against A':<30}{'threads':>8}{'A ms':>9}{'B ms':>9}{'B/A':>8}  interval"]
        for row in rows:
            lines += _compared(row)
    lines += ["", *(f"left out: {line}" for line in result["left_out"])] if result["left_out"] else []
    return "\n".join([*lines, *([f"blocks added to {result['measurements']}"] if result["measurements"] else [])])


def _by_device(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        device = row["device"]
        found.setdefault(f"{device['name']}, {device['cores']} cores, {device['os']}", []).append(row)
    return found


def _compared(row: dict[str, Any]) -> list[str]:
    precisions = dict.fromkeys((row["a"]["precision"], row["b"]["precision"]))
    name = f"{row['runtime']} {' -> '.join(precisions)}"
    times = f"{row['threads']:>8}{row['a']['p50_ms']:>9.2f}{row['b']['p50_ms']:>9.2f}{row['ratio']:>8.3f}"
    interval = "none"
    if row["low"] is not None:
        interval = f"{row['low']:.3f} to {row['high']:.3f}"
        interval += f" ({100 * row['confidence']:.1f} % of such hold the true one; {row['num_pairs']} pairs)"
    verdict = {
        "faster": f"B is FASTER: it takes {100 * (1 - row['ratio']):.1f} % less time",
        "slower": f"B is SLOWER: it takes {100 * (row['ratio'] - 1):.1f} % more time",
        "equal": "no difference worth naming: B is within 2 % of A",
        "none": f"NO VERDICT: {row['why']}",
    }[row["verdict"]]
    return [f"  {name:<30}{times}  {interval}", *(f"    {line}" for line in (verdict, *row["notes"]))]


def report_table(result: dict[str, Any]) -> str:
    """Where the report is, and what it rests on."""
    lines = [f"{label}: {count} rows" for label, count in result["rows"].items()]
    lines += [f"{result['left_out']} rows of other files than the bundle's left out"] if result["left_out"] else []
    lines += [f"{result['imported']} imported"] if result["imported"] else []
    return "\n".join([*lines, result["report"]])


def devices_table(result: dict[str, Any]) -> str:
    """One line per device; then what is missing for others."""
    width = max(len(row["on"]) for row in result["devices"])
    lines = []
    for row in result["devices"]:
        if "os" in row:
            soc = f", {row['soc']}" if row["soc"] else ""
            emulated = f", EMULATED by {row['emulated']}" if row["emulated"] else ""
            what = f"{row['name']}{soc}, {row['cores']} cores, {row['os']}, {row['machine']}{emulated}"
        else:
            what = row.get("name", "")
        lines.append(f"{row['on']:<{width}}  {row['state']:<6} {what}".rstrip())
    return "\n".join([*lines, *(f"no {kind}: {why}" for kind, why in result["absent"].items())])


def _device_line(address: str, device: dict[str, Any] | None) -> str:
    if device is None:
        return address
    soc = f", {device['soc']}" if device["soc"] else ""
    emulated = f"; EMULATED by {device['emulated']}: these times are no latencies" if device["emulated"] else ""
    return f"{address}: {device['name']}{soc}, {device['cores']} cores, {device['os']}{emulated}"


def _rows(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return ["  nothing was left to measure"]
    width = max(len(row["artifact"]) for row in rows)
    heading = f"  {'milliseconds':<{width}}{'threads':>8}{'p50':>9}{'p90':>9}{'p99':>9}{'runs':>7}{'load':>8}{'MiB':>7}"
    lines = [heading]
    for row in rows:
        if "p50_ms" not in row:
            lines.append(f"  {row['artifact']:<{width}}  not timed: {row['not_timed']}")
            continue
        times = "".join(f"{row[key]:>9.2f}" for key in ("p50_ms", "p90_ms", "p99_ms"))
        cost = f"{row['runs']:>7}{row['load_ms']:>8.1f}{row['peak_mib']:>7.0f}"
        lines.append(f"  {row['artifact']:<{width}}{row['threads']:>8}{times}{cost}{_notes(row)}")
        lines += [f"  {'':<{width}}{'':>8}  {line}" for line in _more(row)]
    return lines


def _notes(row: dict[str, Any]) -> str:
    notes = []
    if row["first_and_last_minute_ms"] is None and not row["is_steady"]:
        too_few = row["spread"] is None
        notes.append("too few runs" if too_few else f"NOISY (stretches differ by {100 * row['spread']:.0f} %)")
    if not row["is_settled"]:
        notes.append("never settled")
    if not row["is_cool"]:
        notes.append("not cooled down")
    return "  " + ", ".join(notes) if notes else ""


def _more(row: dict[str, Any]) -> list[str]:
    lines = []
    if row["accelerator"]:
        lines.append(f"ran on {row['accelerator']}")
    if row["split"]:
        names = {"letterbox_ms": "letterbox", "upload_ms": "in", "network_ms": "network", "readout_ms": "out"}
        names["merge_ms"] = "merge"
        parts = [f"{word} {row['split'][key]:.2f}" for key, word in names.items() if row["split"][key] is not None]
        lines.append(", ".join(parts))
    if row["first_and_last_minute_ms"]:
        first, last = row["first_and_last_minute_ms"]
        lines.append(f"first minute {first:.2f}, last minute {last:.2f} ({100 * (last / first - 1):+.0f} %)")
    if row["agreement"]:
        lines.append(_agreement(row["agreement"]))
    return lines


def _agreement(agreement: dict[str, Any]) -> str:
    verdict = "right" if agreement["judged"] >= agreement["floor"] else "WRONG"
    text = (
        f"{verdict} on the device: {100 * agreement['pixels_equal']:.2f} % of the pixels of {agreement['num_images']} "
        f"golden images as torch"
    )
    if agreement["pq"] is not None:
        here = "" if agreement["pq_here"] is None else f", {100 * agreement['pq_here']:.2f} on this computer"
        text += f"; PQ {100 * agreement['pq']:.2f} on {agreement['num_pq_images']} images{here}"
    return text
