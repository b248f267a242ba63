"""Sources that break a rule of their format: one line that names file, value and rule, and nothing left on disk."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgeseg.data.coco_panoptic import PanopticFolder
from edgeseg.data.convert.records import Options
from edgeseg.data.convert.run import READERS, convert, detect, open_source
from edgeseg.structures import InputError
from tests.data import convert_sources as sources

Break = Callable[[Path], object]


def edit_json(name: str, change: Callable[[Any], object]) -> Break:
    """Changes a JSON file of the source."""

    def apply(root: Path) -> None:
        path = root / name
        document = json.loads(path.read_text())
        changed = change(document)
        path.write_text(json.dumps(changed if isinstance(changed, dict | list) else document))

    return apply


def edit_text(name: str, old: str, new: str) -> Break:
    def apply(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new, 1))

    return apply


def remove(name: str) -> Break:
    return lambda root: (root / name).unlink()


def write(name: str, text: str) -> Break:
    return lambda root: (root / name).write_text(text)


def enlarge(name: str) -> Break:
    return lambda root: sources.write_photo(root / name, size=(7, 8))


def save_png(name: str, values: np.ndarray) -> Break:
    return lambda root: Image.fromarray(values).save(root / name)


def coco(change: Callable[[dict[str, Any]], object]) -> Break:
    return edit_json("annotations/instances_train2017.json", lambda document: change(document) and None)


def row(**values: Any) -> Break:
    """Changes the first annotation."""
    return coco(lambda document: document["annotations"][0].update(values))


def shape(**values: Any) -> Break:
    """Changes LabelMe's first shape."""
    return edit_json("a.json", lambda document: document["shapes"][0].update(values) and None)


def cvat(shape_xml: str) -> Break:
    def apply(root: Path) -> None:
        text = sources.cvat_xml(sources.cvat_image("a.png", shape_xml))
        (root / "annotations.xml").write_text(text)

    return apply


def yolo(line: str) -> Break:
    return write("labels/train/a.txt", line + "\n")


COCO_JSON = "annotations/instances_train2017.json"
YOLO_TXT = "labels/train/a.txt"
TWO_POINTS = [[1.0, 1.0, 5.0, 4.0]]
SQUARE = "1,1;3,1;3,3"

CASES: dict[str, tuple[str, Break, str]] = {
    # COCO instances
    "coco: 2 points": ("coco", row(segmentation=TWO_POINTS), "annotation 1 of a.png: a polygon of 4 numbers; 3 points"),
    "coco: half a point": ("coco", row(segmentation=[[1, 1, 5, 1, 5, 4, 2]]), "a polygon of 7 numbers"),
    "coco: NaN": ("coco", edit_text(COCO_JSON, "4.0, 2.0", "NaN, 2.0"), "coordinate 'nan' is no finite number"),
    "coco: text": ("coco", row(segmentation=[["1", 1, 5, 1, 5, 4]]), "coordinate '1' is no finite number"),
    "coco: outside": (
        "coco",
        row(segmentation=[[1, 1, 12, 1, 5, 4]]),
        r"point \(12, 1\) is outside the image \(8 wide",
    ),
    "coco: only a box": ("coco", row(segmentation=[]), "annotation 1 of a.png has no segmentation"),
    "coco: numbers, not lists": ("coco", row(segmentation=[1, 2, 3]), "is no list of numbers"),
    "coco: run lengths of other size": (
        "coco",
        row(segmentation={"size": [6, 9], "counts": [54]}),
        r"\[6, 9\], the photo",
    ),
    "coco: run lengths too short": (
        "coco",
        row(segmentation={"size": [6, 8], "counts": [3, 4]}),
        "sum up to 6 x 8 = 48",
    ),
    "coco: negative run": ("coco", row(segmentation={"size": [6, 8], "counts": [-3, 51]}), "whole numbers"),
    "coco: broken text runs": ("coco", row(segmentation={"size": [6, 8], "counts": "\u00e9"}), "where it cannot stand"),
    "coco: text runs that end early": (
        "coco",
        row(segmentation={"size": [6, 8], "counts": "P"}),
        "end within a number",
    ),
    "coco: runs of no kind": ("coco", row(segmentation={"size": [6, 8]}), "have no 'counts'"),
    "coco: iscrowd": ("coco", row(iscrowd=2), "iscrowd is 2; 0 or 1"),
    "coco: unknown category": ("coco", row(category_id=9), "category_id 9, which categories does not list"),
    "coco: unknown image": ("coco", row(image_id=77), "image_id 77, which images does not list"),
    "coco: category as text": ("coco", row(category_id="3"), "category_id is '3'; int wanted"),
    "coco: category twice": (
        "coco",
        coco(lambda d: d["categories"].append(d["categories"][0])),
        "category 1 appears twice",
    ),
    "coco: name twice": ("coco", coco(lambda d: d["images"][1].update(file_name="a.png")), "would both be"),
    "coco: image twice": ("coco", coco(lambda d: d["images"][1].update(id=1)), "image 1 appears twice"),
    "coco: empty name": ("coco", coco(lambda d: d["categories"][0].update(name="")), "has the name ''"),
    "coco: line break in a name": ("coco", coco(lambda d: d["categories"][0].update(name="a\nb")), r"the name 'a\\nb'"),
    "coco: huge category id": (
        "coco",
        coco(lambda d: d["categories"].append({"id": 2**40, "name": "x"})),
        "has the id 1099511627776",
    ),
    "coco: no images": ("coco", coco(lambda d: d["images"].clear()), "image_id 1, which images does not list"),
    "coco: no categories": ("coco", coco(lambda d: d.pop("categories")), "has no 'categories'"),
    "coco: path climbs out": ("coco", coco(lambda d: d["images"][0].update(file_name="../a.png")), "path inside"),
    "coco: absolute path": ("coco", coco(lambda d: d["images"][0].update(file_name="/a.png")), "path inside"),
    "coco: panoptic": ("coco", row(segments_info=[]), "is a panoptic JSON already"),
    "coco: cut off": ("coco", write(COCO_JSON, '{"images": [{"id"'), "is not a JSON object"),
    "coco: photo missing": ("coco", remove("train2017/b.png"), r"b\.png does not exist; restore"),
    "coco: all photos missing": (
        "coco",
        lambda root: (root / "train2017").rename(root / "gone"),
        "which is in none of",
    ),
    "coco: other size": ("coco", enlarge("train2017/a.png"), r"says 6 x 8 \(height x width\), the photo is 7 x 8"),
    "coco: empty photo": ("coco", write("train2017/a.png", ""), r"a\.png is empty"),
    "roboflow: other categories": (
        "roboflow",
        edit_json("valid/_annotations.coco.json", lambda d: d["categories"][1].update(name="cab") and None),
        "has other categories than",
    ),
    # LabelMe
    "labelme: 2 points": ("labelme", shape(points=[[1, 1], [2, 2]]), r"shape 0 \(dog\): a polygon of 4 numbers"),
    "labelme: point of 3": ("labelme", shape(points=[[1, 1, 1], [2, 2], [3, 1]]), "no pair of numbers"),
    "labelme: outside": ("labelme", shape(points=[[1, 1], [2, -4], [3, 1]]), r"point \(2, -4\) is outside"),
    "labelme: a line": ("labelme", shape(shape_type="line"), "a 'line' has no area"),
    "labelme: rectangle of 3": ("labelme", shape(shape_type="rectangle"), "a rectangle has 2 points, this one has 4"),
    "labelme: mask that is none": (
        "labelme",
        shape(shape_type="mask", points=[[0, 0], [1, 1]], mask="%%%"),
        "no base64 PNG",
    ),
    "labelme: circle of radius 0": ("labelme", shape(shape_type="circle", points=[[3, 3], [3, 3]]), "radii 0, 0"),
    "labelme: group": ("labelme", shape(group_id=[1]), "group_id is"),
    "labelme: no label": (
        "labelme",
        edit_json("a.json", lambda d: d["shapes"][0].pop("label") and None),
        "without 'label'",
    ),
    "labelme: other size": ("labelme", enlarge("a.png"), r"a\.json says 6 x 8"),
    "labelme: photo missing": ("labelme", remove("a.png"), r"a\.png does not exist"),
    "labelme: NUL in a name": (
        "labelme",
        edit_json("a.json", lambda d: {**d, "imagePath": "a\0.png"}),
        r"a\.json: imagePath: 'a\\x00\.png' is no file name",
    ),
    "labelme: no name": ("labelme", edit_json("a.json", lambda d: {**d, "imagePath": ""}), "imagePath: '' is no file"),
    "labelme: other JSON": ("labelme", write("z.json", "{}"), r"z\.json is no LabelMe JSON"),
    "labelme: not listed": (
        "labelme",
        write("labels.txt", "cart\nsky\ndog\n"),
        "'car' is not in .*did you mean 'cart'",
    ),
    "labelme: broken JSON": ("labelme", write("b.json", '{"shapes": ['), r"b\.json is not JSON"),
    # CVAT
    "cvat: unknown label": (
        "cvat",
        cvat(f'<polygon label="cat" points="{SQUARE}"/>'),
        "label 'cat' is not in the XML's",
    ),
    "cvat: 2 points": ("cvat", cvat('<polygon label="car" points="1,1;2,2"/>'), "polygon 0 of a.png: a polygon of 4"),
    "cvat: no points": ("cvat", cvat('<polygon label="car"/>'), "a polygon of 0 numbers"),
    "cvat: NaN": ("cvat", cvat('<polygon label="car" points="1,1;nan,1;3,3"/>'), "'nan' is no finite number"),
    "cvat: outside": (
        "cvat",
        cvat('<box label="car" xtl="0" ytl="0" xbr="20" ybr="2"/>'),
        r"point \(20, 0\) is outside",
    ),
    "cvat: polyline": ("cvat", cvat(f'<polyline label="car" points="{SQUARE}"/>'), "has a polyline, which has no area"),
    "cvat: mask runs": (
        "cvat",
        cvat('<mask label="car" rle="1,2" left="0" top="0" width="3" height="2"/>'),
        "sum up to 2 x 3 = 6",
    ),
    "cvat: mask outside": (
        "cvat",
        cvat('<mask label="car" rle="0,6" left="6" top="0" width="3" height="2"/>'),
        "reaches outside",
    ),
    "cvat: huge mask": (
        "cvat",
        cvat('<mask label="car" rle="0,6" left="0" top="0" width="999999999" height="999999999"/>'),
        "a mask 999999999 wide",
    ),
    "cvat: half a pixel": (
        "cvat",
        cvat('<mask label="car" rle="0,6" left="0.5" top="0" width="3" height="2"/>'),
        "'0.5' is no whole number",
    ),
    "cvat: video": ("cvat", edit_text("annotations.xml", "<image", '<track id="0"></track><image'), "video format"),
    "cvat: not XML": ("cvat", write("annotations.xml", "<annotations><image>"), "is not XML"),
    "cvat: no images": ("cvat", write("annotations.xml", "<annotations/>"), "has 0 images, 0 labels"),
    "cvat: photo missing": ("cvat", remove("images/b.png"), "image 'b.png' is not in"),
    "cvat: other size": ("cvat", enlarge("images/a.png"), "says 6 x 8"),
    # YOLO
    "yolo: unknown class": ("yolo", yolo("3 0.1 0.1 0.5 0.1 0.5 0.5"), "a.txt:1: class '3'; data.yaml names 0 .. 2"),
    "yolo: class is no number": ("yolo", yolo("car 0.1 0.1 0.5 0.1 0.5 0.5"), "class 'car'"),
    "yolo: 2 points and a half": ("yolo", yolo("0 0.1 0.1 0.5 0.1 0.5"), "a polygon of 5 numbers"),
    "yolo: a box": ("yolo", yolo("0 0.5 0.5 0.2 0.2"), "a detection box, not a polygon"),
    "yolo: NaN": ("yolo", yolo("0 0.1 0.1 nan 0.1 0.5 0.5"), "'nan' is no finite number"),
    "yolo: pixels": ("yolo", yolo("0 1 1 5 1 5 4"), r"point \(40, 6\) is outside"),
    "yolo: no names": ("yolo", write("data.yaml", "train: images/train\n"), "names is 'None'"),
    "yolo: gap in names": ("yolo", write("data.yaml", "train: images/train\nnames: {0: a, 2: b}\n"), "from 0 on"),
    "yolo: name twice": (
        "yolo",
        write("data.yaml", "train: images/train\nnames: [a, sky, a]\n"),
        "'a' is listed twice",
    ),
    "yolo: not YAML": ("yolo", write("data.yaml", "train: [\n"), "is not YAML"),
    "yolo: a list": ("yolo", write("data.yaml", "- train\n"), "holds no table"),
    "yolo: code in YAML": (
        "yolo",
        write("data.yaml", "names: !!python/object/apply:os.system [exit]\n"),
        "is not YAML: could not determine a constructor",
    ),
    "yolo: no such folder": ("yolo", write("data.yaml", "train: pics\nnames: [sky]\n"), "train: pics does not exist"),
    "yolo: no labels": ("yolo", lambda root: (root / "labels").rename(root / "txt"), "none of .* has a label file"),
    # pairs
    "pairs: unknown value": (
        "pairs",
        save_png("semantic/a.png", np.full((6, 8), 7, np.uint8)),
        "holds the value 7, which categories.json",
    ),
    "pairs: other size": ("pairs", save_png("instance/a.png", np.zeros((6, 9), np.uint8)), "says 6 x 8|photo is 6 x 8"),
    "pairs: colours": (
        "pairs",
        save_png("semantic/a.png", np.zeros((6, 8, 3), np.uint8)),
        "export the indices, not colours",
    ),
    "pairs: map missing": ("pairs", remove("instance/b.png"), r"instance/b\.png does not exist"),
    "pairs: no list": ("pairs", write("categories.json", "[]"), "holds no list of categories"),
    "pairs: isthing": ("pairs", edit_json("categories.json", lambda d: d[0].update(isthing=2) and None), "isthing 2"),
    "pairs: id twice": ("pairs", edit_json("categories.json", lambda d: d[0].update(id=3) and None), "ids are unique"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_broken_source_is_refused_in_one_line_and_leaves_nothing(case: str, tmp_path: Path) -> None:
    kind, break_it, message = CASES[case]
    root = sources.WRITERS[kind](tmp_path / "source")
    break_it(root)
    with pytest.raises(InputError, match=message) as caught:
        convert(open_source(root, kind, Options(stuff=("sky",)))[1], tmp_path / "out", val=0)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


@pytest.mark.parametrize("kind", READERS)
def test_an_empty_folder_is_refused_by_every_reader(kind: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=str(tmp_path)):
        open_source(tmp_path, kind, Options())


def test_an_unknown_source_or_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="looks like no known format; say --from coco, cvat"):
        detect(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        detect(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"'labelmee' is no format .did you mean 'labelme'"):
        open_source(tmp_path, "labelmee", Options())


def test_names_that_no_category_has_are_refused(tmp_path: Path) -> None:
    root = sources.write_yolo(tmp_path / "in")
    with pytest.raises(InputError, match=r"--stuff 'skye' is no category .did you mean 'sky'"):
        open_source(root, None, Options(stuff=("skye",)))
    source = open_source(root, None, Options())[1]
    with pytest.raises(InputError, match="--background 'car' is a thing"):
        convert(source, tmp_path / "out", background="car")


@pytest.mark.parametrize("more", [{"val": 1.0}, {"val": -0.1}, {"by": "("}, {"by": "x(.)"}])
def test_splits_that_cannot_be_are_refused(more: dict[str, Any], tmp_path: Path) -> None:
    source = open_source(sources.write_yolo(tmp_path / "in"), None, Options())[1]
    with pytest.raises(InputError, match=r"--val|--by"):
        convert(source, tmp_path / "out", **more)


def test_a_folder_in_use_is_not_touched(tmp_path: Path) -> None:
    source = open_source(sources.write_yolo(tmp_path / "in"), None, Options())[1]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="not an empty folder"):
        convert(source, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["mine.txt"]


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=4),
    st.lists(st.integers(-9, 99), max_size=8),
    st.dictionaries(st.sampled_from(["size", "counts", "id"]), st.integers(0, 9), max_size=3),
)


def mutate(document: Any, data: st.DataObject) -> Any:
    """The document with one value somewhere replaced or removed."""
    document = copy.deepcopy(document)
    place = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return document
        key = data.draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.integers(0, 3)):
            place = place[key]
            continue
        if data.draw(st.booleans()):
            del place[key]
        else:
            place[key] = data.draw(JUNK)
        return document


@pytest.mark.parametrize("kind", ["coco", "labelme"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_change_of_the_json_is_refused_or_gives_a_readable_folder(
    kind: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = sources.WRITERS[kind](tmp_path_factory.mktemp("fuzz") / "source")
    path = root / (COCO_JSON if kind == "coco" else "a.json")
    path.write_text(json.dumps(mutate(json.loads(path.read_text()), data)))
    out = root.parent / "out"
    refusal = None
    try:
        convert(open_source(root, kind, Options())[1], out, val=0)
    except InputError as error:
        refusal = str(error)
    assert out.exists() == (refusal is None)
    assert "\n" not in (refusal or "")
    folder = PanopticFolder.open(out, "train") if refusal is None else []
    assert all(folder[index].image.shape == (6, 8, 3) for index in range(len(folder)))
