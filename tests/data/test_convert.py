"""Other formats made into COCO panoptic folders: the same scene in every true layout gives the same map."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from edgeseg.data.coco_panoptic import PanopticFolder
from edgeseg.data.convert.records import Options
from edgeseg.data.convert.run import READERS, convert, detect, open_source
from edgeseg.data.street import STREET_CATEGORIES, render_street
from edgeseg.structures import InputError, Sample
from tests.data import convert_sources as sources

STUFF = Options(stuff=("sky",))


def run(source: Path, out: Path, kind: str | None = None, options: Options = STUFF, **more: Any) -> dict[str, Any]:
    return convert(open_source(source, kind, options)[1], out, **more)


def samples(out: Path) -> list[Sample]:
    """All samples of all splits, by file name."""
    names = sorted(path.stem.removeprefix("panoptic_") for path in (out / "annotations").glob("*.json"))
    opened = [PanopticFolder.open(out, name) for name in names]
    found = [folder[index] for folder in opened for index in range(len(folder))]
    return sorted(found, key=lambda sample: sample.file_name)


def assert_grid(out: Path, sample: Sample, grid: str, names: dict[str, str] | None = None) -> None:
    """The map is the drawn one: a letter is one segment of its category (an upper-case one a crowd), . is void."""
    folder = PanopticFolder.open(out, "train" if (out / "annotations/panoptic_train.json").exists() else "val")
    title = {category.id: category.name for category in folder.categories}
    letters = np.array([list(line) for line in grid.split()])
    assert sample.panoptic_map.shape == letters.shape
    assert not sample.panoptic_map[letters == "."].any()
    table = {segment.id: segment for segment in sample.segments}
    seen = set()
    for letter in sorted(set(letters.ravel().tolist()) - {"."}):
        ids = np.unique(sample.panoptic_map[letters == letter])
        assert len(ids) == 1, f"{letter} is torn: {sample.panoptic_map}"
        segment = table[int(ids[0])]
        assert title[segment.category_id] == (names or sources.NAMES)[letter.lower()]
        assert segment.is_crowd == letter.isupper()
        assert segment.area == int((letters == letter).sum())
        seen.add(segment.id)
    assert seen == set(table)


def test_every_reader_has_a_source_here() -> None:
    assert READERS.keys() == sources.WRITERS.keys()


@pytest.mark.parametrize("kind", READERS)
def test_every_format_is_detected_and_gives_the_same_map(kind: str, tmp_path: Path) -> None:
    source = sources.WRITERS[kind](tmp_path / "source")
    assert detect(source) == kind
    out = tmp_path / "out"
    result = run(source, out)
    assert sum(result["images"].values()) == 2
    assert (result["segments"], result["hidden"], result["empty"], result["turned"]) == (6, 0, 0, 0)
    found = samples(out)
    assert len(found) == 2
    for sample in found:
        assert_grid(out, sample, sources.GRID)
    categories = PanopticFolder.open(out, "train").categories
    assert [(c.id, c.name, c.is_thing) for c in categories] == [(1, "car", True), (2, "dog", True), (3, "sky", False)]
    assert result["void_share"] == sources.GRID.count(".") / 48


@pytest.mark.parametrize("kind", READERS)
def test_photos_are_hard_links_or_copies_with_equal_bytes(kind: str, tmp_path: Path) -> None:
    source = sources.WRITERS[kind](tmp_path / "source")
    originals = {path.stat().st_ino: path.read_bytes() for path in source.rglob("*.png")}
    for copy in (False, True):
        run(source, tmp_path / str(copy), copy=copy)
        photos = [path for split in ("train", "val") for path in (tmp_path / str(copy) / split).glob("*.png")]
        assert len(photos) == 2
        assert all((photo.stat().st_ino in originals) is not copy for photo in photos)
        assert all(photo.read_bytes() in originals.values() for photo in photos)


def test_a_folder_that_could_be_two_formats_asks_which(tmp_path: Path) -> None:
    sources.write_coco(tmp_path)
    sources.write_cvat(tmp_path)
    with pytest.raises(InputError, match="could be coco or cvat; say --from"):
        detect(tmp_path)


def test_the_background_fills_what_nothing_covers(tmp_path: Path) -> None:
    result = run(sources.write_yolo(tmp_path / "source"), tmp_path / "out", background="ground")
    assert result["void_share"] == 0
    names = {**sources.NAMES, "g": "ground"}
    assert_grid(tmp_path / "out", samples(tmp_path / "out")[0], sources.GRID.replace(".", "g"), names)


def test_the_background_may_be_a_stuff_category_of_the_source(tmp_path: Path) -> None:
    result = run(sources.write_yolo(tmp_path / "source"), tmp_path / "out", background="sky")
    assert result["segments"] == 6
    assert_grid(tmp_path / "out", samples(tmp_path / "out")[0], sources.GRID.replace(".", "s"))


# COCO


def one_image(root: Path, rows: list[dict[str, Any]], **document: Any) -> Path:
    """A COCO folder of one photo with these annotations."""
    whole = {**sources.instances(("a.png",)), **document}
    whole["annotations"] = [{"id": i, "image_id": 1, "iscrowd": 0, **row} for i, row in enumerate(rows, start=1)]
    sources.write_photo(root / "val2017" / "a.png")
    sources.write_json(root / "annotations" / "instances_val2017.json", whole)
    return root


ROAD_GRID = "........ .CCCC... .CCddd.. .CCddd.. ........ ........"


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_crowd_in_run_lengths_lies_below_the_thing_it_covers(is_compressed: bool, tmp_path: Path) -> None:
    mask = np.zeros((6, 8), dtype=np.uint8)
    mask[1:4, 1:5] = 1
    if is_compressed:
        counts: Any = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    else:
        counts = [7, 3, 3, 3, 3, 3, 3, 3, 20]  # by columns: 6 of the first and 1, then 3 of every 6
    crowd = {"category_id": 1, "iscrowd": 1, "segmentation": {"size": [6, 8], "counts": counts}}
    big_dog = {"category_id": 2, "segmentation": [[3, 2, 6, 2, 6, 4, 3, 4]]}
    run(one_image(tmp_path / "in", [big_dog, crowd]), tmp_path / "out")
    assert_grid(tmp_path / "out", samples(tmp_path / "out")[0], ROAD_GRID)


def test_crowd_rows_are_single_things_where_the_user_says_so(tmp_path: Path) -> None:
    """CVAT's COCO export marks brush masks with iscrowd = 1."""
    rows = [{"category_id": 1, "iscrowd": 1, "segmentation": {"size": [6, 8], "counts": [7, 3, 38]}}]
    run(one_image(tmp_path / "in", rows), tmp_path / "out", options=Options(crowd="thing"))
    assert [segment.is_crowd for segment in samples(tmp_path / "out")[0].segments] == [False]


def test_an_annotation_of_two_polygons_is_one_segment(tmp_path: Path) -> None:
    rows = [{"category_id": 1, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2], [6, 4, 8, 4, 8, 6, 6, 6]]}]
    run(one_image(tmp_path / "in", rows), tmp_path / "out")
    grid = "cc...... cc...... ........ ........ ......cc ......cc"
    assert_grid(tmp_path / "out", samples(tmp_path / "out")[0], grid)


STUFF_GRID = "ssssssss s....sss s..dddss s..dddss ssssssss ssssssss"


@pytest.mark.parametrize("kind", ["stuffthingmaps", "pixelmaps", "stuff"])
def test_stuff_maps_lie_below_and_their_things_without_instance_are_void(kind: str, tmp_path: Path) -> None:
    """COCO-Stuff: value = id - 1, 255 unlabelled; COCO's pixel maps: value = id, 183 is "other"; ours: value = id."""
    car = "........ .####... .####... .####... ........ ........"
    is_car = np.array([[c == "#" for c in line] for line in car.split()])
    root = one_image(tmp_path / "in", [{"category_id": 2, "segmentation": [[3, 2, 6, 2, 6, 4, 3, 4]]}])
    sky, thing = {"stuffthingmaps": (156, 0), "pixelmaps": (157, 183), "stuff": (157, 0)}[kind]
    folder = {"pixelmaps": root / "annotations/stuff_val2017_pixelmaps"}.get(kind, root / kind / "val2017")
    folder.mkdir(parents=True)
    Image.fromarray(np.where(is_car, thing, sky).astype(np.uint8)).save(folder / "a.png")
    if kind == "pixelmaps":
        stuff = [{"id": 157, "name": "sky", "supercategory": "sky"}, {"id": 183, "name": "other"}]
        document = {"images": [], "annotations": [], "categories": stuff}
        sources.write_json(root / "annotations/stuff_val2017.json", document)
    else:
        (root / "labels.txt").write_text(
            "0: unlabeled\n1: car\n157: sky\n" if kind == "stuffthingmaps" else "157: sky\n"
        )
    document_categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "dog"}]
    path = root / "annotations/instances_val2017.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "categories": document_categories}))
    run(root, tmp_path / "out", options=Options())
    assert_grid(tmp_path / "out", samples(tmp_path / "out")[0], STUFF_GRID)
    categories = PanopticFolder.open(tmp_path / "out", "val").categories
    assert [(c.id, c.name, c.is_thing) for c in categories] == [(1, "car", True), (2, "dog", True), (157, "sky", False)]


def test_cvats_coco_export_is_read(tmp_path: Path) -> None:
    for file in sources.FILES:
        sources.write_photo(tmp_path / "images" / "default" / file)
    sources.write_json(tmp_path / "annotations" / "instances_default.json", sources.instances())
    assert run(tmp_path, tmp_path / "out")["images"] == {"train": 1, "val": 1}


def test_coco_keeps_its_image_ids_and_roboflow_whose_repeat_gets_new_ones(tmp_path: Path) -> None:
    run(
        one_image(tmp_path / "in", [], images=[{"id": 139, "file_name": "a.png", "height": 6, "width": 8}]),
        tmp_path / "c",
    )
    assert [sample.image_id for sample in samples(tmp_path / "c")] == [139]
    result = run(sources.write_roboflow(tmp_path / "robo"), tmp_path / "r")
    assert [sample.image_id for sample in samples(tmp_path / "r")] == [1, 2]
    assert result["images"] == {"train": 1, "val": 1}
    assert any("category 0 ('scene')" in note for note in result["notes"])


def test_a_photo_of_coco_is_taken_as_stored(tmp_path: Path) -> None:
    root = sources.write_coco(tmp_path / "in")
    for file in sources.FILES:
        sources.write_photo(root / "train2017" / file, orientation=3)
    assert run(root, tmp_path / "out")["turned"] == 0


# LabelMe


def labelme(root: Path, shapes: list[dict[str, Any]]) -> Path:
    sources.write_photo(root / "a.png")
    sources.write_json(root / "a.json", {**sources.labelme_document("a.png"), "shapes": shapes})
    return root


def test_labelme_shapes_of_one_label_and_group_are_one_segment(tmp_path: Path) -> None:
    left = {"label": "car", "points": [[0, 0], [2, 0], [2, 6], [0, 6]], "shape_type": "polygon"}
    right = {"label": "car", "points": [[6, 6], [8, 0]], "shape_type": "rectangle"}
    for group, grid in ((7, "cc....cc"), (None, "cc....ee")):
        shapes = [{**left, "group_id": group}, {**right, "group_id": group}]
        run(labelme(tmp_path / f"in{group}", shapes), tmp_path / f"out{group}", options=Options(), val=0)
        sample = samples(tmp_path / f"out{group}")[0]
        assert_grid(tmp_path / f"out{group}", sample, " ".join([grid] * 6), {"c": "car", "e": "car"})


def test_labelme_masks_circles_and_ignored_regions(tmp_path: Path) -> None:
    """A mask is a PNG whose corner is the first point; a circle is its centre and a point on the line."""
    buffer = io.BytesIO()
    Image.fromarray(np.array([[255, 0], [255, 255]], dtype=np.uint8)).save(buffer, "PNG")
    text = base64.b64encode(buffer.getvalue()).decode()
    shapes = [
        {"label": "dog", "points": [[1.0, 3.0], [2.0, 4.0]], "shape_type": "mask", "mask": text},
        {"label": "ball", "points": [[6, 2], [6, 3.2]], "shape_type": "circle"},  # centres at 0.71 are in, at 1.58 out
        {"label": "__ignore__", "points": [[0, 5], [8, 6]], "shape_type": "rectangle"},
    ]
    out = tmp_path / "out"
    run(labelme(tmp_path / "in", shapes), out, options=Options(), val=0, background="floor")
    grid = "ffffffff fffffbbf fffffbbf fdffffff fddfffff ........"
    assert_grid(out, samples(out)[0], grid, {"f": "floor", "b": "ball", "d": "dog"})


def test_labels_txt_gives_labelme_the_order_of_categories(tmp_path: Path) -> None:
    root = sources.write_labelme(tmp_path / "in")
    (root / "labels.txt").write_text("__ignore__\n_background_\nsky\ndog\ncar\n")
    run(root, tmp_path / "out")
    assert [c.name for c in PanopticFolder.open(tmp_path / "out", "train").categories] == ["sky", "dog", "car"]


def test_a_photo_on_its_side_is_written_upright_where_labels_are_drawn_upright(tmp_path: Path) -> None:
    """Orientation 6: stored 8 x 6 (height x width), shown 6 x 8, turned clockwise."""
    root = sources.write_labelme(tmp_path / "in")
    stored = np.asarray(Image.open(sources.write_photo(root / "a.png", size=(8, 6), orientation=6)))
    result = run(root, tmp_path / "out")
    assert result["turned"] == 1
    sample = samples(tmp_path / "out")[0]
    assert np.array_equal(sample.image, np.rot90(stored, k=-1))
    assert_grid(tmp_path / "out", sample, sources.GRID)


# CVAT


def cvat(root: Path, shapes: str) -> Path:
    sources.write_photo(root / "images" / "a.png")
    (root / "annotations.xml").write_text(sources.cvat_xml(sources.cvat_image("a.png", shapes)))
    return root


def test_a_higher_z_order_of_cvat_is_on_top_even_if_larger(tmp_path: Path) -> None:
    shapes = (
        '<box label="car" occluded="0" xtl="0" ytl="0" xbr="8" ybr="4" z_order="1"/>'
        '<box label="dog" occluded="0" xtl="2" ytl="2" xbr="4" ybr="6" z_order="0"/>'
        '<tag label="dog" source="manual"/>'
    )
    run(cvat(tmp_path / "in", shapes), tmp_path / "out", val=0)
    grid = "cccccccc cccccccc cccccccc cccccccc ..dd.... ..dd...."
    assert_grid(tmp_path / "out", samples(tmp_path / "out")[0], grid)


def test_cvats_masks_run_along_rows_from_their_corner_and_groups_join(tmp_path: Path) -> None:
    shapes = (
        '<mask label="car" rle="1, 2, 3" left="4" top="2" width="3" height="2" z_order="0" group_id="5"/>'
        '<polygon label="car" points="0,0;2,0;2,1;0,1" z_order="0" group_id="5"/>'
    )
    run(cvat(tmp_path / "in", shapes), tmp_path / "out", val=0)
    grid = "cc...... ........ .....cc. ........ ........ ........"
    assert_grid(tmp_path / "out", samples(tmp_path / "out")[0], grid)


def test_cvats_rotated_boxes_and_ellipses_turn_clockwise(tmp_path: Path) -> None:
    """A quarter turn about the centre (3, 3) makes 4 x 2 into 2 x 4."""
    for shape, grid in (
        (
            '<box label="car" xtl="1" ytl="2" xbr="5" ybr="4" rotation="90.0"/>',
            "........ ..cc.... ..cc.... ..cc.... ..cc.... ........",
        ),
        (
            '<ellipse label="car" cx="3" cy="3" rx="2.5" ry="1" rotation="90.0"/>',
            "........ ..cc.... ..cc.... ..cc.... ..cc.... ........",
        ),
    ):
        name = shape[1:4]
        run(cvat(tmp_path / name, shape), tmp_path / f"{name}-out", val=0)
        assert_grid(tmp_path / f"{name}-out", samples(tmp_path / f"{name}-out")[0], grid)


def test_cvat_brings_colours_and_subsets(tmp_path: Path) -> None:
    images = sources.cvat_image("a.png", attributes='subset="Train"') + sources.cvat_image(
        "b.png", attributes='subset="Validation"'
    )
    sources.write_cvat(tmp_path / "in")
    (tmp_path / "in/annotations.xml").write_text(sources.cvat_xml(images))
    assert run(tmp_path / "in", tmp_path / "out")["images"] == {"train": 1, "val": 1}
    assert PanopticFolder.open(tmp_path / "out", "train").categories[0].color == (0x3D, 0x3D, 0xF5)


# YOLO and pairs


def test_roboflows_yolo_paths_and_photos_without_labels_are_read(tmp_path: Path) -> None:
    """Its data.yaml says ../train/images for train/images."""
    for split in ("train", "valid"):
        sources.write_photo(tmp_path / split / "images" / "a.png")
        (tmp_path / split / "labels").mkdir()
    (tmp_path / "train/labels/a.txt").write_text(sources.yolo_rows())
    yaml = "train: ../train/images\nval: ../valid/images\n\nnc: 3\nnames: ['car', 'dog', 'sky']\n"
    (tmp_path / "data.yaml").write_text(yaml)
    result = run(tmp_path, tmp_path / "out")
    assert result["images"] == {"train": 1, "val": 1}
    assert result["notes"] == ["1 photos have no label file: they show nothing"]
    assert PanopticFolder.open(tmp_path / "out", "val")[0].segments == ()


def test_a_listing_of_photos_is_read(tmp_path: Path) -> None:
    root = sources.write_yolo(tmp_path / "in")
    (root / "train.txt").write_text("./images/train/a.png\nimages/train/b.png\n")
    (root / "data.yaml").write_text("train: train.txt\nnames: [car, dog, sky]\n")
    run(root, tmp_path / "out")
    assert_grid(tmp_path / "out", samples(tmp_path / "out")[0], sources.GRID)


def test_things_without_an_instance_number_are_a_crowd(tmp_path: Path) -> None:
    root = sources.write_pairs(tmp_path / "in")
    path = root / "instance" / "a.png"
    values = np.asarray(Image.open(path)).copy()
    values[values == 300] = 0  # the car's
    Image.fromarray(values).save(path)
    run(root, tmp_path / "out")
    assert_grid(tmp_path / "out", samples(tmp_path / "out")[0], sources.GRID.replace("c", "C"))


def test_instances_in_rgb_and_palette_maps_are_read_as_numbers(tmp_path: Path) -> None:
    root = sources.write_pairs(tmp_path / "in")
    semantic = Image.open(root / "semantic" / "a.png").convert("P")
    semantic.putpalette([9, 9, 9] * 256)
    semantic.putdata(np.asarray(Image.open(root / "semantic" / "b.png")).ravel().tolist())
    semantic.save(root / "semantic" / "a.png")
    ids = np.asarray(Image.open(root / "instance" / "a.png")).astype(int)
    Image.fromarray(np.stack([ids % 256, ids // 256, ids * 0], axis=-1).astype(np.uint8)).save(
        root / "instance" / "a.png"
    )
    run(root, tmp_path / "out")
    assert_grid(tmp_path / "out", samples(tmp_path / "out")[0], sources.GRID)


# Splits and files


def many_yolo(root: Path, names: list[str]) -> Path:
    (root / "labels").mkdir(parents=True)
    for name in names:
        sources.write_photo(root / "images" / f"{name}.png")
        (root / "labels" / f"{name}.txt").write_text(sources.yolo_rows())
    (root / "data.yaml").write_text("train: images\nnames: [car, dog, sky]\n")
    return root


def test_images_keep_their_split_when_others_come(tmp_path: Path) -> None:
    names = [f"{index:03d}" for index in range(40)]
    run(many_yolo(tmp_path / "a", names[:25]), tmp_path / "out-a", val=0.3)
    run(many_yolo(tmp_path / "b", names), tmp_path / "out-b", val=0.3)
    val = [{path.stem for path in (tmp_path / out / "val").iterdir()} for out in ("out-a", "out-b")]
    assert 0 < len(val[0]) < 25
    assert val[0] == {name for name in val[1] if int(name) < 25}


def test_images_of_one_group_stay_together(tmp_path: Path) -> None:
    names = [f"street{street}_{frame}" for street in range(8) for frame in range(3)]
    run(many_yolo(tmp_path / "in", names), tmp_path / "out", val=0.4, by=r"(street\d+)_")
    streets = [{path.stem[:7] for path in (tmp_path / "out" / split).iterdir()} for split in ("train", "val")]
    assert streets[0].isdisjoint(streets[1])
    assert len(streets[0] | streets[1]) == 8


def test_without_validation_all_is_for_training(tmp_path: Path) -> None:
    assert run(sources.write_yolo(tmp_path / "in"), tmp_path / "out", val=0)["images"] == {"train": 2}


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    source = many_yolo(tmp_path / "in", [f"{index:03d}" for index in range(40)])
    for workers in (0, 2):
        run(source, tmp_path / str(workers), num_workers=workers)
    files = [path.relative_to(tmp_path / "0") for path in sorted((tmp_path / "0").rglob("*")) if path.is_file()]
    assert len(files) == 82
    assert files == [path.relative_to(tmp_path / "2") for path in sorted((tmp_path / "2").rglob("*")) if path.is_file()]
    assert all((tmp_path / "0" / file).read_bytes() == (tmp_path / "2" / file).read_bytes() for file in files)


def test_street_scenes_come_back_equal_from_instances_over_stuff_maps(tmp_path: Path) -> None:
    """Things as compressed run lengths in an instances JSON, stuff as a map below."""
    scenes = [render_street(0, index, size=(64, 96)) for index in range(4)]
    things = {category.id for category in STREET_CATEGORIES if category.is_thing}
    images, annotations = [], []
    (tmp_path / "in/stuff/val").mkdir(parents=True)
    (tmp_path / "in/val").mkdir()
    for scene in scenes:
        stuff = np.zeros((64, 96), dtype=np.uint8)
        for segment in scene.segments:
            mask = scene.panoptic_map == segment.id
            if segment.category_id in things:
                rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
                row = {"image_id": scene.image_id, "category_id": segment.category_id, "iscrowd": int(segment.is_crowd)}
                runs = {"size": [64, 96], "counts": rle["counts"].decode()}
                annotations.append({"id": len(annotations), **row, "segmentation": runs})
            else:
                stuff[mask] = segment.category_id
        Image.fromarray(stuff).save((tmp_path / "in/stuff/val" / scene.file_name).with_suffix(".png"))
        Image.fromarray(scene.image).save(tmp_path / "in/val" / scene.file_name)
        images.append({"id": scene.image_id, "file_name": scene.file_name, "height": 64, "width": 96})
    listed = [{"id": c.id, "name": c.name} for c in STREET_CATEGORIES if c.is_thing]
    document = {"images": images, "annotations": annotations, "categories": listed}
    sources.write_json(tmp_path / "in/annotations/instances_val.json", document)
    names = "".join(f"{c.id}: {c.name}\n" for c in STREET_CATEGORIES if not c.is_thing)
    (tmp_path / "in/labels.txt").write_text(names)
    run(tmp_path / "in", tmp_path / "out", options=Options())
    for scene, sample in zip(scenes, samples(tmp_path / "out"), strict=True):
        pairs = np.unique(np.stack([scene.panoptic_map.ravel(), sample.panoptic_map.ravel()]), axis=1).T.tolist()
        new_id = dict(pairs)
        assert len(new_id) == len(pairs) == len(set(new_id.values()))  # one to one
        expected = sorted((new_id[s.id], s.category_id, s.area, s.bbox, s.is_crowd) for s in scene.segments)
        assert sorted((s.id, s.category_id, s.area, s.bbox, s.is_crowd) for s in sample.segments) == expected
