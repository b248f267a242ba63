from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgeseg.data.street import STREET_CATEGORIES, StreetStream, make_street, render_street, val_seed
from edgeseg.structures import InputError, Sample

_IS_THING = {category.id: category.is_thing for category in STREET_CATEGORIES}
_SIDES = st.integers(2, 10).map(lambda n: 32 * n)


@pytest.fixture(scope="module")
def scenes() -> list[Sample]:
    """The first 200 scenes of a stream."""
    return [render_street(0, index, size=(128, 128)) for index in range(200)]


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_there_are_eight_stuff_and_eight_thing_categories_with_gaps_between_their_ids() -> None:
    ids = [category.id for category in STREET_CATEGORIES]
    assert Counter(_IS_THING.values()) == {True: 8, False: 8}
    assert ids == sorted(set(ids))
    assert ids[-1] > len(ids)
    assert len({category.color for category in STREET_CATEGORIES}) == 16


def test_the_same_seed_and_index_give_the_same_bytes_whatever_was_rendered_between() -> None:
    first = render_street(3, 5, size=(96, 160))
    render_street(4, 6, size=(64, 64))
    again = render_street(3, 5, size=(96, 160))
    assert first.image.tobytes() == again.image.tobytes()
    assert first.panoptic_map.tobytes() == again.panoptic_map.tobytes()
    assert first.segments == again.segments


def test_the_number_of_opencv_threads_changes_nothing() -> None:
    threads = cv2.getNumThreads()
    try:
        renders = []
        for count in (1, 4):
            cv2.setNumThreads(count)
            renders.append(render_street(1, 2, size=(256, 256)))
    finally:
        cv2.setNumThreads(threads)
    assert np.array_equal(renders[0].image, renders[1].image)
    assert np.array_equal(renders[0].panoptic_map, renders[1].panoptic_map)


def test_seed_and_index_both_change_the_scene() -> None:
    pictures = {render_street(s, i, size=(64, 64)).image.tobytes() for s, i in itertools.product(range(3), range(3))}
    assert len(pictures) == 9


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**64 - 1), index=st.integers(0, 10**9), height=_SIDES, width=_SIDES)
def test_segment_table_is_what_counting_the_map_gives(seed: int, index: int, height: int, width: int) -> None:
    sample = render_street(seed, index, size=(height, width))
    ids = sample.panoptic_map
    assert sample.image.shape == (height, width, 3)
    assert sample.image.dtype == np.uint8
    assert ids.shape == (height, width)
    assert ids.dtype == np.int32
    assert {segment.id for segment in sample.segments} | {0} == set(np.unique(ids).tolist()) | {0}
    assert len({segment.id for segment in sample.segments}) == len(sample.segments)
    for segment in sample.segments:
        rows, columns = np.nonzero(ids == segment.id)
        x, y = columns.min(), rows.min()
        assert 0 < segment.id < 2**24
        assert segment.area == len(rows) >= 12
        assert segment.bbox == (x, y, columns.max() - x + 1, rows.max() - y + 1)
        assert segment.category_id in _IS_THING
        assert _IS_THING[segment.category_id] or not segment.is_crowd
    stuff = [segment.category_id for segment in sample.segments if not _IS_THING[segment.category_id]]
    assert len(stuff) == len(set(stuff))


def test_all_categories_occur_in_the_first_200_scenes(scenes: list[Sample]) -> None:
    seen = {segment.category_id for sample in scenes for segment in sample.segments if not segment.is_crowd}
    assert seen == set(_IS_THING)


def test_crowds_are_there_but_rare(scenes: list[Sample]) -> None:
    share = np.mean([any(segment.is_crowd for segment in sample.segments) for sample in scenes])
    assert 0.03 < share < 0.15


def test_void_covers_a_few_percent(scenes: list[Sample]) -> None:
    assert 0.01 < np.mean([(sample.panoptic_map == 0).mean() for sample in scenes]) < 0.06


def test_an_image_holds_some_things_but_not_many(scenes: list[Sample]) -> None:
    counts = [sum(_IS_THING[s.category_id] and not s.is_crowd for s in sample.segments) for sample in scenes]
    assert 3 <= np.mean(counts) <= 9
    assert max(counts) <= 15


def test_most_things_are_large_enough_to_learn(scenes: list[Sample]) -> None:
    heights = [s.bbox[3] / 128 for sample in scenes for s in sample.segments if _IS_THING[s.category_id]]
    assert np.mean(np.array(heights) < 0.05) < 0.03
    assert np.median(heights) > 0.12


def test_things_of_one_category_occlude_each_other(scenes: list[Sample]) -> None:
    """Two cars whose masks touch: one hides part of the other."""
    touching = 0
    for sample in scenes:
        cars = [s.id for s in sample.segments if s.category_id == 3]
        for a, b in itertools.combinations(cars, 2):
            near = cv2.dilate((sample.panoptic_map == a).astype(np.uint8), np.ones((3, 3), np.uint8))
            touching += bool((near.astype(bool) & (sample.panoptic_map == b)).any())
    assert touching >= 10


def test_categories_cannot_be_told_by_colour_alone(scenes: list[Sample]) -> None:
    """The nearest mean colour, fitted and judged on the same pixels, is wrong on a third of them or more."""
    colors, labels = [], []
    for sample in scenes[:60]:
        table = {segment.id: segment.category_id for segment in sample.segments}
        for segment_id, category_id in table.items():
            colors.append(sample.image[sample.panoptic_map == segment_id][::7])
            labels.append(np.full(len(colors[-1]), category_id))
    color, label = np.concatenate(colors).astype(float), np.concatenate(labels)
    kinds = np.unique(label)
    means = np.stack([color[label == kind].mean(axis=0) for kind in kinds])
    guess = kinds[((color[:, None] - means) ** 2).sum(axis=-1).argmin(axis=1)]
    assert np.mean(guess == label) < 0.67


def test_a_scene_is_the_same_at_twice_the_size() -> None:
    """Labels agree but for the outlines: a pixel in ten lies on one at 128 pixels."""
    for index in range(8):
        small, large = (render_street(7, index, size=(side, side)) for side in (128, 256))
        category = {s.id: s.category_id for s in (*small.segments, *large.segments)} | {0: 0}
        a = np.vectorize(category.get)(small.panoptic_map)
        b = np.vectorize(category.get)(large.panoptic_map[1::2, 1::2])
        assert np.mean(a == b) > 0.9


def test_label_outlines_lie_on_the_picture_s_edges(scenes: list[Sample]) -> None:
    """The picture's gradient along outlines drops when the label is moved by two pixels or mirrored."""
    slopes = {"as is": 0.0, "right": 0.0, "down": 0.0, "mirrored": 0.0}
    for sample in scenes[:40]:
        gray = cv2.cvtColor(sample.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        slope = np.abs(cv2.Sobel(gray, cv2.CV_32F, 1, 0)) + np.abs(cv2.Sobel(gray, cv2.CV_32F, 0, 1))
        ids = sample.panoptic_map
        moved = {"as is": ids, "right": np.roll(ids, 2, 1), "down": np.roll(ids, 2, 0), "mirrored": ids[:, ::-1]}
        for name, label in moved.items():
            outline = (label[1:-1, 1:-1] != label[1:-1, 2:]) | (label[1:-1, 1:-1] != label[2:, 1:-1])
            slopes[name] += slope[1:-1, 1:-1][outline].mean()
    assert slopes["as is"] > 1.15 * max(slopes["right"], slopes["down"], slopes["mirrored"]), slopes


def test_a_stream_gives_the_scenes_of_its_seed_and_then_ends() -> None:
    stream = StreetStream(11, (64, 96), length=3)
    assert len(stream) == 3
    assert [sample.image_id for sample in stream] == [1, 2, 3]
    assert np.array_equal(stream[2].image, render_street(11, 2, size=(64, 96)).image)
    with pytest.raises(IndexError, match="scene 3 of a stream of 3"):
        stream[3]


def test_written_folder_read_back_is_what_was_rendered(tmp_path: Path) -> None:
    make_street(tmp_path / "street", train=3, val=2, size=(64, 96), seed=5)
    for split, count, seed in (("train", 3, 5), ("val", 2, val_seed(5))):
        table = json.loads((tmp_path / "street" / "annotations" / f"panoptic_{split}.json").read_text())
        assert len(table["images"]) == len(table["annotations"]) == count
        for index, (image, annotation) in enumerate(zip(table["images"], table["annotations"], strict=True)):
            sample = render_street(seed, index, size=(64, 96))
            assert (image["id"], image["height"], image["width"]) == (sample.image_id, 64, 96)
            assert annotation["image_id"] == image["id"]
            png = tmp_path / "street" / "annotations" / f"panoptic_{split}" / annotation["file_name"]
            red, green, blue = np.moveaxis(np.asarray(Image.open(png)).astype(np.int64), -1, 0)
            assert np.array_equal(red + 256 * green + 65536 * blue, sample.panoptic_map)
            rows = [
                (row["id"], row["category_id"], row["area"], tuple(row["bbox"]), bool(row["iscrowd"]))
                for row in annotation["segments_info"]
            ]
            assert rows == [(s.id, s.category_id, s.area, s.bbox, s.is_crowd) for s in sample.segments]
            jpeg = np.asarray(Image.open(tmp_path / "street" / split / image["file_name"])).astype(float)
            assert np.abs(jpeg - sample.image).mean() < 8.0  # grey levels: JPEG of quality 92 smooths the sensor noise


def test_written_categories_are_the_ones_of_the_module(tmp_path: Path) -> None:
    make_street(tmp_path / "street", train=1, val=1, size=(64, 64), seed=0)
    table = json.loads((tmp_path / "street" / "annotations" / "panoptic_val.json").read_text())
    assert [(c["id"], c["name"], c["isthing"], tuple(c["color"])) for c in table["categories"]] == [
        (c.id, c.name, int(c.is_thing), c.color) for c in STREET_CATEGORIES
    ]
    assert "CC0" in table["licenses"][0]["name"]


def test_train_and_val_share_no_scene(tmp_path: Path) -> None:
    make_street(tmp_path / "street", train=4, val=4, size=(64, 64), seed=0)
    digests = [d for name, d in _digests(tmp_path / "street").items() if name.endswith((".jpg", ".png"))]
    assert len(digests) == len(set(digests)) == 16


@pytest.mark.slow
def test_the_folder_does_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    for num_workers in (0, 1, 2):
        make_street(tmp_path / str(num_workers), train=40, val=5, size=(64, 64), seed=9, num_workers=num_workers)
    assert _digests(tmp_path / "0") == _digests(tmp_path / "1") == _digests(tmp_path / "2")


def test_progress_counts_up_to_all_images(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    make_street(
        tmp_path / "street",
        train=2,
        val=1,
        size=(64, 64),
        seed=0,
        on_progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="not an empty folder"):
        make_street(tmp_path, train=1, val=1, size=(64, 64), seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_street(tmp_path / "street", train=2, val=1, size=(64, 64), seed=0, on_progress=interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "must be 0 or more"),
        ({"size": (16, 64)}, "size 16 64"),
        ({"size": (64, 8192)}, "size 64 8192"),
        ({"train": 0}, "train = 0"),
        ({"num_workers": -1}, "num_workers = -1"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    arguments: dict[str, object] = {"train": 1, "val": 1, "size": (64, 64), "seed": 0} | change
    with pytest.raises(InputError, match=message):
        make_street(tmp_path / "street", **arguments)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
