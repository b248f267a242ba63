"""The verbs of `edgeseg data` for folders of others: one document or one table on standard output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from edgeseg.cli import main
from edgeseg.data.convert.run import READERS
from tests.data import convert_sources as sources


def call(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = main([str(word) for word in argv])
    return code, *capsys.readouterr()


def test_convert_split_stats_show_in_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, made = sources.write_roboflow(tmp_path / "robo"), tmp_path / "made"
    code, out, err = call(
        capsys, "data", "convert", source, "--out", made, "--stuff", "sky", "--background", "ground", "--num-workers", 0
    )
    assert code == 0
    assert out.splitlines()[0] == f"roboflow -> {made}: 1 train, 1 val; 8 segments of 4 categories, 0.0 % void"
    assert "converting roboflow: 2/2" in err
    again = tmp_path / "again"
    code, out, _ = call(capsys, "data", "split", made, "--out", again, "--val", 0.5, "--json", "--quiet")
    assert (code, json.loads(out)["splits"]["val"]) == (0, {"images": 1, "groups": 1})
    code, out, _ = call(capsys, "data", "stats", again, "--num-workers", 0, "--quiet")
    assert code == 0
    assert out.startswith("train: 1 images, 4 segments (0 crowds), 0.0 % void")
    sky = next(line for line in out.splitlines() if line.strip().startswith("sky"))
    assert sky.split()[1:7] == ["stuff", "1", "1", "3", "3", "3"]  # the root of 10 pixels
    code, out, _ = call(capsys, "data", "show", again, "--out", tmp_path / "sheet.png", "--quiet")
    assert (code, out) == (0, f"1 photos on {tmp_path / 'sheet.png'}\n")


def test_a_broken_source_is_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = sources.write_yolo(tmp_path / "yolo")
    (source / "labels/train/a.txt").write_text("0 0.1 0.1 0.2 0.2\n")
    code, out, err = call(capsys, "data", "convert", source, "--out", tmp_path / "out", "--val", 0, "--quiet")
    assert (code, out) == (2, "")
    assert err.startswith("edgeseg: ")
    assert "a.txt:1: 4 numbers are a detection box" in err
    assert err.count("\n") == 1


def test_show_draws_what_a_training_would_see(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, sheet = tmp_path / "street", tmp_path / "seen.png"
    assert call(capsys, "data", "make", "street", "--out", folder, "--train", 3, "--val", 1, "--size", 64, 64)[0] == 0
    options = ("--augmented", "street", "--num", 2, "--out", sheet)
    assert call(capsys, "data", "show", folder, *options)[:2] == (0, f"2 photos on {sheet}\n")
    assert Image.open(sheet).size[0] > 100
    code, _, err = call(capsys, "data", "show", folder, *options)
    assert code == 2
    assert "exists already" in err


@pytest.mark.parametrize("verb", ["convert", "split", "stats", "show"])
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["data", verb, "--help"])
    assert stop.value.code == 0
    out = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--json" in out
    if verb == "convert":
        assert "then the smaller segment, then the later row" in out
        assert all(kind in out for kind in READERS)
