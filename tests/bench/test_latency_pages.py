"""The page of latencies: what its grids show, and whether it is that of its cells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgeseg.bench.latency_pages import Sums, add_up, page
from edgeseg.bench.model_table import Cell, read_cells
from edgeseg.config import Config

DOCS = Path(__file__).parents[2] / "docs"
BACKBONE, HEAD = Config().model.backbone, Config().model.head


def cell(network: str, least_ms: float, **change: object) -> Cell:
    made = Cell(f"{network}@256", {}, "litert", "float32", 1, 1, ms=1.5 * least_ms, least_ms=least_ms)
    return replace(
        made,
        **{
            "machine": "a machine",
            "time_utc": "2026-11-22T09:08:07+00:00",
            "runtime_version": "ai-edge-litert 9 (here)",
            **change,
        },
    )


CELLS = [
    cell(f"{BACKBONE}+{HEAD}", 4.0),
    cell(f"mobilenet_v2+{HEAD}", 6.0),
    cell(f"timm:convnext_atto+{HEAD}", 14.0),
    cell(f"{BACKBONE}+pem", 5.0),
]


def test_a_network_that_costs_what_its_parts_do_differs_by_nothing() -> None:
    assert add_up(CELLS) is None
    assert add_up([*CELLS, cell("mobilenet_v2+pem", 7.0)]) == Sums(1, 0.0, 0.0, 0.0)
    crossings = [cell("mobilenet_v2+pem", 7.7), cell("timm:convnext_atto+pem", 12.0)]
    assert add_up([*CELLS, *crossings]) == Sums(2, *map(pytest.approx, (0.15, 0.19, 0.2)))
    assert add_up([*CELLS, cell("mobilenet_v2+lraspp", 3.0)]) is None, "lraspp's part was not measured"


def test_a_grid_shows_both_precisions_and_leaves_open_what_was_not_measured() -> None:
    cut = {"precision": "int8", "num_delegates": 3, "outside": {"GELU": 2, "CAST": 1}}
    int8 = cell(f"mobilenet_v2+{HEAD}", 2.5, **cut)
    refused = cell("mobilenet_v2+pem", 0.0, refused="too wide", time_utc="2026-11-23T15:04:05+00:00")
    shown = page([*CELLS, int8, cell(f"tiny_moat_1+{HEAD}", 6.0, **cut), refused])
    assert "7 cells of 6 networks" in shown
    assert "ai-edge-litert 9; 2026-11-22 09:08 to 2026-11-23 15:04." in shown
    assert "A median is 1.50 times its least call" in shown
    row, gain, cost = (line for line in shown.splitlines() if line.startswith("| `mobilenet_v2` |"))
    assert gain == "| `mobilenet_v2` | 2.40, 2.40 to 2.40 |  |  |"
    assert cost == "| `mobilenet_v2` | 1.50, 1.50 to 1.50 |  |  |  |  |  |"
    assert sorted(filter(None, map(str.strip, row.split("|")))) == ["6.0 → 2.5", "`mobilenet_v2`", "refused →"]
    assert "| `timm:convnext_atto` |" in shown
    assert "| `tiny_moat_0` |" not in shown, "nothing of it was measured"
    assert shown.endswith(f"| `{HEAD}` | 3: 1 CAST, 2 GELU |  | `mobilenet_v2` 256, `tiny_moat_1` 256 |\n")


def test_ratios_are_medians_over_what_was_measured() -> None:
    """By int8: 4 / 2 and 5 / 4. Of pem: 5 / 4, 9 / 6 and 28 / 14, and in int8 4 / 2. Of a backbone: 6 / 4 and 9 / 5."""
    integers = [cell(f"{BACKBONE}+{HEAD}", 2.0, precision="int8"), cell(f"{BACKBONE}+pem", 4.0, precision="int8")]
    others = [cell("mobilenet_v2+pem", 9.0), cell("timm:convnext_atto+pem", 28.0)]
    lines = page([*CELLS, *integers, *others]).splitlines()
    assert f"| `{BACKBONE}` | 1.62, 1.25 to 2.00 |  |  |" in lines
    assert "| `pem` | 1.50, 1.25 to 2.00 | 2.00, 2.00 to 2.00 |  |  |  |  |" in lines
    assert "| `mobilenet_v2` | 1.65, 1.50 to 1.80 |  |  |  |  |  |" in lines


def test_the_page_in_docs_is_that_of_the_cells_in_docs() -> None:
    """Write it again: python -m edgeseg.bench.latency_pages docs/latency.jsonl > docs/latency.md"""
    assert (DOCS / "latency.md").read_text() == page(read_cells(DOCS / "latency.jsonl"))
