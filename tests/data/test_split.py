"""Folders divided by group and stratified."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from edgeseg.data.coco_panoptic import PanopticFolder
from edgeseg.data.split import plan_split, write_split
from edgeseg.data.stratify import Group, stratify
from edgeseg.structures import InputError

GROUPS = st.lists(
    st.tuples(st.integers(1, 6), st.dictionaries(st.integers(1, 5), st.integers(1, 6), max_size=4)),
    min_size=1,
    max_size=40,
).map(lambda rows: [Group(f"g{i}", n, {c: min(k, n) for c, k in shown.items()}) for i, (n, shown) in enumerate(rows)])
SHARES = st.sampled_from([(0.9, 0.1), (0.5, 0.5), (0.7, 0.2, 0.1), (1 / 3, 1 / 3, 1 / 3)])


@given(GROUPS, SHARES, st.integers(0, 9))
@settings(deadline=None)
def test_every_group_has_one_split_and_no_split_exceeds_its_share_by_the_largest_group(
    groups: list[Group], shares: tuple[float, ...], seed: int
) -> None:
    try:
        dealt = stratify(groups, shares, seed=seed)
    except InputError:  # too few groups for a split
        assume(False)
    assert len(dealt) == len(groups)
    total, largest = sum(g.num_images for g in groups), max(g.num_images for g in groups)
    for split, share in enumerate(shares):
        size = sum(g.num_images for g, s in zip(groups, dealt, strict=True) if s == split)
        assert 0 < size < share * total + largest


@given(GROUPS, SHARES, st.randoms())
@settings(deadline=None)
def test_the_order_of_the_groups_does_not_matter(groups: list[Group], shares: tuple[float, ...], random: Any) -> None:
    shuffled = list(groups)
    random.shuffle(shuffled)
    try:
        first = dict(zip([g.name for g in groups], stratify(groups, shares, seed=3), strict=True))
    except InputError:
        return
    assert first == dict(zip([g.name for g in shuffled], stratify(shuffled, shares, seed=3), strict=True))


def test_rare_categories_are_in_every_split_in_their_share() -> None:
    """A category of 10 images goes 8 and 2; a random draw leaves it out of validation 0.8 ** 10 = 11 % of the time."""
    rng = np.random.default_rng(0)
    for seed in range(20):
        shows = [{1: 1, 2: 1} if i < 10 else {1: 1} for i in rng.permutation(1000)]
        groups = [Group(str(i), 1, shown) for i, shown in enumerate(shows)]
        dealt = stratify(groups, (0.8, 0.2), seed=seed)
        assert Counter(dealt) == {0: 800, 1: 200}
        assert Counter(s for g, s in zip(groups, dealt, strict=True) if 2 in g.presence) == {0: 8, 1: 2}


def test_images_that_share_no_category_still_fill_every_split() -> None:
    """Each category asks for the larger split; only its being full sends some to the other."""
    groups = [Group(str(i), 1, {i: 1}) for i in range(20)]
    assert Counter(stratify(groups, (0.9, 0.1), seed=0)) == {0: 18, 1: 2}


def test_the_seed_chooses_among_equals() -> None:
    groups = [Group(str(i), 1, {1: 1}) for i in range(20)]
    dealt = {tuple(stratify(groups, (0.5, 0.5), seed=seed)) for seed in range(5)}
    assert len(dealt) == 5


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(InputError, match=r"12 images in 1 groups leave the part of 0\.1 empty"):
        stratify([Group("a", 12, {})], (0.9, 0.1), seed=0)


def make_folder(root: Path, splits: dict[str, list[str]]) -> Path:
    """A COCO panoptic folder: photo i shows category 1 and, if i is a multiple of 4, category 2."""
    number = 0
    for split, names in splits.items():
        images, annotations = [], []
        (root / split).mkdir(parents=True)
        (root / "annotations" / f"panoptic_{split}").mkdir(parents=True)
        for name in names:
            number += 1
            Image.new("RGB", (4, 3), (number, 0, 0)).save(root / split / f"{name}.png")
            label = np.zeros((3, 4, 3), dtype=np.uint8)
            label[0, :, 0], label[1, :, 0] = 1, 2 if number % 4 == 0 else 0
            Image.fromarray(label).save(root / "annotations" / f"panoptic_{split}" / f"{name}.png")
            rows = [{"id": 1, "category_id": 1, "note": "kept"}]
            rows += [{"id": 2, "category_id": 2}] if number % 4 == 0 else []
            images.append({"id": number, "file_name": f"{name}.png", "height": 3, "width": 4, "city": name[0]})
            annotations.append({"image_id": number, "file_name": f"{name}.png", "segments_info": rows})
        document = {
            "info": {"version": "7"},
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 1, "name": "road", "isthing": 0}, {"id": 2, "name": "car", "isthing": 1}],
        }
        (root / "annotations" / f"panoptic_{split}.json").write_text(json.dumps(document))
    return root


NAMES = [f"{city}_{frame}" for city in "abcdef" for frame in range(4)]


@pytest.mark.parametrize("by", ["^(.)_", "field:city", "groups.csv", "groups.json"])
def test_no_group_crosses_splits_however_groups_are_given(by: str, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "in", {"train": NAMES[:16], "val": NAMES[16:]})
    (tmp_path / "groups.csv").write_text("group,file_name\n" + "".join(f"{n[0]},{n}.png\n" for n in NAMES))
    (tmp_path / "groups.json").write_text(json.dumps({f"{name}.png": name[0] for name in NAMES}))
    by = str(tmp_path / by) if by.startswith("groups") else by
    result = write_split(plan_split(root, val=1 / 6, test=1 / 3, by=by), tmp_path / "out")
    assert result["splits"] == {
        "train": {"images": 12, "groups": 3},
        "val": {"images": 4, "groups": 1},
        "test": {"images": 8, "groups": 2},
    }
    assert result["images_with_category"]["car"] == {"train": 3, "val": 1, "test": 2}
    cities = [{path.name[0] for path in (tmp_path / "out" / split).iterdir()} for split in ("train", "val", "test")]
    assert sorted(city for some in cities for city in some) == list("abcdef")


def test_photos_labels_and_all_fields_of_the_json_arrive(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "in", {"train": NAMES})
    write_split(plan_split(root, val=0.25), tmp_path / "out")
    before = {s.file_name: s for s in (PanopticFolder.open(root, "train")[i] for i in range(24))}
    found = 0
    for split in ("train", "val"):
        folder = PanopticFolder.open(tmp_path / "out", split)
        document = json.loads((tmp_path / f"out/annotations/panoptic_{split}.json").read_text())
        assert document["info"] == {"version": "7"}
        assert all(row["segments_info"][0]["note"] == "kept" for row in document["annotations"])
        assert all("city" in row for row in document["images"])
        for index in range(len(folder)):
            sample = folder[index]
            found += 1
            assert np.array_equal(sample.image, before[sample.file_name].image)
            assert np.array_equal(sample.panoptic_map, before[sample.file_name].panoptic_map)
            assert sample.segments == before[sample.file_name].segments
    assert found == 24
    inodes = {path.stat().st_ino for path in root.rglob("*.png")}
    assert {path.stat().st_ino for path in (tmp_path / "out").rglob("*.png")} == inodes


def test_copies_are_files_of_their_own(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "in", {"train": NAMES})
    write_split(plan_split(root), tmp_path / "out", copy=True)
    inodes = {path.stat().st_ino for path in root.rglob("*.png")}
    assert inodes.isdisjoint(path.stat().st_ino for path in (tmp_path / "out").rglob("*.png"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"val": 0.0}, "leave a part for training"),
        ({"val": 0.7, "test": 0.3}, "leave a part for training"),
        ({"val": float("nan")}, "leave a part for training"),
        ({"by": "^(z)"}, r"finds no group in the file name a_0\.png"),
        ({"by": "["}, "is no regular expression"),
        ({"by": "field:town"}, "no such field"),
        ({"by": "field:citty"}, "did you mean 'city'"),
        ({"by": "nowhere.csv"}, r"nowhere\.csv cannot be read"),
        ({"by": "."}, None),
        ({"by": "_"}, "1 groups leave the part"),
        ({"pool": ["test"]}, "panoptic_test.json"),
    ],
)
def test_divisions_that_cannot_be_are_refused(more: dict[str, Any], message: str | None, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "in", {"train": NAMES})
    if message is None:  # the first letter: 6 groups
        assert set(plan_split(root, **more).split_of) == set("abcdef")
        return
    with pytest.raises(InputError, match=message) as caught:
        plan_split(root, **more)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file_name,group\na_0.png,x\n", r"gives no group for a_1\.png"),
        ("file,group\na_0.png,x\n", "file_name and group are wanted"),
        ("file_name,group\na_0.png,x\na_0.png,y\n", "names a file twice"),
        ("", "file_name and group are wanted"),
    ],
)
def test_broken_group_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "in", {"train": NAMES})
    (tmp_path / "groups.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        plan_split(root, by=str(tmp_path / "groups.csv"))


def test_splits_that_share_a_file_name_are_pooled_one_at_a_time(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "in", {"train": NAMES, "val": NAMES})
    with pytest.raises(InputError, match=r"file name 'a_0.png' is in train and in val; pool one of them"):
        plan_split(root)
    assert len(plan_split(root, pool=["val"]).entries) == 24


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "in", {"train": NAMES})
    plan = plan_split(root)
    (root / "train" / "c_2.png").unlink()
    with pytest.raises(FileNotFoundError):
        write_split(plan, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
