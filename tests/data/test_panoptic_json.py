"""What is read of a panoptic JSON, and how little is kept."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from edgeseg.data.panoptic_json import Frame, PanopticJson, read_panoptic_json
from edgeseg.data.panoptic_table import AnnotationRecord, ImageRecords, SegmentRecord
from edgeseg.structures import InputError

CATEGORIES = [{"id": 7, "name": "car", "isthing": 1}, {"id": 900, "name": "road", "isthing": 0}]


def read(path: Path, document: object, prefix: bytes = b"") -> PanopticJson:
    path.write_bytes(prefix + json.dumps(document, ensure_ascii=False).encode())
    return read_panoptic_json(path)


def make_document(num_images: int, **extra: object) -> dict[str, Any]:
    """Image i has i % 4 segments; ids, categories and crowds follow from i."""
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": 3 + i, "width": 5, **extra} for i in range(num_images)],
        "annotations": [
            {
                "image_id": i,
                "file_name": f"label {i} é.png",
                "segments_info": [
                    {"id": 70_000 + k, "category_id": (7, 900)[k % 2], "iscrowd": int(k == 2), **extra}
                    for k in range(i % 4)
                ],
                **extra,
            }
            for i in reversed(range(num_images))
        ],
        "categories": CATEGORIES,
    }


def test_rows_come_back_in_the_files_order_with_gaps_between_category_ids(tmp_path: Path) -> None:
    document = read(tmp_path / "x.json", make_document(6))
    assert list(document.annotations) == [5, 4, 3, 2, 1, 0]
    assert list(document.images) == [0, 1, 2, 3, 4, 5]
    assert document.images[4] == ("4.jpg", (7, 5))
    assert document.annotations[4] == AnnotationRecord("label 4 é.png", ())
    segments = SegmentRecord(70_000, 7, False), SegmentRecord(70_001, 900, False), SegmentRecord(70_002, 7, True)
    assert document.annotations[3] == AnnotationRecord("label 3 é.png", segments)
    assert 6 not in document.annotations
    assert document.frames == {}


def test_images_are_joined_with_their_annotations_also_after_pickling(tmp_path: Path) -> None:
    document = make_document(5)
    document["images"][1]["id"] = document["annotations"][3]["image_id"] = "one"
    read_back = read(tmp_path / "x.json", document)
    records = ImageRecords(read_back.images, read_back.annotations)
    for table in (records, pickle.loads(pickle.dumps(records))):
        assert [record.image_id for record in table] == [0, "one", 2, 3, 4]
        assert [record.annotation.png_name for record in table] == [f"label {i} é.png" for i in range(5)]
        assert [len(record.annotation.segments) for record in table] == [0, 1, 2, 3, 0]
        assert table[-1].size == (7, 5)
        assert table.file_names() == [f"{i}.jpg" for i in range(5)]
        assert table.png_names() == [f"label {i} é.png" for i in range(5)]
        with pytest.raises(IndexError):
            table[5]


def test_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    assert len(read(tmp_path / "x.json", make_document(2), prefix=b"\xef\xbb\xbf").images) == 2


def test_flags_may_be_true_and_false(tmp_path: Path) -> None:
    document = make_document(4)
    document["categories"] = [{**row, "isthing": bool(row["isthing"])} for row in CATEGORIES]
    document["annotations"][0]["segments_info"][0]["iscrowd"] = True
    read_back = read(tmp_path / "x.json", document)
    assert [category.is_thing for category in read_back.categories] == [True, False]
    assert read_back.annotations[3].segments[0].is_crowd


def test_memory_grows_with_what_is_kept_not_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(make_document(4000, caption="x" * 700)))
    assert path.stat().st_size > 9_000_000
    read_panoptic_json(path)
    tracemalloc.start()
    document = read_panoptic_json(path)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_000_000  # two dictionaries of 4000 ids, their names, and the places of 8000 rows
    assert kept < 1_500_000
    assert document.annotations.columns.nbytes < 4000 * 35 + 6000 * 6  # names and their ends; segments


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b'{"annotations": [{"x": NaN}]}', r"is not JSON that can be read: .*invalid character \(byte 23\)"),
        ("{}".encode("utf-16"), "is not JSON"),
        (
            b'{"annotations": [{"image_id": %s}], "categories": [{"id": 1, "name": "a", "isthing": 1}]}'
            % (b"1" * 5000),
            r"annotations\[0\] is not JSON .*out of range - at `\$\.image_id`",
        ),
        (b'{"annotations": [{"x": %s' % (b"[" * 100_000), "is not JSON that can be read: maximum recursion depth"),
        (b'{"categories": [{"id": 1, "name": "\xff"}], "annotations": []}', r"categories\[0\] is not JSON"),
    ],
)
def test_bytes_that_are_no_json_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_panoptic_json(tmp_path / "x.json")
    assert "x.json" in str(caught.value)


@pytest.mark.parametrize("name", ["", "a\nb.png", "a\0b.png"])
def test_names_that_are_no_names_are_refused(name: str, tmp_path: Path) -> None:
    document = make_document(1)
    document["annotations"][0]["file_name"] = name
    with pytest.raises(InputError, match=r"annotations\[0\] \(image_id 0\): file_name is ") as caught:
        read(tmp_path / "x.json", document)
    assert "\n" not in str(caught.value)


def test_sequence_and_frame_are_kept_where_both_are_stated(tmp_path: Path) -> None:
    document = make_document(4)
    for number, row in enumerate(document["images"][:3]):
        row.update(sequence="drive 1", frame=10 * number)
    document["images"][2]["frame"] = "20"  # a field of that name that means something else
    assert read(tmp_path / "x.json", document).frames == {0: Frame("drive 1", 0), 1: Frame("drive 1", 10)}


def test_vipseg_nesting_is_read_with_the_video_in_front_of_names_and_ids(tmp_path: Path) -> None:
    """As create_panoptic_video_labels.py of VIPSeg-Dataset writes it."""
    names = {"0_a": ["00", "04"], "1_b": ["00"]}
    image = {"height": 3, "width": 5}
    document = {
        "videos": [
            {"video_id": video, "images": [{"id": i, "file_name": f"{i}.png", **image} for i in frames]}
            for video, frames in names.items()
        ],
        "annotations": [
            {
                "video_id": video,
                "annotations": [
                    {"image_id": i, "file_name": f"{i}.png", "segments_info": [{"id": 9, "category_id": 7}]}
                    for i in frames
                ],
            }
            for video, frames in names.items()
        ],
        "categories": CATEGORIES,
    }
    read_back = read(tmp_path / "x.json", document)
    assert list(read_back.annotations) == list(read_back.images) == ["0_a/00", "0_a/04", "1_b/00"]
    assert read_back.annotations["0_a/04"] == AnnotationRecord("0_a/04.png", (SegmentRecord(9, 7, False),))
    assert read_back.images["1_b/00"] == ("1_b/00.png", (3, 5))
    assert read_back.frames == {"0_a/00": Frame("0_a", 0), "0_a/04": Frame("0_a", 1), "1_b/00": Frame("1_b", 0)}
