"""Reading and writing COCO panoptic folders."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeseg.data.coco_panoptic import (
    PanopticFolder,
    decode_ids,
    encode_ids,
    read_panoptic_png,
    segment_geometry,
    write_panoptic,
)
from edgeseg.data.numbered import read_numbered_png
from edgeseg.data.panoptic_json import category_color, read_panoptic_json
from edgeseg.data.panoptic_table import SegmentRecord
from edgeseg.structures import Category, InputError, Segment

FIXTURE = Path(__file__).parents[1] / "fixtures" / "coco_sample"

CAR, CROWD, ROAD = 70_000, 300, 7
"""Segment ids: one that needs all three bytes, one that needs two, one that needs one."""

IDS = np.array([[0, CAR, CAR, ROAD], [CROWD, CAR, ROAD, ROAD], [CROWD, CROWD, ROAD, ROAD]])


def make_document() -> dict[str, Any]:
    return {
        "categories": [
            {"id": 21, "name": "road", "isthing": 0, "color": [9, 8, 7]},
            {"id": 3, "name": "car", "isthing": 1},
        ],
        "images": [{"id": 12, "file_name": "a/photo.jpg", "height": 3, "width": 4}],
        "annotations": [
            {
                "image_id": 12,
                "file_name": "label.png",
                "segments_info": [
                    {"id": ROAD, "category_id": 21, "iscrowd": 0},
                    {"id": CAR, "category_id": 3, "iscrowd": 0},
                    {"id": CROWD, "category_id": 3, "iscrowd": 1},
                ],
            }
        ],
    }


def make_folder(root: Path, document: dict[str, Any] | None = None, name: str = "train") -> Path:
    """A folder of one 4 x 3 image, written without the code under test."""
    pngs = root / "annotations" / f"panoptic_{name}"
    pngs.mkdir(parents=True)
    (root / name / "a").mkdir(parents=True)
    Image.new("RGB", (4, 3), (200, 100, 50)).save(root / name / "a" / "photo.jpg")
    bytes_of = np.stack([IDS % 256, IDS // 256 % 256, IDS // 65536], axis=-1).astype(np.uint8)
    Image.fromarray(bytes_of).save(pngs / "label.png")
    (root / "annotations" / f"panoptic_{name}.json").write_text(json.dumps(document or make_document()))
    return root


def test_sample_holds_image_ids_and_counted_segments(tmp_path: Path) -> None:
    folder = PanopticFolder.open(make_folder(tmp_path), "train")
    sample = folder[0]
    assert (len(folder), sample.image_id, sample.file_name) == (1, 12, "a/photo.jpg")
    assert sample.image.dtype == np.uint8
    assert np.abs(sample.image.astype(int) - [200, 100, 50]).max() <= 3  # JPEG is lossy
    assert sample.panoptic_map.dtype == np.int32
    assert np.array_equal(sample.panoptic_map, IDS)
    assert sample.segments == (
        Segment(ROAD, 21, area=5, bbox=(2, 0, 2, 3)),
        Segment(CAR, 3, area=3, bbox=(1, 0, 2, 2)),
        Segment(CROWD, 3, area=3, bbox=(0, 1, 2, 2), is_crowd=True),
    )


def test_categories_ascend_by_id_and_get_a_colour_if_they_bring_none(tmp_path: Path) -> None:
    folder = PanopticFolder.open(make_folder(tmp_path), "train")
    assert folder.categories == (Category(3, "car", True, category_color(3)), Category(21, "road", False, (9, 8, 7)))


def test_derived_colours_of_133_categories_are_distinct() -> None:
    assert len({category_color(category_id) for category_id in range(1, 134)}) == 133


def test_coco_year_names_are_found(tmp_path: Path) -> None:
    assert len(PanopticFolder.open(make_folder(tmp_path, name="val2017"), "val")) == 1


def test_two_possible_splits_are_refused(tmp_path: Path) -> None:
    make_folder(tmp_path, name="train2017")
    make_folder(tmp_path, name="train")
    with pytest.raises(InputError, match=r"panoptic_train\.json and panoptic_train2017\.json"):
        PanopticFolder.open(tmp_path, "train")


def annotation(document: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = document["annotations"][0]
    return row


BROKEN_JSON: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "unknown category": (
        lambda d: annotation(d)["segments_info"][0].update(category_id=5),
        "category_id 5, which categ",
    ),
    "segment id twice": (lambda d: annotation(d)["segments_info"][0].update(id=CAR), "70000 appears twice"),
    "segment id 0": (
        lambda d: annotation(d)["segments_info"][0].update(id=0),
        r"segments_info\[0\]\.id is 0; int >= 1 wanted",
    ),
    "segment id too large": (
        lambda d: annotation(d)["segments_info"][0].update(id=2**24),
        "id is 16777216; int <= 16777215 wanted",
    ),
    "segment id is text": (lambda d: annotation(d)["segments_info"][0].update(id="7"), "id is '7'; int wanted"),
    "iscrowd is 2": (lambda d: annotation(d)["segments_info"][0].update(iscrowd=2), "iscrowd is 2; int <= 1 wanted"),
    "segments are no list": (lambda d: annotation(d).update(segments_info={}), "segments_info is {}; array wanted"),
    "segment is no object": (
        lambda d: annotation(d).update(segments_info=[3]),
        r"segments_info\[0\] is 3; object wanted",
    ),
    "category twice": (lambda d: d["categories"].append(d["categories"][0]), "category 21 appears twice"),
    "category without isthing": (lambda d: d["categories"][0].pop("isthing"), "category 21 has no 'isthing'"),
    "category without name": (lambda d: d["categories"][0].pop("name"), r"categories\[0\] \(id 21\) has no 'name'"),
    "colour of two": (
        lambda d: d["categories"][0].update(color=[1, 2]),
        r"color is \[1, 2\]; array of length 3 wanted",
    ),
    "no categories": (lambda d: d["categories"].clear(), "lists no categories"),
    "image twice": (lambda d: d["images"].append(d["images"][0]), "image 12 appears twice"),
    "image without height": (lambda d: d["images"][0].pop("height"), r"images\[0\] \(id 12\) has no 'height'"),
    "annotation twice": (lambda d: d["annotations"].append(annotation(d)), "image_id 12 appears twice"),
    "no images": (lambda d: d["images"].clear(), "lists no images"),
    "images are no list": (lambda d: d.update(images=4), "images is of type int; array wanted"),
    "annotation without image": (lambda d: annotation(d).update(image_id=13), "image_id 13 has no entry in images"),
    "image without annotation": (lambda d: d["annotations"].clear(), "photo.jpg .* has no annotation"),
    "image file missing": (lambda d: d["images"][0].update(file_name="b.jpg"), r"b\.jpg does not exist"),
    "image outside the folder": (lambda d: d["images"][0].update(file_name="../train/a/photo.jpg"), "does not exist"),
    "png missing": (lambda d: annotation(d).update(file_name="b.png"), r"b\.png does not exist"),
    "instances, not panoptic": (
        lambda d: d.update(annotations=[{"id": 1, "image_id": 12, "category_id": 3, "segmentation": []}]),
        "COCO instances JSON",
    ),
    "no annotations key": (lambda d: d.pop("annotations"), "has no 'annotations'"),
}


@pytest.mark.parametrize("case", BROKEN_JSON)
def test_broken_json_is_refused_with_one_line(case: str, tmp_path: Path) -> None:
    break_it, message = BROKEN_JSON[case]
    document = make_document()
    break_it(document)
    make_folder(tmp_path, document)
    with pytest.raises(InputError, match=message) as caught:
        PanopticFolder.open(tmp_path, "train")
    assert "panoptic_train.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"annotations": 1}', "\x00", "[" * 100_000])
def test_file_that_is_not_panoptic_json_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"some\.json"):
        read_panoptic_json(path)


def test_two_images_on_one_file_are_refused(tmp_path: Path) -> None:
    document = make_document()
    document["images"].append({**document["images"][0], "id": 13})
    document["annotations"].append({**annotation(document), "image_id": 13})
    with pytest.raises(InputError, match=r"names a/photo\.jpg twice"):
        PanopticFolder.open(make_folder(tmp_path, document), "train")


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("", "data folder .* does not exist"),
        ("annotations", r"annotations has no panoptic_train\.json or panoptic_train2017\.json"),
        ("train", "train does not exist; panoptic_train.json lists 1 files"),
        ("annotations/panoptic_train", "panoptic_train does not exist"),
    ],
)
def test_missing_folder_is_named(gone: str, message: str, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set")
    (root / gone).rename(tmp_path / "gone")
    with pytest.raises(InputError, match=message):
        PanopticFolder.open(root, "train")


def test_empty_image_folder_is_said_to_be_empty(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    (root / "train" / "a" / "photo.jpg").unlink()
    with pytest.raises(InputError, match="the folder is empty"):
        PanopticFolder.open(root, "train")


def test_png_id_that_the_json_lacks_is_refused(tmp_path: Path) -> None:
    document = make_document()
    annotation(document)["segments_info"].pop(0)
    folder = PanopticFolder.open(make_folder(tmp_path, document), "train")
    with pytest.raises(InputError, match=r"label\.png holds segment 7, which its JSON \(2 segments\) does not list"):
        folder[0]


def test_json_id_that_the_png_lacks_is_refused(tmp_path: Path) -> None:
    document = make_document()
    annotation(document)["segments_info"].append({"id": 99, "category_id": 3})
    folder = PanopticFolder.open(make_folder(tmp_path, document), "train")
    with pytest.raises(InputError, match=r"label\.png has no pixel of segment 99"):
        folder[0]


@pytest.mark.parametrize("file", ["train/a/photo.jpg", "annotations/panoptic_train/label.png"])
def test_file_of_another_size_is_refused(file: str, tmp_path: Path) -> None:
    folder = PanopticFolder.open(make_folder(tmp_path), "train")
    with Image.open(tmp_path / file) as picture:
        picture.resize((8, 6), Image.Resampling.NEAREST).save(tmp_path / file)
    with pytest.raises(InputError, match=r"is 6 x 8 \(height x width\), its JSON says 3 x 4"):
        folder[0]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "I;16"])
def test_panoptic_png_that_is_not_8_bit_rgb_is_refused(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "label.png"
    Image.new(mode, (4, 3)).save(path)
    with pytest.raises(InputError, match=r"label\.png is .*; ids are stored as 8-bit RGB"):
        read_panoptic_png(path, [])


def test_ids_follow_the_published_formula() -> None:
    rgb = np.array([[[1, 2, 3], [255, 255, 255]]], dtype=np.uint8)
    ids = np.array([[1 + 256 * 2 + 65536 * 3, 2**24 - 1]], dtype=np.int32)
    assert np.array_equal(decode_ids(rgb), ids)
    assert np.array_equal(encode_ids(ids), rgb)


@pytest.mark.parametrize("segment_id", [-1, 2**24])
def test_id_that_three_bytes_cannot_hold_is_refused(segment_id: int) -> None:
    with pytest.raises(InputError, match="do not fit"):
        encode_ids(np.array([[segment_id]], dtype=np.int32))


def test_segment_geometry_equals_a_loop_over_masks() -> None:
    panoptic_map = np.random.default_rng(3).choice(np.array([0, 5, 70_000, 9], dtype=np.int32), size=(17, 23))
    panoptic_map[:, 0] = panoptic_map[:, -1] = 5  # a run that could be mistaken to go on in the next row
    ids, areas, boxes = segment_geometry(panoptic_map)
    assert ids.tolist() == [0, 5, 9, 70_000]
    for segment_id, area, (x, y, width, height) in zip(ids, areas, boxes.tolist(), strict=True):
        rows, columns = np.nonzero(panoptic_map == segment_id)
        assert area == len(rows)
        assert (x, y) == (columns.min(), rows.min())
        assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)


def test_areas_and_boxes_of_coco_are_reproduced() -> None:
    """panoptic_examples.json carries COCO's own area and bbox of 50 segments."""
    rows = json.loads((FIXTURE / "panoptic_examples.json").read_text())["annotations"]
    read = read_panoptic_json(FIXTURE / "panoptic_examples.json")
    for row in rows:
        record = read.annotations[row["image_id"]]
        _, segments = read_panoptic_png(FIXTURE / "panoptic_examples" / record.png_name, record.segments)
        given = [
            (s["id"], s["category_id"], s["area"], tuple(s["bbox"]), bool(s["iscrowd"])) for s in row["segments_info"]
        ]
        assert [(s.id, s.category_id, s.area, s.bbox, s.is_crowd) for s in segments] == given


def test_file_that_differs_in_capitals_or_composition_is_pointed_out(tmp_path: Path) -> None:
    document = make_document()
    document["images"][0]["file_name"] = "a/Bäckerei.jpg"
    root = make_folder(tmp_path, document)
    (root / "train" / "a" / "photo.jpg").rename(root / "train" / "a" / "Ba\u0308ckerei.JPG")
    with pytest.raises(InputError, match=r"'a/Ba\\u0308ckerei\.JPG' is there, which differs in capitals or"):
        PanopticFolder.open(root, "train")


def test_paths_with_spaces_and_unicode_are_read(tmp_path: Path) -> None:
    document = make_document()
    document["images"][0]["file_name"] = "a/mein Foto – 写真.jpg"
    root = make_folder(tmp_path / "a folder, über 100 %", document)
    (root / "train" / "a" / "photo.jpg").rename(root / "train" / "a" / "mein Foto – 写真.jpg")
    assert PanopticFolder.open(root, "train")[0].image.shape == (3, 4, 3)


def test_image_without_segments_is_all_void(tmp_path: Path) -> None:
    document = make_document()
    annotation(document)["segments_info"] = []
    root = make_folder(tmp_path, document)
    Image.new("RGB", (4, 3)).save(root / "annotations" / "panoptic_train" / "label.png")
    folder = PanopticFolder.open(root, "train")
    assert folder[0].segments == ()
    assert not folder[0].panoptic_map.any()
    assert folder.category_ids(0) == set()


@pytest.mark.parametrize("area", [0, -5, "many", 1e300])
def test_area_of_the_json_does_not_count(area: object, tmp_path: Path) -> None:
    document = make_document()
    annotation(document)["segments_info"][0].update(area=area, bbox=None)
    sample = PanopticFolder.open(make_folder(tmp_path, document), "train")[0]
    assert (sample.segments[0].area, sample.segments[0].bbox) == (5, (2, 0, 2, 3))


@pytest.mark.parametrize(("height", "width"), [(0, 4), (-3, 4), (3, 2**40)])
def test_size_that_no_image_has_is_refused(height: int, width: int, tmp_path: Path) -> None:
    document = make_document()
    document["images"][0].update(height=height, width=width)
    with pytest.raises(InputError, match=r"images\[0\] \(id 12\): (height|width) is"):
        PanopticFolder.open(make_folder(tmp_path, document), "train")


def test_photo_with_an_orientation_lies_under_its_label(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    grey = np.arange(12, dtype=np.uint8).reshape(4, 3)  # stored upright, 4 high; shown 3 high, as the JSON says
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.fromarray(grey).save(root / "train" / "a" / "photo.jpg", "PNG", exif=exif)
    assert np.array_equal(PanopticFolder.open(root, "train")[0].image[..., 0], np.rot90(grey))


def test_categories_of_an_image_are_known_without_its_pixels(tmp_path: Path) -> None:
    document = make_document()
    root = make_folder(tmp_path, document)
    folder = PanopticFolder.open(root, "train")
    (root / "annotations" / "panoptic_train" / "label.png").unlink()
    assert folder.category_ids(0) == {21, 3}
    annotation(document)["segments_info"][1]["iscrowd"] = 1
    (root / "other").mkdir()
    assert PanopticFolder.open(make_folder(root / "other", document), "train").category_ids(0) == {21}


def test_flipped_bits_of_a_label_never_change_an_id(tmp_path: Path) -> None:
    folder = PanopticFolder.open(make_folder(tmp_path), "train")
    path = folder.png_folder / "label.png"
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        with contextlib.suppress(InputError):
            assert np.array_equal(folder[0].panoptic_map, IDS)


def test_written_folder_reads_back_equal(tmp_path: Path) -> None:
    folder = PanopticFolder.open(make_folder(tmp_path / "a"), "train")
    sample = folder[0]
    out = tmp_path / "b"
    (out / "train" / "a").mkdir(parents=True)
    Image.fromarray(sample.image).save(out / "train" / "a" / "photo.jpg")
    rows = [(sample.image_id, sample.file_name, sample.panoptic_map, sample.segments)]
    annotations = out / "annotations"
    write_panoptic(
        annotations / "panoptic_train.json", annotations / "panoptic_train", rows, categories=folder.categories
    )
    again = PanopticFolder.open(out, "train")
    assert again.categories == folder.categories
    assert again[0].segments == sample.segments
    assert np.array_equal(again[0].panoptic_map, sample.panoptic_map)


def test_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    good = np.ones((2, 2), dtype=np.int32)
    rows = [(1, "a.jpg", good, ()), (2, "b.jpg", good - 2, ())]
    with pytest.raises(InputError, match="do not fit"):
        write_panoptic(tmp_path / "p.json", tmp_path / "p", rows, categories=())
    assert list(tmp_path.iterdir()) == []


def test_images_whose_pngs_would_collide_are_refused(tmp_path: Path) -> None:
    rows = [(1, "a.jpg", np.ones((2, 2), dtype=np.int32), ()), (2, "a.png", np.ones((2, 2), dtype=np.int32), ())]
    with pytest.raises(InputError, match="two images would be written to"):
        write_panoptic(tmp_path / "p.json", tmp_path / "p", rows, categories=())


def test_folder_in_use_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="exists already"):
        write_panoptic(tmp_path / "p.json", tmp_path / "p", [], categories=())
    assert (tmp_path / "p" / "mine.txt").read_text() == "keep"


def test_prediction_json_is_checked_against_the_categories_of_the_truth(tmp_path: Path) -> None:
    path = tmp_path / "pred.json"
    row = {"image_id": "x", "file_name": "x.png", "segments_info": [{"id": 4, "category_id": 3}]}
    path.write_text(json.dumps({"annotations": [row]}))
    car = Category(3, "car", True, (0, 0, 0))
    assert read_panoptic_json(path, [car]).annotations["x"].segments == (SegmentRecord(4, 3, False),)
    with pytest.raises(InputError, match="category_id 3"):
        read_panoptic_json(path, [Category(4, "bus", True, (0, 0, 0))])


def test_numbered_reading_counts_segments_up_in_order_of_their_ids(tmp_path: Path) -> None:
    sample = PanopticFolder.open(make_folder(tmp_path), "train").numbered(0)
    assert sample.panoptic_map.dtype == np.uint8
    assert sample.panoptic_map.tolist() == [[0, 3, 3, 1], [2, 3, 1, 1], [2, 2, 1, 1]]  # road 7, crowd 300, car 70 000
    assert sample.segments == (SegmentRecord(1, 21, False), SegmentRecord(2, 3, True), SegmentRecord(3, 3, False))


def test_numbered_reading_has_room_for_more_than_255_segments(tmp_path: Path) -> None:
    ids = np.arange(300, dtype=np.int32).reshape(15, 20)[::-1] * 50_000
    Image.fromarray(encode_ids(ids)).save(tmp_path / "a.png")
    table = [SegmentRecord(int(id_), 1, False) for id_ in ids.ravel() if id_]
    number_map, segments = read_numbered_png(tmp_path / "a.png", table)
    assert np.array_equal(number_map, ids // 50_000)
    assert [segment.id for segment in segments] == list(range(1, 300))


@pytest.mark.parametrize("ids_listed", [[ROAD, CAR], [ROAD, CAR, CROWD, 5]], ids=["unlisted", "absent"])
def test_numbered_reading_refuses_what_plain_reading_refuses_in_the_same_words(
    tmp_path: Path, ids_listed: list[int]
) -> None:
    Image.fromarray(encode_ids(IDS.astype(np.int32))).save(tmp_path / "a.png")
    table = [SegmentRecord(id_, 3, False) for id_ in ids_listed]
    messages = []
    for read in (read_panoptic_png, read_numbered_png):
        with pytest.raises(InputError, match="segment") as caught:
            read(tmp_path / "a.png", table)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_numbered_reading_leaves_absent_segments_out_where_they_are_allowed(tmp_path: Path) -> None:
    Image.fromarray(encode_ids(IDS.astype(np.int32))).save(tmp_path / "a.png")
    table = [SegmentRecord(id_, 3, False) for id_ in (5, ROAD, CAR, CROWD)]
    number_map, segments = read_numbered_png(tmp_path / "a.png", table, allow_absent=True)
    assert number_map.tolist() == [[0, 3, 3, 1], [2, 3, 1, 1], [2, 2, 1, 1]]
    assert [segment.id for segment in segments] == [1, 2, 3]
