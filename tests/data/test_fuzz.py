"""Damaged data sets: what can be read is right, everything else is refused in one line."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from edgeseg.cli import main
from edgeseg.data.coco_panoptic import PanopticFolder
from edgeseg.metrics.evaluation import METRICS
from edgeseg.metrics.folder import PredictedFolder
from edgeseg.metrics.sequences import evaluate_sequences
from edgeseg.structures import InputError

FAST = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LARGE = settings(FAST, max_examples=3000)

MAPS = {
    "one": np.kron([[0, 70_000, 7], [300, 70_000, 7]], np.ones((3, 4), dtype=int)),
    "two": np.kron([[7, 7, 300], [9, 0, 300]], np.ones((3, 4), dtype=int)),
}
"""(6, 12) ids; 300 is a crowd."""

CATEGORY_OF = {7: 21, 9: 3, 300: 3, 70_000: 3}

STRANGE: list[Any] = [
    None, True, False, -1, 0, 1, 3, 7, 21, 2**24, 2**31, 2**63, 2**64, 10**400, 1.5, -0.0, math.nan, math.inf, "", "7",
    "one.png", "a\nb", "\0", "../one.png", "/", "é", "x" * 5000, [], {}, [[]], [None], {"id": 1}, {"": 0},
]  # fmt: skip


def document() -> dict[str, Any]:
    """A valid set of two images, frames of one sequence."""
    return {
        "images": [
            {"id": name, "file_name": f"{name}.jpg", "height": 6, "width": 12, "sequence": "s", "frame": number}
            for number, name in enumerate(MAPS)
        ],
        "annotations": [
            {
                "image_id": name,
                "file_name": f"{name}.png",
                "segments_info": [
                    {"id": i, "category_id": CATEGORY_OF[i], "iscrowd": int(i == 300), "area": 12, "score": 0.5}
                    for i in np.unique(ids).tolist()
                    if i
                ],
            }
            for name, ids in MAPS.items()
        ],
        "categories": [
            {"id": 3, "name": "car", "isthing": 1, "color": [1, 2, 3]},
            {"id": 21, "name": "road", "isthing": 0},
        ],
    }


def png(ids: NDArray[np.int64]) -> bytes:
    buffer = BytesIO()
    rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65_536], axis=-1).astype(np.uint8)
    Image.fromarray(rgb).save(buffer, format="PNG")
    return buffer.getvalue()


def write_set(root: Path) -> Path:
    """ROOT as a COCO panoptic folder; its labels serve as a prediction of themselves too."""
    (root / "annotations" / "panoptic_train").mkdir(parents=True)
    (root / "train").mkdir()
    for name, ids in MAPS.items():
        Image.new("RGB", (12, 6), (200, 100, 50)).save(root / "train" / f"{name}.jpg")
        (root / "annotations" / "panoptic_train" / f"{name}.png").write_bytes(png(ids))
        (root / "truth").mkdir(exist_ok=True)
        (root / "truth" / f"{name}.png").write_bytes(png(ids))
    (root / "annotations" / "panoptic_train.json").write_text(json.dumps(document()))
    (root / "truth.json").write_text(json.dumps(document()))
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set"))


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of every value inside a JSON value."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


Place = tuple[Any, Any]


def replace(place: Place, other: Place, strange: Any) -> None:
    place[0][place[1]] = strange


def remove(place: Place, other: Place, strange: Any) -> None:
    del place[0][place[1]]


def take_from_elsewhere(place: Place, other: Place, strange: Any) -> None:
    place[0][place[1]] = copy.deepcopy(other[0][other[1]])


def swap_with_elsewhere(place: Place, other: Place, strange: Any) -> None:
    here, there = copy.deepcopy(place[0][place[1]]), copy.deepcopy(other[0][other[1]])
    place[0][place[1]], other[0][other[1]] = there, here


def repeat(place: Place, other: Place, strange: Any) -> None:
    container, key = place
    if isinstance(container, list):
        container.append(copy.deepcopy(container[key]))
    else:
        container["something more"] = strange


@st.composite
def damaged_documents(draw: st.DrawFn) -> dict[str, Any]:
    """The valid document after one to three mutations."""
    damaged = document()
    for _ in range(draw(st.integers(1, 3))):
        known = list(places(damaged))
        place, other = (known[draw(st.integers(0, len(known) - 1))] for _ in range(2))
        mutation: Callable[[Place, Place, Any], None] = draw(
            st.sampled_from([replace, remove, take_from_elsewhere, swap_with_elsewhere, repeat])
        )
        mutation(place, other, copy.deepcopy(draw(st.sampled_from(STRANGE))))
        if not damaged:
            break
    return damaged


@st.composite
def damaged_bytes(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes flipped, cut off, left out, put in."""
    damaged = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(len(damaged) - 1, 0)))
        kind = draw(st.sampled_from(["flip", "cut", "drop", "insert"]))
        if kind == "flip" and damaged:
            damaged[place] ^= draw(st.integers(1, 255))
        elif kind == "cut":
            del damaged[place:]
        elif kind == "drop":
            del damaged[place : place + draw(st.integers(1, 8))]
        else:
            damaged[place:place] = draw(st.binary(min_size=1, max_size=8))
    return bytes(damaged)


@st.composite
def other_pngs(draw: st.DrawFn) -> bytes:
    """Sound image files that are another label, or none."""
    ids = MAPS[draw(st.sampled_from(list(MAPS)))].copy()
    for _ in range(draw(st.integers(0, 2))):
        ids[ids == draw(st.sampled_from(list(CATEGORY_OF)))] = draw(st.sampled_from([0, 5, 7, 300, 70_000, 2**24 - 1]))
    if draw(st.booleans()):
        ids = ids[: draw(st.integers(1, 6)), : draw(st.integers(1, 12))]
    with Image.open(BytesIO(png(ids))) as picture:
        mode, kind = draw(st.sampled_from(["RGB", "RGB", "L", "P", "1", "RGBA", "LA", "I;16", "CMYK"])), "PNG"
        if mode == "CMYK":
            kind = draw(st.sampled_from(["JPEG", "TIFF"]))
        converted = picture.convert("L").convert("I;16") if mode == "I;16" else picture.convert(mode)
    buffer = BytesIO()
    converted.save(buffer, format=kind)
    return buffer.getvalue()


def check_message(error: InputError) -> None:
    """One line that people can read; most cases end here."""
    assert "\n" not in str(error)
    assert 20 < len(str(error)) < 6000


def decode(path: Path) -> NDArray[np.int64]:
    with Image.open(path) as picture:
        red, green, blue = np.moveaxis(np.asarray(picture).astype(np.int64), -1, 0)
    return np.asarray(red + 256 * green + 65_536 * blue)


def check_folder(root: Path, truth: dict[str, Any] | None, *, is_unharmed: bool = False) -> None:
    """Opens and reads everything. What is read must be what the files say, by an independent reading of them.

    Damage must not change a pixel: `is_unharmed` wants the maps as they were.
    """
    try:
        folder = PanopticFolder.open(root, "train")
    except InputError as error:
        return check_message(error)
    for index, record in enumerate(folder.images):
        try:
            sample = folder[index]
        except InputError as error:
            check_message(error)
            continue
        png_path = folder.png_folder / record.annotation.png_name
        ids = MAPS[str(sample.image_id)] if is_unharmed else decode(png_path)
        assert np.array_equal(sample.panoptic_map, ids)
        assert sample.image.shape == (*ids.shape, 3)
        assert {segment.id for segment in sample.segments} == set(np.unique(ids).tolist()) - {0}
        for segment in sample.segments:
            assert segment.area == (ids == segment.id).sum()
        if truth is not None:
            (row,) = [row for row in truth["annotations"] if row["image_id"] == sample.image_id]
            listed = {s["id"]: (s["category_id"], bool(s.get("iscrowd"))) for s in row["segments_info"]}
            assert {s.id: (s.category_id, s.is_crowd) for s in sample.segments} == listed
            assert {s.category_id for s in sample.segments} <= {c["id"] for c in truth["categories"]}


def check_score(root: Path, pred: Path, *, exact: bool) -> None:
    """Scores a prediction; a result must be in its range, and 1 where pixels and table are the truth's."""
    try:
        opened = PredictedFolder.open(
            pred, root / "annotations" / "panoptic_train", root / "truth.json", root / "truth"
        )
        result = {
            **opened.evaluate(list(METRICS)).to_dict(),
            **evaluate_sequences(opened, windows=(1, 2)).to_dict(),
        }
    except InputError as error:
        return check_message(error)
    for _, value in leaves(json.loads(json.dumps(result))):
        assert value is None or isinstance(value, str | bool) or (math.isfinite(value) and value >= -1)
    assert all(0 <= result["all"][key] <= 1 for key in ("pq", "sq", "rq"))
    assert 0 <= result["stq"]["stq"] <= 1
    assert 0 <= result["vpq"]["vpq"] <= 1
    if exact:
        assert (result["all"]["pq"], result["vpq"]["vpq"], result["stq"]["aq"]) == (1.0, 1.0, 1.0)


def leaves(value: Any) -> Iterator[tuple[Any, Any]]:
    return ((key, c[key]) for c, key in places(value) if not isinstance(c[key], dict | list))


def check_damaged_json(root: Path, damaged: dict[str, Any]) -> None:
    for path in (root / "annotations" / "panoptic_train.json", root / "damaged.json"):
        path.write_text(json.dumps(damaged))
    check_folder(root, damaged)
    check_score(root, root / "damaged.json", exact=False)


def check_damaged_text(root: Path, damaged: bytes) -> None:
    for path in (root / "annotations" / "panoptic_train.json", root / "damaged.json"):
        path.write_bytes(damaged)
    check_folder(root, None)
    check_score(root, root / "damaged.json", exact=False)


def check_damaged_png(root: Path, damaged: bytes, *, is_sound: bool) -> None:
    (root / "annotations" / "panoptic_train.json").write_text(json.dumps(document()))
    path = root / "annotations" / "panoptic_train" / "one.png"
    path.write_bytes(damaged)
    try:
        check_folder(root, document(), is_unharmed=not is_sound)
        check_score(root, root / "truth.json", exact=not is_sound)
    finally:
        path.write_bytes(png(MAPS["one"]))


@FAST
@given(damaged_documents())
def test_damaged_json_is_refused_or_read_as_it_stands(root: Path, damaged: dict[str, Any]) -> None:
    check_damaged_json(root, damaged)


@FAST
@given(damaged_bytes(json.dumps(document()).encode()))
def test_damaged_text_is_refused_or_sound(root: Path, damaged: bytes) -> None:
    check_damaged_text(root, damaged)


@FAST
@given(damaged_bytes(png(MAPS["one"])))
def test_damaged_png_is_refused_or_unharmed(root: Path, damaged: bytes) -> None:
    check_damaged_png(root, damaged, is_sound=False)


@FAST
@given(other_pngs())
def test_other_png_is_refused_or_goes_with_its_table(root: Path, other: bytes) -> None:
    check_damaged_png(root, other, is_sound=True)


@pytest.mark.slow
@LARGE
@given(damaged_documents(), damaged_bytes(png(MAPS["one"])), other_pngs())
def test_nothing_gets_past_in_thousands_of_cases(
    root: Path, damaged: dict[str, Any], damaged_png: bytes, other: bytes
) -> None:
    check_damaged_json(root, damaged)
    check_damaged_png(root, damaged_png, is_sound=False)
    check_damaged_png(root, other, is_sound=True)


@pytest.mark.parametrize("strange", STRANGE, ids=lambda value: repr(value)[:12])
def test_command_line_ends_with_a_code(strange: Any, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each strange value at a fifth of the document's places, through the command line."""
    for number in range(STRANGE.index(strange) % 5, len(list(places(document()))), 5):
        damaged = document()
        container, key = list(places(damaged))[number]
        container[key] = copy.deepcopy(strange)
        (root / "damaged.json").write_text(json.dumps(damaged))
        paths = ["--pred", f"{root}/damaged.json", "--gt", f"{root}/truth.json"]
        folders = ["--pred-folder", f"{root}/truth", "--gt-folder", f"{root}/truth"]
        code = main(["eval", *paths, *folders, "--sequences", "--vpq-windows", "1", "2", "--json", "--quiet"])
        said = capsys.readouterr()
        assert code in (0, 2)
        assert said.err.count("\n") == (code == 2)
        assert ("error" in json.loads(said.out)) == (code == 2)
