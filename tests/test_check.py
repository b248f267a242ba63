"""`edgeseg data check` as users and machines see it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from edgeseg.check_page import write_page
from edgeseg.check_pictures import draw_case
from edgeseg.cli import main
from edgeseg.data.doctor import Examination
from tests.data.planted_faults import FAULTS, PlantedFolder


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = main(["data", "check", *map(str, argv), "--quiet", "--num-workers", "0"])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlantedFolder:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return PlantedFolder(tmp_path / "data")


def test_a_clean_folder_exits_with_0(folder: PlantedFolder, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, folder.root)
    assert (code, err) == (0, "")
    assert "clean: 0 errors, 0 warnings; pictures in data-check.html" in out
    assert Path("data-check.html").is_file()


def test_warnings_alone_exit_with_0(folder: PlantedFolder, capsys: pytest.CaptureFixture[str]) -> None:
    FAULTS["photo grey"].plant(folder)
    code, out, _ = run(capsys, folder.root, "--page", "page.html")
    assert code == 0
    assert "warnings: 0 errors, 1 warning; pictures in page.html" in out


def test_errors_exit_with_1_and_a_machine_still_gets_the_whole_document(
    folder: PlantedFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.segment(300, area=13)
    code, out, err = run(capsys, folder.root, "--json")
    assert code == 1
    assert err == f"edgeseg: 1 error in {folder.root}\n"
    document = json.loads(out)
    assert (document["verdict"], document["num_errors"], document["num_warnings"]) == ("errors", 1, 0)
    assert document["findings"] == [
        {
            "code": "segment-area",
            "severity": "error",
            "split": "train",
            "file": "annotations/panoptic_train/a.png",
            "image_id": 1,
            "segment": 300,
            "value": "area 13 in the JSON, 12 px in the PNG",
        }
    ]
    assert set(document["codes"]["segment-area"]) == {"severity", "count", "rule", "next_step", "fix"}


def test_a_person_is_told_the_code_the_place_and_the_way_to_repair(
    folder: PlantedFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.segment(300, area=13)
    _, out, _ = run(capsys, folder.root)
    assert re.search(r"error +segment-area +1  annotations/panoptic_train/a\.png segment 300: area 13 in the JSON", out)
    assert "--fix NEW repairs what is mechanical of segment-area" in out


def test_fix_reports_what_is_repaired_and_what_is_left(
    folder: PlantedFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.segment(300, area=13)
    code, out, _ = run(capsys, folder.root, "--fix", "first", "--json")
    assert code == 0
    assert json.loads(out)["fix"]["repaired"] == {"segment-area": 1}
    folder.photo("val", 1).unlink()
    code, out, err = run(capsys, folder.root, "--fix", "second", "--json")
    assert code == 1
    fix = json.loads(out)["fix"]
    assert (fix["repaired"], list(fix["left"]["codes"])) == ({"segment-area": 1}, ["photo-missing"])
    assert err == "edgeseg: 1 error in second\n"


@pytest.mark.parametrize("argv", [("nowhere",), ("{data}", "--split", "test"), ("{data}", "--fix", ".")])
def test_nothing_to_check_is_one_line_and_exit_code_2(
    argv: tuple[str, ...], folder: PlantedFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, *(word.format(data=folder.root) for word in argv))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1


def test_the_page_is_one_file_with_pictures_and_without_network_or_script(folder: PlantedFolder) -> None:
    for name in ("segment area 0", "photo grey", "png red and blue swapped", "bbox negative"):
        FAULTS[name].plant(folder)
    report = Examination.open(folder.root).run()
    write_page(report, Path("page.html"))
    page = Path("page.html").read_text(encoding="utf-8")
    assert all(code in page for code in report.counts)
    assert len(re.findall(r'src="data:image/jpeg;base64,', page)) == len(report.cases)
    assert not re.search(r"<script|<link|url\(|https?:", page)
    assert all(name in page for name in ("car", "person", "road", "sky"))


def test_names_from_a_foreign_json_cannot_write_html(folder: PlantedFolder) -> None:
    evil = "<img onerror=alert(1)>"
    folder.edit(lambda d: d["categories"][0].update(name=evil))
    folder.edit(lambda d: d["images"][0].update(file_name=f"{evil}.jpg"))
    write_page(Examination.open(folder.root).run(), Path("page.html"))
    page = Path("page.html").read_text(encoding="utf-8")
    assert "onerror=alert" in page
    assert "<img onerror" not in page


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_of_an_image_can_be_drawn(name: str, folder: PlantedFolder) -> None:
    FAULTS[name].plant(folder)
    report = Examination.open(folder.root).run()
    for case in report.cases:
        picture = draw_case(case, report.categories)
        assert picture is None or (picture.dtype == np.uint8 and max(picture.shape[:2]) == 640)
        assert picture is not None or case.finding.code in {"photo-unreadable", "photo-empty", "photo-mode"}


def test_the_segment_in_question_is_outlined_in_yellow(folder: PlantedFolder) -> None:
    """Segment 300 covers columns 15, 16 and rows 8..13 of 24 x 32 pixels, which are enlarged 20 times."""
    folder.segment(300, area=13)
    report = Examination.open(folder.root).run()
    picture = draw_case(report.cases[0], report.categories)
    assert picture is not None
    assert picture.shape == (480, 640, 3)
    yellow = (np.abs(picture.astype(int) - [255, 221, 40]) < 12).all(axis=2)
    y, x = np.nonzero(yellow)
    assert np.allclose([x.min(), x.max() + 1], [15 * 20, 17 * 20], atol=3)
    assert np.allclose([y.min(), y.max() + 1], [8 * 20, 14 * 20], atol=3)
