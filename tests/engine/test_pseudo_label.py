"""Pseudo-labels: what is unsure is void, and the folder is one to train on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edgeseg.cli import main
from edgeseg.data.coco_panoptic import PanopticFolder
from edgeseg.data.doctor import Examination
from edgeseg.data.loader import train_loader
from edgeseg.data.street import make_street
from edgeseg.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgeseg.engine.pseudo_label import Labeller, Thresholds, certainty, write_pseudo_labels
from edgeseg.models import build_model
from edgeseg.structures import InputError, Merged, Slots
from tests.engine.conftest import tiny

BELIEVES_ALL = Thresholds(thing=0.0, stuff=0.0, pixel=0.0, category=0.0, min_area=1, min_labelled=0.0)


@pytest.fixture(scope="module")
def teacher(samples: PanopticFolder, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A network with random weights, which has something to say about every pixel if nobody asks how sure it is."""
    torch.manual_seed(3)
    config = tiny()
    model = build_model(config.model, [c.is_thing for c in samples.categories], config.data.image_size)
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_checkpoint(
        path, {"weights": model.state_dict()}, config=config, categories=samples.categories, step=7, metrics={}
    )
    return load_checkpoint(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photos without labels, one of them in a folder of its own."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    make_street(tmp_path / "drawn", train=3, val=1, size=(64, 64), seed=2)
    for number, path in enumerate(sorted((tmp_path / "drawn" / "train").iterdir())):
        shutil.copy(path, folder / ("more" if number == 2 else ".") / f"new{number}{path.suffix}")
    return folder


def labels_of(root: Path) -> list[tuple[NDArray[np.int32], list[int]]]:
    folder = PanopticFolder.open(root, "train")
    return [(s.panoptic_map, [x.category_id for x in s.segments]) for s in (folder[i] for i in range(len(folder)))]


def test_certainty_is_the_softmax_over_slots_and_adds_up_over_slots_of_one_stuff() -> None:
    """Probabilities 1/2, 1/4, 1/4: slots 0 and 1 are the same stuff, slot 2 is a thing."""
    logits = torch.tensor([2.0, 1.0, 1.0]).log().reshape(3, 1, 1).expand(3, 1, 3)
    merged = Merged(
        np.array([[0, 2, 255]], dtype=np.uint8), np.array([1, 1, 0], dtype=np.int32), np.ones(3, dtype=np.float32)
    )
    found = certainty(logits, merged, 1, np.array([True, False]))
    np.testing.assert_allclose(found, [[0.75, 0.25, 0.0]], rtol=1e-6)


def test_pixels_that_two_segments_claim_are_void(teacher: Checkpoint) -> None:
    """Left half: slot 0 alone. Right half: slots 0 and 1 alike, 0.5 each."""
    labeller = Labeller(
        teacher, Thresholds(thing=0.5, stuff=0.5, pixel=0.6, category=0.0, min_area=1, min_labelled=0.0)
    )
    thing = next(i for i, c in enumerate(teacher.categories) if c.is_thing)
    classes = torch.full((1, 2, len(teacher.categories) + 1), -9.0)
    classes[0, :, thing] = 9.0
    masks = torch.zeros(1, 2, 16, 16)
    masks[0, 0, :, :8], masks[0, 1, :, :8] = 9.0, -9.0
    labeller.model = _Answers(Slots(classes, masks))  # type: ignore[assignment]
    panoptic_map, segments = labeller.label(np.zeros((64, 64, 3), dtype=np.uint8))
    assert [segment.category_id for segment in segments] == [teacher.categories[thing].id]
    assert (panoptic_map[:, :28] == 1).all()  # bilinear enlargement blurs four pixels on both sides of the middle
    assert (panoptic_map[:, 36:] == 0).all()


def test_pixels_that_mirror_images_name_otherwise_are_void(teacher: Checkpoint) -> None:
    """The network finds a thing in the left half of whatever it is shown, and stuff in the right one.

    Mirrored, every pixel is in the other half: 1/2 a category. Rows 48 and below of the network's input are padding.
    """
    thing, stuff = (next(i for i, c in enumerate(teacher.categories) if c.is_thing is kind) for kind in (True, False))
    classes = torch.full((1, 2, len(teacher.categories) + 1), -9.0)
    classes[0, 0, thing], classes[0, 1, stuff] = 9.0, 9.0
    masks = torch.zeros(1, 2, 16, 16)
    masks[0, 0, :, :8], masks[0, 1, :, 8:] = 99.0, 99.0
    for category, is_void in ((0.0, False), (0.4, False), (0.6, True)):
        labeller = Labeller(teacher, replace(BELIEVES_ALL, category=category))
        labeller.model = _Answers(Slots(classes, masks))  # type: ignore[assignment]
        panoptic_map, segments = labeller.label(np.zeros((96, 128, 3), dtype=np.uint8))
        assert (len(segments), (panoptic_map == 0).mean() == 1) == (0 if is_void else 2, is_void)


def test_a_network_that_sees_through_mirrors_is_believed_everywhere(teacher: Checkpoint) -> None:
    """Its answer is the photo's brightness, which turns with the photo: agreement is 1, at an odd size too."""
    labeller = Labeller(teacher, replace(BELIEVES_ALL, category=0.99))
    assert len(labeller.views) == 2
    thing, stuff = (next(i for i, c in enumerate(teacher.categories) if c.is_thing is kind) for kind in (True, False))
    labeller.model = _Brightness(len(teacher.categories), thing, stuff)  # type: ignore[assignment]
    photo = np.zeros((50, 75, 3), dtype=np.uint8)
    photo[:, :30] = 255
    panoptic_map, segments = labeller.label(photo)
    assert {s.category_id for s in segments} == {teacher.categories[i].id for i in (thing, stuff)}
    assert {*panoptic_map[:, :24].ravel()} == {1}  # near the border the photo is blurred
    assert {*panoptic_map[:, 36:].ravel()} == {2}


class _Brightness(torch.nn.Module):
    def __init__(self, num_categories: int, bright: int, dark: int) -> None:
        super().__init__()
        self.classes = torch.full((1, 2, num_categories + 1), -9.0)
        self.classes[0, 0, bright], self.classes[0, 1, dark] = 9.0, 9.0

    def forward(self, image: torch.Tensor) -> Slots:
        bright = torch.nn.functional.avg_pool2d(image.mean(1, keepdim=True), 4) - 127.5
        return Slots(self.classes, torch.cat([bright, -bright], 1))


class _Answers(torch.nn.Module):
    def __init__(self, slots: Slots) -> None:
        super().__init__()
        self.slots = slots

    def forward(self, image: torch.Tensor) -> Slots:
        return self.slots


def test_the_doctor_finds_no_error_and_the_info_says_where_labels_come_from(
    teacher: Checkpoint, photos: Path, tmp_path: Path
) -> None:
    result = write_pseudo_labels(teacher, photos, tmp_path / "out", BELIEVES_ALL)
    assert (result["photos"], result["labelled"], result["left_out"]) == (3, 3, [])
    assert Examination.open(tmp_path / "out").run(num_workers=0).num_errors == 0
    document = json.loads((tmp_path / "out" / "annotations" / "panoptic_train.json").read_text())
    assert [row["file_name"] for row in document["images"]] == ["more/new2.jpg", "new0.jpg", "new1.jpg"]
    assert all(row["pseudo"] for row in document["images"])
    assert document["info"]["teacher"]["file"] == "teacher.safetensors"
    assert len(document["info"]["teacher"]["sha256"]) == 64
    assert document["info"]["thresholds"]["pixel"] == 0.0


def test_real_labels_join_and_the_folder_trains(
    teacher: Checkpoint, photos: Path, street: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = write_pseudo_labels(teacher, photos, out, BELIEVES_ALL, labelled=street)
    assert (result["labelled"], result["real_labels"]) == (3, 12)
    assert Examination.open(out).run(num_workers=0).num_errors == 0
    assert (out / "annotations" / "panoptic_val.json").read_bytes() == (
        street / "annotations" / "panoptic_val.json"
    ).read_bytes()
    real, joined = labels_of(street), labels_of(out)
    assert len(joined) == 15
    for (a, categories), (b, others) in zip(real, joined, strict=False):
        assert np.array_equal(a, b)
        assert categories == others
    folder = PanopticFolder.open(out, "train")
    batches = train_loader(folder, folder.categories, tiny().data, seed=0, start_step=0, num_steps=4)
    assert sum(len(batch.image_ids) for batch in batches) == 16


def test_a_photo_of_which_nothing_is_sure_is_left_out_and_named(
    teacher: Checkpoint, photos: Path, tmp_path: Path
) -> None:
    sure_of_none = Thresholds(thing=1.0, stuff=1.0, pixel=0.0, category=0.0, min_area=1, min_labelled=0.0)
    with pytest.raises(InputError, match="sure of nothing in the 3 photos"):
        write_pseudo_labels(teacher, photos, tmp_path / "out", sure_of_none)
    assert not (tmp_path / "out").exists()


def test_a_photo_that_has_a_real_label_is_refused(teacher: Checkpoint, street: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\(and 11 more\) has a label in"):
        write_pseudo_labels(teacher, street / "train", tmp_path / "out", BELIEVES_ALL, labelled=street)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pixel-threshold", "1.5"], "threshold pixel = 1.5: a value from 0 to 1"),
        (["--labelled", "nowhere"], "data folder nowhere does not exist"),
    ],
)
def test_bad_options_are_one_line(
    teacher: Checkpoint,
    photos: Path,
    tmp_path: Path,
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["pseudo-label", str(teacher.path), str(photos), "--out", str(tmp_path / "out"), "--quiet", *options]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_folder_without_photos_is_refused(
    teacher: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pseudo-label", str(teacher.path), str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "holds no photos" in capsys.readouterr().err
