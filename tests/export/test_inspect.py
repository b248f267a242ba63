"""`edgeseg export` of a small run, and `edgeseg inspect` of what it wrote."""

from __future__ import annotations

import json
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from edgeseg.cli import main
from edgeseg.export.bundle import SCHEMA, open_bundle
from edgeseg.export.golden import read_golden


@pytest.fixture(scope="module")
def bundle(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One ONNX artifact, the merge in the app, at half the width that the run was trained at."""
    out = tmp_path_factory.mktemp("inspect") / "small.edgeseg"
    words = ["--only", "onnx", "--precision", "float32", "--merge", "app", "--size", "64", "32", "--licence", "CC0-1.0"]
    assert main(["export", str(small_run), "--out", str(out), *words, "--golden-images", "2", "--quiet"]) == 0
    return out


def inspected(bundle: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = main(["inspect", str(bundle), "--json"])
    table: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, table


@pytest.mark.slow
def test_bundle_says_what_was_asked_for_and_where_it_is_from(
    bundle: Path, small_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, seen = inspected(bundle, capsys)
    assert code == 0
    assert (seen["image_size"], seen["map_size"], seen["num_slots"]) == ([64, 32], [64, 32], 16)
    (artifact,) = seen["artifacts"]
    assert artifact["file"] == "small-64x32.float32.onnx.app.onnx"
    assert [artifact[key] for key in ("runtime", "precision", "merge", "problem")] == ["onnx", "float32", "app", ""]
    assert artifact["bytes"] == (bundle / artifact["file"]).stat().st_size
    assert artifact["verify"]["mask_logits_max_abs"] < 2e-4
    assert seen["golden"] == {"images": 2, "precisions": ["float32"]}
    assert seen["licence"] == "CC0-1.0"
    origin = seen["provenance"]
    assert origin["data"] == {"name": "shapes", "format": "auto", "images": {"val": 4, "train": 4}}
    digest = sha256((small_run / "best.safetensors").read_bytes()).hexdigest()
    assert origin["checkpoints"] == {"float32": {"file": "best.safetensors", "sha256": digest, "step": 0}}
    assert set(seen["files"].values()) == {""}
    table = json.loads((bundle / "bundle.json").read_text())
    assert list(Draft202012Validator(json.loads(SCHEMA.read_text())).iter_errors(table)) == []
    assert [golden.image.shape for golden in read_golden(open_bundle(bundle), "float32")] == [(64, 32, 3)] * 2


@pytest.mark.slow
def test_checksums_are_those_that_sha256sum_prints(bundle: Path) -> None:
    table = json.loads((bundle / "bundle.json").read_text())
    listed = table["files"] | {row["file"]: row["sha256"] for row in table["artifacts"]}
    lines = "".join(f"{digest}  {file}\n" for file, digest in listed.items())
    subprocess.run(["sha256sum", "--check", "--quiet"], input=lines, text=True, cwd=bundle, check=True)
    found = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert found - set(listed) == {"bundle.json"}


@pytest.mark.slow
def test_people_see_a_table_and_what_is_damaged(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(bundle)]) == 0
    said = capsys.readouterr().out
    assert "small: 64 x 32 RGB -> 16 slots" in said
    assert "checksums: all 7 files as exported" in said
    kept = (bundle / "golden/001.png").read_bytes()
    (bundle / "golden/001.png").unlink()
    try:
        code, seen = inspected(bundle, capsys)
        assert code == 1
        assert seen["files"]["golden/001.png"] == "is missing, bundle.json lists it"
        assert main(["inspect", str(bundle)]) == 1
        out, err = capsys.readouterr()
        assert "checksums: golden/001.png is missing" in out
        assert err.count("\n") == 1
    finally:
        (bundle / "golden/001.png").write_bytes(kept)
