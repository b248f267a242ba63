"""`edgeseg bench report`: a bundle, what was measured of it anywhere, and pictures of where its files differ."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgeseg.bench.imported import import_to_file
from edgeseg.bench.measurement import write_measurements
from edgeseg.bench.report_bundle import read_proof, report_bundle
from edgeseg.bench.report_examples import Answer, compared_example, difference_map
from edgeseg.bench.report_verify import ladder
from edgeseg.cli import main
from edgeseg.export.bundle import open_bundle
from edgeseg.export.proof import ArtifactProof, Diagnosis, Quality, Rung, VerifyResult
from edgeseg.structures import Category, InputError, Merged
from tests.bench.test_measurement import RECORD
from tests.bench.test_report import Page
from tests.bench.tiny import write_bundle

SPEC = Path(__file__).parents[2] / "apps" / "spec" / "tiny.edgeseg"
CATEGORIES = (Category(1, "car", True, (200, 0, 0)), Category(2, "road", False, (90, 90, 90)))
PROOF = VerifyResult(
    "street.edgeseg",
    (
        Rung("files", True, "9 files are as bundle.json lists them"),
        Rung("artifacts", False, "1 of 2 artifacts agree", ("a.tflite: swapped channels",)),
        Rung("quality", None, "not climbed: <why>"),
    ),
    (ArtifactProof("a.tflite", "litert", "int8", "app", 0.99, None, ("x",), Diagnosis("swapped channels", "as BGR")),),
    (
        Quality("weights.safetensors", "torch", "int8", 12, 0.6, 0.8, 0.75),
        Quality("a.tflite", "litert", "int8", 12, 0.5, 0.7, 0.6, -10.0, 1.0),
    ),
    "street.edgeseg, rung artifacts: a.tflite",
)


def merged(*rows: list[int]) -> Merged:
    """Two slots: 0 is a car, 1 the road."""
    return Merged(np.array(rows, np.uint8), np.array([0, 1], np.int32), np.array([0.9, 0.8], np.float32))


def test_a_difference_map_is_red_where_pixels_differ_and_gray_elsewhere() -> None:
    """2 x 2 pixels become 480 x 480: what a panoptic picture of them is."""
    picture = difference_map(np.full((2, 2, 3), 200, np.uint8), np.array([[True, False], [False, False]]))
    assert picture.shape == (480, 480, 3)
    assert (picture[:240, :240] == (235, 30, 30)).all()
    assert (picture[240:] == 110).all()  # 200 x 0.55


def test_every_file_is_held_against_torch_of_its_own_precision() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    road = merged([0, 0], [1, 1])
    moved = merged([0, 1], [1, 1])
    answers = {"onnx float32": Answer(road, "float32"), "onnx int8": Answer(road, "int8")}
    example = compared_example("x", image, {"float32": road, "int8": moved}, answers, CATEGORIES)
    assert [(picture.caption, picture.note) for picture in example.pictures] == [
        ("torch float32", ""),
        ("torch int8", ""),
        ("onnx float32", "no pixel differs"),
        ("onnx int8", "25.00% of the pixels differ"),
        ("onnx int8: difference", ""),
    ]
    half = example.pictures[-1].image.shape[0] // 2
    red = (example.pictures[-1].image == (235, 30, 30)).all(axis=2)
    assert red[:half, half:].all()
    assert red.sum() == half * half


def test_the_ladder_shows_rungs_diagnosis_and_quality_beside_torch() -> None:
    page = Page(ladder(PROOF))
    assert page.faults == []
    assert "files passed 9 files are as bundle.json lists them" in page.text
    assert "artifacts failed 1 of 2 artifacts agree a.tflite: swapped channels" in page.text
    assert "quality not climbed not climbed: <why>" in page.text
    assert "swapped channels in a.tflite: as BGR" in page.text
    assert "a.tflite int8 12 50.00 70.00 60.00 -10.00 1 failed" in page.text
    assert "weights.safetensors int8 12 60.00 80.00 75.00 – – –" in page.text


def test_what_verify_wrote_is_read_back_and_anything_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "verified.json"
    file.write_text(json.dumps(PROOF.to_dict()))
    assert read_proof(file) == PROOF
    file.write_text('{"rungs": 3}')
    with pytest.raises(InputError, match=r"verified\.json is not what edgeseg verify writes"):
        read_proof(file)
    with pytest.raises(InputError, match="edgeseg verify BUNDLE --out"):
        read_proof(tmp_path / "nothing.json")


def test_a_bundle_with_measurements_of_two_devices_and_of_other_files_has_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = open_bundle(write_bundle(tmp_path))
    file = bundle.artifacts[0]
    own = dataclasses.replace(
        RECORD, artifact=file.file, sha256=file.sha256, precision="float32", samples_ms=(5.0,) * 101
    )
    phone = dataclasses.replace(own, device=dataclasses.replace(own.device, name="A <phone>"), device_key="1")
    log = tmp_path / "log.txt"
    log.write_text(
        "INFO: Graph: [/data/local/tmp/street.tflite]\nINFO: count=1 curr=900\n"
        "INFO: count=50 first=900 curr=800 min=700 max=1000 avg=850 std=9\n"
        "INFO: Inference timings in us: Init: 100, First inference: 900, Warmup (avg): 900, Inference (avg): 850\n"
    )
    import_to_file(log, "theirs", tmp_path / "imported.jsonl")
    write_measurements(tmp_path / "one.jsonl", [own, RECORD])
    write_measurements(tmp_path / "two.jsonl", [phone])
    words = ["--measurements", str(tmp_path / "one.jsonl"), str(tmp_path / "two.jsonl"), "--pictures", "0", "--json"]
    words += ["--imported", str(tmp_path / "imported.jsonl"), "--quiet"]
    assert main(["bench", "report", str(bundle.path), *words]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == {
        "report": str(tmp_path / "report.html"), "rows": {"Some CPU": 1, "A <phone>": 1}, "left_out": 1, "imported": 1,
    }  # fmt: skip
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.faults == []
    assert "1 measurements of other files than this bundle's (by sha256) are left out." in page.text
    assert "IMPORTED from TFLite benchmark_model" in page.text
    assert "Devices side by side" in page.text


def test_a_proof_gives_the_files_their_quality_and_a_bundle_without_rows_still_has_a_page(tmp_path: Path) -> None:
    path = write_bundle(tmp_path)
    proof = dataclasses.replace(
        PROOF, quality=(dataclasses.replace(PROOF.quality[1], file="tiny.float32.onnx", precision="float32"),)
    )
    verified = tmp_path / "verified.json"
    verified.write_text(json.dumps(proof.to_dict()))
    report_bundle(path, tmp_path / "r.html", verified=verified, num_pictures=0, quiet=True)
    text = Page((tmp_path / "r.html").read_text(encoding="utf-8")).text
    assert re.search(r"onnx float32 float32 graph 50\.0 – – 70\.0 60\.0", text)
    assert "latency: edgeseg bench BUNDLE" in text
    assert "panoptic quality of each file" not in text


def test_numbers_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="pictures -1"):
        report_bundle(tmp_path, None, num_pictures=-1)


@pytest.mark.slow
def test_golden_images_are_answered_by_every_file_and_drawn(tmp_path: Path) -> None:
    pytest.importorskip("executorch", reason="pip install 'edgeseg[executorch]'")
    path = Path(shutil.copytree(SPEC, tmp_path / SPEC.name))
    report_bundle(path, None, num_pictures=1, quiet=True)
    text = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    for artifact in open_bundle(path).artifacts:
        assert re.search(rf"{artifact.runtime} {artifact.precision} (no pixel differs|[\d.]+% of the pixels)", text)
