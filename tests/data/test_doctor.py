"""The data doctor finds planted faults, and nothing else."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeseg.data.coco_panoptic import PanopticFolder
from edgeseg.data.doctor import CheckReport, Examination
from edgeseg.data.doctor_codes import RULES
from edgeseg.structures import InputError
from tests.data.planted_faults import CAR, FAULTS, HEIGHT, PERSON, ROAD, SKY, WIDTH, PlantedFolder, clean_ids


def check(root: Path, split: str | None = None, num_workers: int = 0) -> CheckReport:
    return Examination.open(root, split).run(num_workers=num_workers)


def test_the_clean_folder_is_found_clean(tmp_path: Path) -> None:
    PlantedFolder(tmp_path)
    report = check(tmp_path)
    assert report.findings == ()
    assert report.verdict == "clean"


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_by_its_code_and_no_other_code_appears(name: str, tmp_path: Path) -> None:
    folder = PlantedFolder(tmp_path)
    FAULTS[name].plant(folder)
    report = check(tmp_path)
    assert set(report.counts) == FAULTS[name].codes, report.findings


def test_every_code_is_planted() -> None:
    assert set().union(*(fault.codes for fault in FAULTS.values())) == set(RULES)


def test_the_manual_lists_every_code_with_its_severity() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "data-check.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z0-9-]+)` \| (error|warning) \|", manual, re.MULTILINE))
    assert rows == {code: rule.severity for code, rule in RULES.items()}


def test_the_report_does_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    folder = PlantedFolder(tmp_path)
    for name in ("segment area 0", "photo grey", "png red and blue swapped", "photo in two splits"):
        FAULTS[name].plant(folder)
    one, two = check(tmp_path), check(tmp_path, num_workers=2)
    assert one.findings == two.findings
    assert one.splits == two.splits


def test_years_in_names_and_pngs_above_the_annotations_are_found(tmp_path: Path) -> None:
    folder = PlantedFolder(tmp_path)
    for split in ("train", "val"):
        folder.json_path(split).rename(tmp_path / "annotations" / f"panoptic_{split}2017.json")
        (tmp_path / split).rename(tmp_path / f"{split}2017")
        (tmp_path / "annotations" / f"panoptic_{split}").rename(tmp_path / f"panoptic_{split}2017")
    report = check(tmp_path)
    assert report.verdict == "clean"
    assert [split.name for split in report.splits] == ["train2017", "val2017"]
    assert [split.num_images for split in report.splits] == [2, 2]


def test_one_split_can_be_checked_alone(tmp_path: Path) -> None:
    folder = PlantedFolder(tmp_path)
    folder.photo("val", 1).unlink()
    assert check(tmp_path, "train").verdict == "clean"
    assert set(check(tmp_path, "val").counts) == {"photo-missing"}
    folder.json_path("train").unlink()
    (folder.png().parent).rename(tmp_path / "elsewhere")
    assert set(check(tmp_path).counts) == {"photo-missing"}


@pytest.mark.parametrize("split", [None, "test"])
def test_a_folder_without_the_split_is_refused(split: str | None, tmp_path: Path) -> None:
    if split:
        PlantedFolder(tmp_path)
    with pytest.raises(InputError, match="has no panoptic_"):
        check(tmp_path, split)
    with pytest.raises(InputError, match="does not exist"):
        check(tmp_path / "nowhere")


def test_statistics_are_those_counted_by_hand(tmp_path: Path) -> None:
    """Both training images have the clean map: one void line of 24."""
    PlantedFolder(tmp_path)
    train = check(tmp_path).splits[0]
    ids = clean_ids()
    assert (train.num_pixels, train.void_pixels) == (2 * HEIGHT * WIDTH, 2 * WIDTH)
    assert train.void_histogram == [2, *[0] * 9]
    assert {id_: (row.segments, row.images, row.pixels) for id_, row in train.categories.items()} == {
        CAR: (4, 2, 2 * (20 + 24)),
        PERSON: (2, 2, 2 * 12),
        ROAD: (2, 2, 2 * int((ids == 7).sum())),
        SKY: (2, 2, 2 * int((ids == 9).sum())),
    }


def test_findings_beyond_the_limit_are_counted_but_not_listed(tmp_path: Path) -> None:
    folder = PlantedFolder(tmp_path)
    folder.edit(lambda d: [row.update(area=1) for a in d["annotations"] for row in a["segments_info"]])
    report = Examination.open(tmp_path, max_findings=3).run()
    assert report.counts == {"segment-area": 10}
    assert len(report.findings) == 3
    document = report.to_dict()
    assert document["num_findings_left_off"] == 7
    assert document["codes"]["segment-area"]["count"] == document["num_errors"] == 10


def test_the_worst_of_different_images_are_kept_for_pictures(tmp_path: Path) -> None:
    folder = PlantedFolder(tmp_path)
    folder.edit(lambda d: [row.update(area=1) for row in d["annotations"][0]["segments_info"]])
    folder.edit(lambda d: [row.update(area=row["area"] + 1) for row in d["annotations"][1]["segments_info"]])
    cases = check(tmp_path).cases
    assert [(case.job.image_id, case.finding.segment) for case in cases] == [(1, 9), (2, 300)]


def mutated(document: Any, draw: st.DataObject) -> Any:
    """The document with one value somewhere replaced, or one key or row removed."""
    kind = draw.draw(st.sampled_from(["replace", "remove", "repeat"]))
    here = document
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        key = draw.draw(st.sampled_from(keys))
        inner = here[key]
        if isinstance(inner, dict | list) and inner and draw.draw(st.booleans()):
            here = inner
            continue
        if kind == "remove":
            del here[key]
        elif kind == "repeat" and isinstance(here, list):
            here.append(copy.deepcopy(inner))
        else:
            here[key] = copy.deepcopy(draw.draw(ODD_VALUES))
        return document


ODD_VALUES = st.sampled_from(
    [None, True, -1, 0, 1, 2, 7, 300, 2**24, 2**31, 2**63, 2**70, 1.0, 1e300, float("nan"), "", "a.jpg", "..", "a.png",
     "/", "\0", "\ud800", [], [1], {}, {"id": 7}, [[]], "\N{GREEK SMALL LETTER ALPHA}" * 300]
)  # fmt: skip


def held_against_the_reader(root: Path) -> None:
    """Without an error in the report, the reader that training uses must read every sample; otherwise say something."""
    report = check(root)
    try:
        for split in ("train", "val"):
            samples = PanopticFolder.open(root, split)
            for index in range(len(samples)):
                sample = samples[index]
                assert sum(segment.area for segment in sample.segments) == (sample.panoptic_map > 0).sum()
        refused = None
    except InputError as error:
        refused = error
    if refused is not None:
        assert report.num_errors, refused


FUZZ = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(draw=st.data())
def test_no_mutation_of_the_json_gets_past_the_doctor(draw: st.DataObject, tmp_path: Path) -> None:
    folder = PlantedFolder(tmp_path)
    document = json.loads(folder.json_path().read_text(encoding="utf-8"))
    for _ in range(draw.draw(st.integers(1, 3))):
        if document:
            document = mutated(document, draw)
    folder.write("train", document)
    held_against_the_reader(tmp_path)


@FUZZ
@given(draw=st.data())
def test_no_mutation_of_a_files_bytes_gets_past_the_doctor(draw: st.DataObject, tmp_path: Path) -> None:
    folder = PlantedFolder(tmp_path)
    path = draw.draw(st.sampled_from([folder.photo(), folder.photo(image_id=2), folder.png(), folder.json_path()]))
    data = bytearray(path.read_bytes())
    for _ in range(draw.draw(st.integers(1, 4))):
        place = draw.draw(st.integers(0, max(len(data) - 1, 0)))
        kind = draw.draw(st.sampled_from(["flip", "cut", "insert"]))
        if kind == "flip" and data:
            data[place] ^= draw.draw(st.integers(1, 255))
        elif kind == "cut":
            del data[place:]
        else:
            data[place:place] = draw.draw(st.binary(max_size=8))
    path.write_bytes(bytes(data))
    held_against_the_reader(tmp_path)
