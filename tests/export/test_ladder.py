"""The last rung, the records, and what people see."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeseg.cli import main
from edgeseg.data.coco_panoptic import write_panoptic
from edgeseg.export.bundle import Verdict
from edgeseg.export.proof import ArtifactProof, Diagnosis, Quality, Rung, VerifyResult
from edgeseg.export.quality import floor_points_of
from edgeseg.readable_verify import verify_table
from edgeseg.structures import Category, Segment
from tests.export.small import CATEGORIES, IMAGES, SIZE

VERDICT = Verdict(0.75, 0.5, 4, 20, None, "an engine", 0.7, 0.125, 1e-6, None)
RESULT = VerifyResult(
    "x.edgeseg",
    (
        Rung("files", True, "9 files"),
        Rung("golden", True, "8 answers"),
        Rung("artifacts", False, "1 of 2 artifacts", ("a.onnx: swapped channels: it reads BGR (0.75)",)),
        Rung("quality", False, "PQ on 5 images", ("a.onnx: PQ 50.00",)),
    ),
    (
        ArtifactProof("a.onnx", "onnx", "float32", "graph", 0.999, VERDICT, ("0.75",), Diagnosis("swapped", "BGR")),
        ArtifactProof("b.tflite", "litert", "int8", "app", 0.99, None, ("its runtime cannot load it",)),
    ),
    (
        Quality("weights.safetensors", "torch", "float32", 5, 0.62, 0.8, 0.775),
        Quality("a.onnx", "onnx", "float32", 5, 0.5, 0.8, 0.625, -12.0, 0.1),
    ),
    failed="x.edgeseg, rung artifacts: a.onnx",
)


def test_a_result_reads_back_from_its_json() -> None:
    assert VerifyResult.from_dict(json.loads(json.dumps(RESULT.to_dict()))) == RESULT
    later = RESULT.to_dict() | {"added_in_a_later_version": 1}
    assert VerifyResult.from_dict(json.loads(json.dumps(later))) == RESULT
    with pytest.raises(ValueError, match="rungs"):
        VerifyResult.from_dict({"bundle": "x.edgeseg"})


def test_the_table_shows_every_rung_every_artifact_and_torchs_pq() -> None:
    lines = verify_table(RESULT.to_dict()).splitlines()
    assert lines[1] == "1 files     passed  9 files"
    assert lines[3] == "3 artifacts FAILED  1 of 2 artifacts"
    assert lines[4].strip() == "a.onnx: swapped channels: it reads BGR (0.75)"
    row = next(line for line in lines if line.startswith("a.onnx ") and "75.000" in line)
    assert row.split() == ["a.onnx", "75.000", "12.500", "70.00", "99.9", "50.0", "%", "1.0e-06", "-", "FAILED"]
    assert (
        next(line for line in lines if line.startswith("b.tflite")).split(maxsplit=1)[1] == "its runtime cannot load it"
    )
    assert next(line for line in lines if line.startswith("torch, float32")).split()[2:] == ["62.00", "80.00", "77.50"]
    assert lines[-1].split() == ["a.onnx", "50.00", "80.00", "62.50", "-12.00", "0.1", "FAILED"]


@pytest.mark.parametrize(
    "precision, points, is_below",
    [("float32", 0.1, False), ("float32", -0.11, True), ("int8", 0.5, False), ("int8", 0.6, True)],
)
def test_quality_may_differ_from_torchs_either_way_by_its_floor(precision: str, points: float, is_below: bool) -> None:
    """A PQ that is too high is another network as well."""
    row = Quality("a", "onnx", precision, 5, 0.5, 0.8, 0.6, points, floor_points_of(precision))
    assert row.is_below_floor == is_below
    assert not replace(row, difference_points=None).is_below_floor
    assert replace(row, difference_points=float("nan")).is_below_floor


def write_data(root: Path, categories: tuple[Category, ...]) -> Path:
    """The golden images with two segments each."""
    from PIL import Image

    (root / "val").mkdir(parents=True)
    panoptic_map = np.ones(SIZE, np.int32)
    panoptic_map[:, SIZE[1] // 2 :] = 2
    area, half = panoptic_map.size // 2, SIZE[1] // 2
    segments = (
        Segment(1, categories[0].id, area, (0, 0, half, SIZE[0])),
        Segment(2, categories[3].id, area, (half, 0, half, SIZE[0])),
    )
    records = []
    for number, image in enumerate(IMAGES, start=1):
        Image.fromarray(image).save(root / "val" / f"{number}.png")
        records.append((number, f"{number}.png", panoptic_map, segments))
    annotations = root / "annotations"
    write_panoptic(annotations / "panoptic_val.json", annotations / "panoptic_val", records, categories=categories)
    return root


def test_every_artifact_is_scored_on_the_users_images_beside_torch(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime and torch agree to the last pixel on float32, so their PQ is the same number."""
    data, out = write_data(tmp_path / "data", CATEGORIES), tmp_path / "verify.json"
    assert (
        main(["verify", str(small), "--data", str(data), "--images", "3", "--out", str(out), "--json", "--quiet"]) == 0
    )
    result = VerifyResult.from_dict(json.loads(out.read_text()))
    assert VerifyResult.from_dict(json.loads(capsys.readouterr().out)) == result
    rows = {(row.runtime, row.precision): row for row in result.quality}
    assert rows["torch", "float32"].num_images == 3
    assert rows["onnx", "float32"].pq == rows["torch", "float32"].pq
    assert rows["onnx", "float32"].difference_points == 0
    assert rows["onnx", "int8"].difference_points is None  # no quantizer made these weights: torch cannot be asked
    assert result.rungs[3].passed is True
    assert "torch's PQ is not known in int8" in result.rungs[3].statement


def test_data_of_other_categories_are_refused(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_data(tmp_path / "data", (replace(CATEGORIES[0], name="ring"), *CATEGORIES[1:]))
    assert main(["verify", str(small), "--data", str(data), "--quiet"]) == 2
    assert "ring" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_one_line(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(small), "--out", str(tmp_path / "none" / "verify.json"), "--quiet"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
