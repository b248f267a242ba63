"""The yardstick scores as panopticapi does, and the benchmark runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeseg.bench.coco_like import make_coco_like
from edgeseg.bench.metrics_speed import Args, main
from edgeseg.bench.plain_pq import plain_pq
from edgeseg.metrics.folder import PredictedFolder

FIXTURE = Path(__file__).parents[1] / "fixtures" / "coco_sample"
EXPECTED: dict[str, Any] = json.loads((FIXTURE / "expected.json").read_text())["results"]


@pytest.mark.parametrize("name", EXPECTED)
def test_the_plain_yardstick_equals_panopticapi(name: str) -> None:
    """expected.json was made by panopticapi at 7bb4655."""
    pred, gt = FIXTURE / f"predictions/{name}.json", FIXTURE / "panoptic_examples.json"
    sums = plain_pq(pred, pred.with_suffix(""), gt, gt.with_suffix(""))
    expected = {
        int(id_): [row["iou"], row["tp"], row["fp"], row["fn"]] for id_, row in EXPECTED[name]["per_class"].items()
    }
    assert sums.keys() == expected.keys()
    for id_, row in expected.items():
        assert sums[id_] == pytest.approx(row, abs=1e-9)


def test_on_generated_folders_ours_equals_the_yardstick(tmp_path: Path) -> None:
    pred, gt = make_coco_like(tmp_path / "folder", 3, seed=5)
    sums = plain_pq(pred, pred.with_suffix(""), gt, gt.with_suffix(""))
    result = PredictedFolder.open(pred, pred.with_suffix(""), gt, gt.with_suffix("")).evaluate().quality.compute()
    ours = {row.category.id: [row.iou_sum, row.tp, row.fp, row.fn] for row in result.per_category}
    assert {id_: row for id_, row in ours.items() if any(row)}.keys() == sums.keys()
    for id_, row in sums.items():
        assert ours[id_] == pytest.approx(row, abs=1e-9)
    assert 0.1 < result.all.pq < 0.9


def test_the_same_seed_draws_the_same_folders(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_coco_like(tmp_path / name, 2, seed=1)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 6
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)


@pytest.mark.slow
def test_the_benchmark_prints_its_tables(capsys: pytest.CaptureFixture[str]) -> None:
    main(Args(images=2, rounds=1, workers=(1,)))
    out = capsys.readouterr().out
    assert "edgeseg, whole" in out
    assert "edgeseg on Pillow, whole: " in out
    assert "of the rate of Pillow alone" in out
    assert "beyond decoding" in out
    assert "peak while scoring" in out
