"""The data doctor's repairs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeseg.data.coco_panoptic import PanopticFolder
from edgeseg.data.doctor import CheckReport, Examination
from edgeseg.data.doctor_fix import fix_folder
from edgeseg.structures import InputError
from tests.data.planted_faults import FAULTS, IMAGES, ROAD, PlantedFolder, clean_ids

UNREADABLE = {"json-unreadable", "json-not-panoptic", "json-key-missing", "split-json-missing"}
MECHANICAL = [name for name, fault in FAULTS.items() if fault.is_mechanical]
OTHERS = [name for name, fault in FAULTS.items() if not fault.is_mechanical]


def fixed(name: str, tmp_path: Path) -> tuple[PlantedFolder, Path, CheckReport]:
    folder = PlantedFolder(tmp_path / "data")
    FAULTS[name].plant(folder)
    fix_folder(folder.root, tmp_path / "fixed")
    return folder, tmp_path / "fixed", Examination.open(tmp_path / "fixed").run()


def contents(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", MECHANICAL)
def test_a_mechanical_fault_is_gone_from_the_new_folder(name: str, tmp_path: Path) -> None:
    _, out, report = fixed(name, tmp_path)
    assert report.findings == ()
    for split, names in IMAGES.items():
        samples = PanopticFolder.open(out, split)
        assert len([samples[i] for i in range(len(samples))]) == len(names)


@pytest.mark.parametrize("name", OTHERS)
def test_what_cannot_be_repaired_is_carried_over_and_said(name: str, tmp_path: Path) -> None:
    """The first planted code is the fault itself, the others are its consequences; unlisted files stay behind."""
    folder = PlantedFolder(tmp_path / "data")
    FAULTS[name].plant(folder)
    before = contents(folder.root)
    if FAULTS[name].codes & UNREADABLE:
        with pytest.raises(InputError, match="before --fix"):
            fix_folder(folder.root, tmp_path / "fixed")
        assert not (tmp_path / "fixed").exists()
    else:
        fix_folder(folder.root, tmp_path / "fixed")
        left = set(Examination.open(tmp_path / "fixed").run().counts)
        assert left <= FAULTS[name].codes
        assert left, "something cannot be repaired"
    assert contents(folder.root) == before


def test_a_clean_folder_is_copied_byte_by_byte_but_for_its_json(tmp_path: Path) -> None:
    folder = PlantedFolder(tmp_path / "data")
    fix_folder(folder.root, tmp_path / "fixed")
    before, after = contents(folder.root), contents(tmp_path / "fixed")
    assert before.keys() == after.keys()
    assert {k: v for k, v in before.items() if not k.endswith(".json")} == {
        k: v for k, v in after.items() if not k.endswith(".json")
    }
    for split in IMAGES:
        name = f"annotations/panoptic_{split}.json"
        assert json.loads((folder.root / name).read_text()) == json.loads((tmp_path / "fixed" / name).read_text())


def test_unlisted_ids_become_void_and_other_pixels_stay(tmp_path: Path) -> None:
    _, out, _ = fixed("png holds an unlisted id", tmp_path)
    expected = clean_ids()
    expected[1:3, 0:4] = 0
    assert np.array_equal(PanopticFolder.open(out, "train")[0].panoptic_map, expected)


def test_stuff_of_one_category_becomes_its_first_segment(tmp_path: Path) -> None:
    _, out, _ = fixed("stuff in two segments", tmp_path)
    sample = PanopticFolder.open(out, "train")[0]
    ids = clean_ids()
    assert np.array_equal(sample.panoptic_map, np.where(ids == 9, 7, ids))
    assert [s.area for s in sample.segments if s.category_id == ROAD] == [int(np.isin(ids, (7, 9)).sum())]


def test_a_photo_is_turned_as_its_label_lies(tmp_path: Path) -> None:
    """Stored turned by 90 degrees; against the upright clean photo only JPEG's loss is left."""
    clean = PlantedFolder(tmp_path / "clean")
    _, out, _ = fixed("photo to be turned, label too", tmp_path)
    with Image.open(out / "train" / "a.jpg") as picture, Image.open(clean.photo()) as original:
        assert picture.getexif().get(0x0112, 1) == 1
        assert picture.size == original.size
        assert np.abs(np.asarray(picture).astype(int) - np.asarray(original)).mean() < 40  # noise, coded thrice
        upside_down = np.asarray(original)[::-1, ::-1].astype(int)
        assert np.abs(np.asarray(picture) - upside_down).mean() > 60


@pytest.mark.parametrize(
    "name",
    [name for name in MECHANICAL if name.startswith("png ") and "grey" not in name and "palette, ids as i" not in name],
)
def test_a_rewritten_png_holds_the_ids_it_was_made_from(name: str, tmp_path: Path) -> None:
    _, out, _ = fixed(name, tmp_path)
    expected = clean_ids()
    if name == "png holds an unlisted id":
        expected[1:3, 0:4] = 0
    if name == "png lacks a segment":
        expected[expected == 300] = 7
    assert np.array_equal(PanopticFolder.open(out, "train")[0].panoptic_map, expected)


def test_an_existing_folder_is_refused_and_so_is_one_inside_the_data(tmp_path: Path) -> None:
    folder = PlantedFolder(tmp_path / "data")
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="exists already"):
        fix_folder(folder.root, tmp_path / "there")
    with pytest.raises(InputError, match="lies in the data folder"):
        fix_folder(folder.root, folder.root / "fixed")


def test_fields_that_the_doctor_does_not_know_survive(tmp_path: Path) -> None:
    folder, out, _ = fixed("segment area 0", tmp_path)
    document = json.loads((out / "annotations/panoptic_train.json").read_text())
    assert document["info"] == {"year": 2017}
    assert [image["license"] for image in document["images"]] == [1, 1]
    assert folder.root != out


def test_repairs_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    folder = PlantedFolder(tmp_path / "data")
    FAULTS["stuff in two segments"].plant(folder)
    fix_folder(folder.root, tmp_path / "one", num_workers=0)
    fix_folder(folder.root, tmp_path / "two", num_workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
