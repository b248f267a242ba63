"""Writes apps/spec, the cases that every language's tests read: python -m edgeseg.bench.spec --out apps/spec."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeseg.bench.spec_merge import check_cases, merge_cases, merge_table
from edgeseg.bench.spec_picture import letterbox_cases, overlay_cases, unletterbox_cases
from edgeseg.bench.spec_records import (
    description_cases,
    latency_cases,
    measurement_schema,
    measurement_table,
    palette_table,
)

ARRAYS = ("merge", "letterbox", "overlay")
"""Folders of raw arrays; replaced as a whole."""


def write_spec(out: Path) -> list[Path]:
    """Writes every case; the same bytes each time.

    Args:
        out: Folder to write into; its README.md and tiny.edgeseg are left as they are.

    Returns:
        The files written.
    """
    written: list[Path] = []
    for folder in ARRAYS:
        shutil.rmtree(out / folder, ignore_errors=True)
        (out / folder).mkdir(parents=True)

    def keep(name: str, array: NDArray[np.generic]) -> dict[str, object]:
        file = f"{name}.{array.dtype.name}"
        (out / file).write_bytes(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())
        written.append(out / file)
        return {"file": file, "dtype": array.dtype.name, "shape": list(array.shape)}

    tables: dict[str, dict[str, object]] = {
        "merge.json": {"cases": [merge_table(case, keep) for case in merge_cases()]},
        "selfcheck.json": {"cases": check_cases()},
        "letterbox.json": {"cases": letterbox_cases(keep)},
        "unletterbox.json": {"cases": unletterbox_cases()},
        "overlay.json": {"cases": overlay_cases(keep)},
        "palette.json": palette_table(),
        "latency.json": {"cases": latency_cases()},
        "descriptions.json": {"cases": description_cases()},
        "measurement.json": measurement_table(),
        "measurement.schema.json": measurement_schema(),
    }
    for name, table in tables.items():
        (out / name).write_text(_one_case_a_line(table), encoding="utf-8")
        written.append(out / name)
    return written


def _one_case_a_line(table: dict[str, object]) -> str:
    if set(table) != {"cases"}:
        return json.dumps(table, indent=1) + "\n"
    cases = table["cases"]
    assert isinstance(cases, list)
    return '{"cases": [\n' + ",\n".join(json.dumps(case) for case in cases) + "\n]}\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the specification."""
    parser = argparse.ArgumentParser(prog="python -m edgeseg.bench.spec", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("apps/spec"))
    out = parser.parse_args(argv).out
    files = write_spec(out)
    print(f"{len(files)} files, {sum(file.stat().st_size for file in files) / 1024:.0f} KiB in {out}")


if __name__ == "__main__":
    main()
