"""Evaluation shared by two processes equals that of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.multiprocessing as mp
from numpy.typing import NDArray
from torch import distributed as dist

from edgeseg.data.coco_panoptic import PanopticFolder
from edgeseg.data.street import make_street
from edgeseg.engine.distributed import sum_over_processes
from edgeseg.engine.evaluate import evaluate_metrics
from edgeseg.structures import Merged

METRICS = ("pq_by_size", "pc", "miou", "confusion")


def quadrants(image: NDArray[np.uint8]) -> Merged:
    """A predictor that finds the same four segments in every image, some of them rightly."""
    height, width = image.shape[0] // 4, image.shape[1] // 4
    slot_map = np.zeros((height, width), dtype=np.uint8)
    slot_map[height // 2 :] += 2
    slot_map[:, width // 2 :] += 1
    return Merged(slot_map, np.array([0, 3, 0, 1], np.int32), np.full(4, 0.9, np.float32))


def score(folder: Path, rank: int, world_size: int) -> Any:
    samples = PanopticFolder.open(folder, "val")
    return evaluate_metrics(
        quadrants,
        samples,
        METRICS,
        size=(64, 64),
        categories=samples.categories,
        rank=rank,
        world_size=world_size,
    )


def work(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    result = sum_over_processes(score(folder / "street", rank, 2)).to_dict()
    (folder / f"{rank}.json").write_text(json.dumps(result))
    dist.destroy_process_group()


def test_one_process_alone_is_its_own_sum() -> None:
    assert sum_over_processes([1, 2]) == [1, 2]


@pytest.mark.slow
def test_two_processes_on_gloo_score_what_one_does(tmp_path: Path) -> None:
    """Every process holds the sum; counts are equal, sums of IoU up to their order."""
    make_street(tmp_path / "street", train=1, val=5, size=(64, 64), seed=0, num_workers=1)
    mp.spawn(work, args=(tmp_path,), nprocs=2)  # type: ignore[no-untyped-call]
    one = score(tmp_path / "street", 0, 1).to_dict()
    assert one["all"]["n"] > 4
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    for group in ("all", "things", "stuff"):
        assert first[group] == pytest.approx(one[group], abs=1e-12)
    assert first["confusion"] == json.loads(json.dumps(one["confusion"]))
    assert {k: v["fn"] for k, v in first["per_category"].items()} == {
        k: v["fn"] for k, v in one["per_category"].items()
    }
