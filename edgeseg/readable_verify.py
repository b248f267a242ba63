"""What `edgeseg verify` found, as a table for people."""

from __future__ import annotations

from typing import Any

_STATE = {True: "passed", False: "FAILED", None: "-"}


def verify_table(result: dict[str, Any]) -> str:
    """The ladder, one line per rung with its problems; then the artifacts; then their PQ beside torch's."""
    lines = [result["bundle"]]
    for number, rung in enumerate(result["rungs"], start=1):
        lines.append(f"{number} {rung['name']:<10}{_STATE[rung['passed']]:<8}{rung['statement']}")
        lines += [f"    {problem}" for problem in rung["problems"]]
    for heading, rows in (("artifacts", result["artifacts"]), ("quality", result["quality"])):
        if rows:
            lines += ["", *(_artifact_lines(rows) if heading == "artifacts" else _quality_lines(rows))]
    return "\n".join(lines)


def _artifact_lines(rows: list[dict[str, Any]]) -> list[str]:
    width = max(len(row["file"]) for row in rows)
    lines = [
        f"{'% of the golden pixels':<{width}}{'equal':>9}{'tied':>7}{'q25':>8}{'floor':>7}{'segments':>10}{'scores':>9}"
        f"{'logits':>9}"
    ]
    for row in rows:
        verdict = row["verdict"]
        if verdict is None:
            lines.append(f"{row['file']:<{width}}  {row['faults'][0]}")
            continue
        quartile = verdict["pixels_equal"] if verdict["lower_quartile"] is None else verdict["lower_quartile"]
        lines.append(
            f"{row['file']:<{width}}{100 * verdict['pixels_equal']:>9.3f}{100 * verdict['pixels_tied']:>7.3f}"
            f"{100 * quartile:>8.2f}{100 * row['floor']:>7.1f}{100 * verdict['segments_found']:>8.1f} %"
            f"{_difference(verdict['scores_median_abs'])}{_difference(verdict['mask_logits_max_abs'])}"
            + ("  FAILED" if row["faults"] else "")
        )
    lines.append("scores: median difference; logits: largest difference of a mask logit, where the app merges")
    return lines


def _quality_lines(rows: list[dict[str, Any]]) -> list[str]:
    width = max(len(row["file"]) for row in rows)
    lines = [
        f"{str(rows[0]['num_images']) + ' images':<{width}}{'PQ':>8}{'SQ':>8}{'RQ':>8}{'to torch':>10}{'allowed':>9}"
    ]
    for row in rows:
        values = "".join(f"{100 * row[key]:>8.2f}" for key in ("pq", "sq", "rq"))
        name = f"torch, {row['precision']}" if row["runtime"] == "torch" else row["file"]
        beside = ""
        if row["difference_points"] is not None:
            is_far = abs(row["difference_points"]) > row["floor_points"]
            beside = f"{row['difference_points']:>+10.2f}{row['floor_points']:>9.1f}" + ("  FAILED" if is_far else "")
        lines.append(f"{name:<{width}}{values}{beside}")
    return lines


def _difference(value: float | None) -> str:
    return f"{'-':>9}" if value is None else f"{value:>9.1e}"
