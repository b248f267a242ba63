"""Boundary PQ against boundary-iou-api's numbers and per-mask erosion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from edgeseg.metrics.boundary_quality import BoundaryQuality, boundary_width, interior
from edgeseg.metrics.folder import PredictedFolder
from tests.metrics.scenes import CATEGORIES, Scene, scenes

FIXTURE = Path(__file__).parents[1] / "fixtures" / "coco_sample"


@pytest.mark.parametrize(
    ("name", "pq", "sq", "rq", "n"),
    [
        ("identity", 1.0, 1.0, 1.0, 8),
        ("shift", 0.6026537058319276, 0.6292025516517362, 0.8347902097902098, 8),
        ("void_crowd", 0.7279999735376451, 0.7279999735376451, 0.8, 10),
        ("mixed", 0.18646565557088243, 0.2543136611512192, 0.22006379585326954, 20),
        ("empty", 0.0, 0.0, 0.0, 8),
    ],
)
def test_coco_sample_equals_boundary_iou_api(name: str, pq: float, sq: float, rq: float, n: int) -> None:
    """Made by github.com/bowenc0221/boundary-iou-api: pq_compute_single_core(..., "boundary", 0.02), pq_average."""
    folder = PredictedFolder.open(
        FIXTURE / f"predictions/{name}.json", FIXTURE / "predictions" / name,
        FIXTURE / "panoptic_examples.json", FIXTURE / "panoptic_examples",
    )  # fmt: skip
    result = folder.evaluate(["boundary_pq"]).to_dict()["boundary_pq"]
    assert result["all"] == pytest.approx({"pq": pq, "sq": sq, "rq": rq, "n": n}, abs=1e-9)  # type: ignore[index]


def test_a_boundary_is_two_hundredths_of_the_diagonal_wide() -> None:
    assert boundary_width(300, 400) == 10
    assert boundary_width(3, 4) == 1


@settings(max_examples=60, deadline=None)
@given(scenes(shape=(5, 6), cell=4), st.integers(1, 3))
def test_one_filter_for_all_segments_equals_an_erosion_of_each(scene: Scene, width: int) -> None:
    expected = np.zeros(scene.gt.shape, dtype=bool)
    for id_ in np.unique(scene.gt):
        mask = scene.gt == id_
        expected |= ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=width, border_value=0)
    np.testing.assert_array_equal(interior(scene.gt, width), expected)


@settings(max_examples=60, deadline=None)
@given(scenes(shape=(4, 5), cell=4))
def test_matches_need_both_ious(scene: Scene) -> None:
    """The definition, one mask at a time; images this small have boundaries one pixel wide."""

    def boundary(mask: np.ndarray) -> np.ndarray:
        return mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), border_value=0)

    metric = BoundaryQuality(CATEGORIES)
    metric.add(scene.pair())
    void = scene.gt == 0
    for row in metric.compute().per_category:
        ious = []
        for truth in scene.gt_table:
            for guess in scene.pred_table:
                if truth.is_crowd or not truth.category_id == guess.category_id == row.category.id:
                    continue
                masks = scene.gt == truth.id, scene.pred == guess.id
                both = [(t & g).sum() / (t | (g & ~void)).sum() for t, g in (masks, tuple(map(boundary, masks)))]
                if min(both) > 0.5:
                    ious.append(min(both))
        assert row.tp == len(ious)
        assert row.iou_sum == pytest.approx(sum(ious), abs=1e-12)
