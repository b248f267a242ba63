"""Data sets in their published layouts; expectations are counted by hand on the 4 x 6 grids of make_set_fixtures.py."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeseg.config import DataConfig
from edgeseg.data.loader import train_loader
from edgeseg.data.sets import LAYOUTS, Dataset, open_dataset
from edgeseg.data.sets.layout import published_categories
from edgeseg.structures import InputError, Sample
from tests.data import make_set_fixtures as fixtures
from tests.data.make_set_fixtures import MAKERS, fill

ROOT = Path(__file__).parents[2]


def table(sample: Sample) -> dict[int, tuple[int, int, bool]]:
    """Category, area and crowd by segment id."""
    return {s.id: (s.category_id, s.area, s.is_crowd) for s in sample.segments}


def names(dataset: Dataset) -> dict[int, str]:
    return {category.id: category.name for category in dataset.categories}


def same_samples(one: Dataset, other: Dataset) -> bool:
    """Equal ids, maps and tables, whatever the order of a table's rows."""
    assert len(one) == len(other)
    for i in range(len(one)):
        a, b = one[i], other[i]
        assert (a.image_id, a.file_name, a.sequence, a.frame) == (b.image_id, b.file_name, b.sequence, b.frame)
        assert np.array_equal(a.panoptic_map, b.panoptic_map)
        assert set(a.segments) == set(b.segments)
    return True


def image_of(dataset: Dataset, root: Path) -> Path:
    """File of the first image."""
    name = dataset[0].file_name
    found = [path for path in root.rglob(Path(name).name) if path.as_posix().endswith(name)]
    (image,) = [path for path in found if "panoptic_maps" not in path.parts]
    return image


# What holds for every registered set


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_training_loader_takes_every_set(name: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    samples = open_dataset(tmp_path, "train", name, labelled=False)
    config = DataConfig(image_size=(32, 32), batch_size=2, num_workers=0)
    batch = next(train_loader(samples, samples.categories, config, seed=0, start_step=0, num_steps=1))
    assert tuple(batch.image.shape) == (2, 3, 32, 32)
    for label_map, categories in zip(batch.label_map, batch.categories, strict=True):
        assert label_map.max().item() == len(categories) - 1
        assert all(0 <= category < len(samples.categories) for category in categories.tolist())


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "images"])
def test_a_set_is_recognised_by_its_files_and_has_a_val_split(name: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    assert same_samples(open_dataset(tmp_path, "val"), open_dataset(tmp_path, "val", name))


@pytest.mark.parametrize("name", LAYOUTS)
def test_loader_processes_can_be_sent_a_set(name: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    dataset = open_dataset(tmp_path, "train", name, labelled=False)
    assert same_samples(pickle.loads(pickle.dumps(dataset)), dataset)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_set_is_described(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs" / "data.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "images"])
def test_a_missing_image_is_named(name: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    image = image_of(open_dataset(tmp_path, "val", name), tmp_path)
    image.unlink()
    with pytest.raises(InputError, match=image.stem.removesuffix("_leftImg8bit")):
        open_dataset(tmp_path, "val", name)


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "images"])
def test_an_image_of_another_size_than_its_label_is_refused(name: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    dataset = open_dataset(tmp_path, "val", name)
    Image.new("RGB", (6, 5)).save(image_of(dataset, tmp_path))
    with pytest.raises(InputError, match=r"5 x 6"):
        dataset[0]


# Finding the layout


def test_a_folder_of_nothing_known_says_what_was_looked_for(tmp_path: Path) -> None:
    fixtures.make_images(tmp_path)
    with pytest.raises(InputError, match=r"coco: annotations/panoptic_train\.json; .*kitti-step: panoptic_maps/"):
        open_dataset(tmp_path, "train")


def test_a_folder_that_could_be_two_sets_names_both(tmp_path: Path) -> None:
    """As the release of Mapillary Vistas v2.0 does, which holds v1.2 too."""
    fixtures.make_mapillary(tmp_path, "v1.2")
    fixtures.make_mapillary(tmp_path, "v2.0")
    with pytest.raises(InputError, match=r"mapillary-v1\.2 and mapillary-v2\.0; say which with --data\.format"):
        open_dataset(tmp_path, "train")
    assert names(open_dataset(tmp_path, "train", "mapillary-v2.0"))[3] == "construction--barrier--ambiguous"


def test_a_misspelt_format_gets_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'cityscape' \(did you mean 'cityscapes'\?\)"):
        open_dataset(tmp_path, "train", "cityscape")


def test_a_split_without_labels_is_refused_by_name(tmp_path: Path) -> None:
    fixtures.make_kitti_step(tmp_path)
    with pytest.raises(InputError, match="KITTI-STEP has no split 'test' with labels; it has train, val"):
        open_dataset(tmp_path, "test")


def test_images_without_labels_are_no_training_set(tmp_path: Path) -> None:
    fixtures.make_images(tmp_path)
    with pytest.raises(InputError, match="as 'images' has no labels"):
        open_dataset(tmp_path, "train", "images")


# Published tables


@pytest.mark.parametrize(
    ("name", "ids", "num_things", "some"),
    [
        (
            "coco",
            133,
            80,
            {1: ("person", (220, 20, 60)), 90: ("toothbrush", None), 200: ("rug-merged", None)},
        ),
        ("cityscapes", range(7, 34), 8, {7: ("road", (128, 64, 128)), 26: ("car", (0, 0, 142)), 33: ("bicycle", None)}),
        ("ade20k", range(150), 100, {0: ("wall", (120, 120, 120)), 8: ("window", None), 12: ("person", (150, 5, 61))}),
        ("vipseg", range(124), 58, {0: ("wall", (120, 120, 120)), 60: ("person", None), 123: ("train", (133, 255, 0))}),
    ],
)
def test_published_categories(name: str, ids: range | int, num_things: int, some: dict[int, tuple]) -> None:
    """Counts and samples from the papers and the repositories that the first line of each file names."""
    categories = published_categories(name)
    found = [category.id for category in categories]
    assert found == sorted(set(found))
    if name == "cityscapes":
        assert set(found) < set(ids)
        assert len(found) == 19
    else:
        assert found == list(ids) if isinstance(ids, range) else len(found) == ids
    assert sum(category.is_thing for category in categories) == num_things
    by_id = {category.id: category for category in categories}
    for id_, (category_name, color) in some.items():
        assert by_id[id_].name == category_name
        assert color in (None, by_id[id_].color)


# COCO and COCONut


@pytest.mark.parametrize("pngs", ["annotations/", ""])
def test_coco_finds_its_pngs_beside_the_json_or_above(pngs: str, tmp_path: Path) -> None:
    fixtures.make_coco(tmp_path, pngs=pngs)
    sample = open_dataset(tmp_path, "train")[0]
    assert np.array_equal(sample.panoptic_map, fill(0, 8345037, 50, 1200, 70000, 3))
    assert table(sample) == {
        8345037: (51, 4, False),
        50: (56, 5, False),
        1200: (56, 4, False),
        70000: (56, 4, True),
        3: (189, 4, False),
    }


def test_coconut_is_the_union_of_its_parts(tmp_path: Path) -> None:
    fixtures.make_coconut(tmp_path)
    train = open_dataset(tmp_path, "train")
    found = {str(sample.image_id): sample for sample in (train[i] for i in range(len(train)))}
    assert {key: sample.file_name for key, sample in found.items()} == {
        "000000000009": "train2017/000000000009.jpg",
        "objects365_v2_00000001": "objects365/patch32/objects365_v2_00000001.jpg",
        "objects365_v2_00000002": "objects365/patch32/objects365_v2_00000002.jpg",
        "objects365_v2_00000003": "objects365/patch32/objects365_v2_00000003.jpg",
        "objects365_v2_00000004": "objects365/patch32/objects365_v2_00000004.jpg",
    }
    five = {1: (51, 4, False), 2: (56, 5, False), 3: (56, 4, False), 4: (3, 4, False), 5: (189, 4, False)}
    assert table(found["000000000009"]) == five  # segment 6 has no pixel
    assert table(found["objects365_v2_00000003"]) == five  # L's, not XL's
    assert table(found["objects365_v2_00000004"]) == {1: (51, 21, False)}
    assert len(train.categories) == 133
    assert [len(open_dataset(tmp_path, part)) for part in ("coconut_s", "coconut_large", "coconut_xlarge", "val")] == [
        1,
        3,
        2,
        1,
    ]


def test_coconut_names_what_a_split_would_need(tmp_path: Path) -> None:
    fixtures.make_coconut(tmp_path)
    with pytest.raises(InputError, match=r"split 'coconut_b'; looked for coconut_b \(coconut_b\.json\)"):
        open_dataset(tmp_path, "coconut_b", "coconut")


@pytest.mark.parametrize(
    "segment", [{"id": 0, "category_id": 1}, {"id": 1, "category_id": 12}, {"id": "1", "category_id": 1}, {"id": 1}, 7]
)
def test_coconut_refuses_a_segment_that_cannot_be(segment: object, tmp_path: Path) -> None:
    fixtures.make_coconut(tmp_path)
    file = tmp_path / "coconuts_xlarge" / "panseg_info" / "objects365_v2_00000004.json"
    file.write_text(json.dumps([segment]))
    with pytest.raises(InputError, match="objects365_v2_00000004 has a bad segment"):
        open_dataset(tmp_path, "train")


# Cityscapes


def test_cityscapes_void_crowds_and_instances(tmp_path: Path) -> None:
    fixtures.make_cityscapes(tmp_path)
    dataset = open_dataset(tmp_path, "train")
    sample = dataset[0]
    assert (sample.image_id, sample.file_name) == (
        "aachen_000000_000019",
        "aachen/aachen_000000_000019_leftImg8bit.png",
    )
    assert sample.panoptic_map.tolist() == [
        [0, 0, 7, 7, 7, 23],
        [0, 26000, 26000, 7, 26, 23],
        [0, 26000, 26001, 26001, 26, 24000],
        [0, 0, 7, 33, 33, 24000],
    ]
    assert table(sample) == {
        7: (7, 5, False),
        23: (23, 2, False),
        26: (26, 2, True),
        33: (33, 2, True),
        24000: (24, 2, False),
        26000: (26, 3, False),
        26001: (26, 2, False),
    }
    assert [c.name for c in dataset.categories if c.is_thing] == [
        *("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
    ]
    assert dataset.categories[13].name == "car"  # trainId 13


def test_cityscapes_json_gives_what_the_instance_ids_give(tmp_path: Path) -> None:
    fixtures.make_cityscapes(tmp_path / "ids")
    fixtures.make_cityscapes(tmp_path / "json")
    fixtures.make_cityscapes_json(tmp_path / "json")
    shutil.rmtree(tmp_path / "json" / "gtFine" / "train")
    assert same_samples(open_dataset(tmp_path / "ids", "train"), open_dataset(tmp_path / "json", "train"))


def test_cityscapes_json_of_train_ids_keeps_them(tmp_path: Path) -> None:
    fixtures.make_cityscapes(tmp_path)
    fixtures.make_cityscapes_json(tmp_path, train_ids=True)
    shutil.rmtree(tmp_path / "gtFine" / "train")
    dataset = open_dataset(tmp_path, "train")
    assert names(dataset) == {0: "road", 10: "sky", 11: "person", 13: "car", 18: "bicycle"}
    assert table(dataset[0])[26] == (13, 2, True)


def test_cityscapes_without_labels_says_which_files_are_wanted(tmp_path: Path) -> None:
    fixtures.make_cityscapes(tmp_path)
    shutil.rmtree(tmp_path / "gtFine" / "train")
    with pytest.raises(InputError, match=r"no \*_gtFine_instanceIds\.png and .* no cityscapes_panoptic_train\.json"):
        open_dataset(tmp_path, "train")


# ADE20K


def test_ade20k_puts_things_over_stuff_and_the_rest_is_void(tmp_path: Path) -> None:
    fixtures.make_ade20k(tmp_path)
    sample = open_dataset(tmp_path, "train")[0]
    person, other, car = 4 * 256 + 1, 4 * 256 + 2, 9 * 256 + 3
    assert sample.panoptic_map.tolist() == [
        [3, 3, 3, 3, 3, 0],
        [1, 1, person, other, 3, 0],
        [1, 1, person, other, car, car],
        [1, 1, person, 0, car, 0],
    ]
    assert table(sample) == {
        1: (0, 6, False),
        3: (2, 6, False),
        person: (12, 3, False),
        other: (12, 2, False),
        car: (20, 3, False),
    }


def test_ade20k_json_leaves_covered_stuff_out_and_mends_names(tmp_path: Path) -> None:
    fixtures.make_ade20k_json(tmp_path)
    dataset = open_dataset(tmp_path, "train")
    assert names(dataset)[8] == "window"
    sample = dataset[0]
    assert table(sample) == {7895160: (0, 4, False), 15132166: (2, 9, False), 3999126: (12, 4, False)}


def test_ade20k_refuses_an_instance_without_a_category(tmp_path: Path) -> None:
    fixtures.make_ade20k(tmp_path)
    fixtures.colour(
        tmp_path / "annotations_instance" / "training" / "ADE_train_00000001.png", np.full((4, 6, 3), (0, 5, 0))
    )
    with pytest.raises(InputError, match=r"an instance \(G\) without a category \(R = 0\)"):
        open_dataset(tmp_path, "train")[0]


# Mapillary Vistas


@pytest.mark.parametrize(("version", "old"), [("v1.2", False), ("v1.2", True), ("v2.0", False)])
def test_mapillary_reads_its_panoptic_json(version: str, old: bool, tmp_path: Path) -> None:
    fixtures.make_mapillary(tmp_path, version, old=old)
    sample = open_dataset(tmp_path, "train")[0]
    assert table(sample) == {11: (1, 4, False), 12: (1, 5, True), 13: (3, 4, False), 14: (4, 4, False)}


@pytest.mark.parametrize(("version", "old"), [("v1.2", False), ("v1.2", True), ("v2.0", False)])
def test_mapillary_without_json_reads_instances_by_its_config(version: str, old: bool, tmp_path: Path) -> None:
    fixtures.make_mapillary(tmp_path, version, old=old)
    by_json = open_dataset(tmp_path, "train").categories
    shutil.rmtree(tmp_path / "training" / ("" if old else version) / "panoptic")
    dataset = open_dataset(tmp_path, "train")
    assert dataset.categories == by_json
    assert np.array_equal(dataset[0].panoptic_map, fill(0, 1, 2, 513, 769, 0))
    assert table(dataset[0]) == {1: (1, 4, False), 2: (1, 5, False), 513: (3, 4, False), 769: (4, 4, False)}


# Frames with track ids


def test_kitti_step_tracks_keep_their_id_over_frames(tmp_path: Path) -> None:
    fixtures.make_kitti_step(tmp_path)
    dataset = open_dataset(tmp_path, "train")
    assert len(dataset) == 2  # the third image has no label
    first, second = dataset[0], dataset[1]
    assert [(s.image_id, s.sequence, s.frame) for s in (first, second)] == [
        ("0000/000000", "0000", 0),
        ("0000/000001", "0000", 1),
    ]
    road, sky, car_1, car_300, persons = 65536, 11 * 65536, 14 * 65536 + 1, 14 * 65536 + 300, 12 * 65536
    assert np.array_equal(first.panoptic_map, fill(0, road, sky, car_1, car_300, persons))
    assert table(first) == {
        road: (0, 4, False),
        sky: (10, 5, False),
        car_1: (13, 4, False),
        car_300: (13, 4, False),
        persons: (11, 4, True),
    }
    assert table(second)[car_1] == (13, 8, False)
    assert car_300 not in table(second)


def test_kitti_step_has_the_categories_of_cityscapes_but_two_things(tmp_path: Path) -> None:
    fixtures.make_kitti_step(tmp_path)
    categories = open_dataset(tmp_path, "train").categories
    assert [category.id for category in categories] == list(range(19))
    assert [category.name for category in categories if category.is_thing] == ["person", "car"]


def test_vipseg_masks(tmp_path: Path) -> None:
    fixtures.make_vipseg(tmp_path)
    dataset = open_dataset(tmp_path, "train")
    sample = dataset[1]
    assert (sample.image_id, sample.sequence, sample.frame) == ("0_wHvIDEo/00000006", "0_wHvIDEo", 1)
    assert np.array_equal(sample.panoptic_map, fill(0, 1, 15, 6100, 6101, 3))
    assert table(sample) == {
        1: (0, 4, False),
        15: (14, 5, False),
        6100: (60, 4, False),
        6101: (60, 4, False),
        3: (2, 4, False),
    }


def test_vipseg_json_gives_the_same_frames_and_areas(tmp_path: Path) -> None:
    fixtures.make_vipseg(tmp_path / "release")
    fixtures.make_vipseg_720p(tmp_path / "720p")
    masks, by_json = open_dataset(tmp_path / "release", "train"), open_dataset(tmp_path / "720p", "train")
    for i in range(2):
        one, other = masks[i], by_json[i]
        assert (one.image_id, one.file_name, one.sequence, one.frame) == (
            other.image_id,
            other.file_name,
            other.sequence,
            other.frame,
        )
        assert sorted(table(one).values()) == sorted(table(other).values())
    assert table(by_json[0])[9217] == (60, 4, False)


@pytest.mark.parametrize(
    ("name", "label", "value"),
    [
        ("cityscapes", "gtFine/train/aachen/aachen_000000_000019_gtFine_instanceIds.png", 34),
        ("cityscapes", "gtFine/train/aachen/aachen_000000_000019_gtFine_instanceIds.png", 34000),
        ("ade20k", "annotations/training/ADE_train_00000001.png", 151),
        ("vipseg", "panomasks/0_wHvIDEo/00000001.png", 12500),
    ],
)
def test_a_value_that_the_set_does_not_define_is_refused(name: str, label: str, value: int, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    fixtures.grey(tmp_path / label, np.full((4, 6), value), bits=16)
    shutil.rmtree(tmp_path / "annotations_instance", ignore_errors=True)
    if name == "ade20k":
        fixtures.colour(tmp_path / "annotations_instance/training/ADE_train_00000001.png", np.zeros((4, 6, 3)))
    with pytest.raises(InputError, match=rf"holds the value {value}, which the set does not define"):
        open_dataset(tmp_path, "train")[0]


@pytest.mark.parametrize("rgb", [(19, 0, 0), (0, 0, 1)])
def test_kitti_step_refuses_unknown_categories_and_tracked_stuff(rgb: tuple[int, int, int], tmp_path: Path) -> None:
    fixtures.make_kitti_step(tmp_path)
    fixtures.colour(tmp_path / "panoptic_maps" / "train" / "0000" / "000000.png", np.full((4, 6, 3), rgb))
    with pytest.raises(InputError, match="which the set does not define"):
        open_dataset(tmp_path, "train")[0]


def test_images_are_void_and_found_at_any_depth(tmp_path: Path) -> None:
    fixtures.make_images(tmp_path)
    dataset = open_dataset(tmp_path, "all", "images", labelled=False)
    assert [dataset[i].file_name for i in range(len(dataset))] == ["a.jpg", "of a day/b.png"]
    assert dataset[0].image.shape == (4, 6, 3)
    assert not dataset[0].panoptic_map.any()
    assert (dataset[0].segments, dataset.categories) == ((), ())
