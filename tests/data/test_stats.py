"""Counts of a data set, and quantiles of a stream."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgeseg.data.sketch import ACCURACY, Sketch
from edgeseg.data.stats import measure, open_splits
from edgeseg.structures import InputError


def make_folder(root: Path, split: str = "train", *, name: str = "car") -> Path:
    """Two images: 4 x 6 with road 12, a car of 4, a crowd of cars of 2, void 6; and 10 x 2 of road."""
    maps = {"a": "rrrrrr rrrrrr cccc.. CC....", "b": "rr " * 10}
    values = {"r": 7, "c": 70_000, "C": 300, ".": 0}
    rows = {"a": [(7, 21, 0), (70_000, 3, 0), (300, 3, 1)], "b": [(7, 21, 0)]}
    (root / split).mkdir(parents=True)
    (root / "annotations" / f"panoptic_{split}").mkdir(parents=True)
    images, annotations = [], []
    for image_id, (stem, grid) in enumerate(maps.items(), start=1):
        ids = np.array([[values[c] for c in line] for line in grid.split()])
        height, width = ids.shape
        rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
        Image.fromarray(rgb).save(root / "annotations" / f"panoptic_{split}" / f"{stem}.png")
        Image.new("RGB", (width, height)).save(root / split / f"{stem}.png")
        images.append({"id": image_id, "file_name": f"{stem}.png", "height": height, "width": width})
        segments = [{"id": i, "category_id": c, "iscrowd": crowd} for i, c, crowd in rows[stem]]
        annotations.append({"image_id": image_id, "file_name": f"{stem}.png", "segments_info": segments})
    categories = [
        {"id": 3, "name": name, "isthing": 1},
        {"id": 21, "name": "road", "isthing": 0},
        {"id": 22, "name": "sky", "isthing": 0},
    ]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations" / f"panoptic_{split}.json").write_text(json.dumps(document))
    return root


@pytest.mark.parametrize("num_workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_counts_are_those_of_the_drawing(num_workers: int, tmp_path: Path) -> None:
    dataset = open_splits(make_folder(tmp_path))["train"]
    result = measure(dataset, num_workers=num_workers)
    assert (result["images"], result["segments"], result["crowds"]) == (2, 4, 1)
    assert result["void_share"] == 6 / 44
    assert (result["height"]["min"], result["height"]["max"], result["width"]["min"]) == (4, 10, 2)
    assert (result["segments_per_image"]["mean"], result["segments_per_image"]["max"]) == (2, 3)
    assert result["void_share_per_image"]["max"] == 6 / 24
    car, road, sky = (result["per_category"][key] for key in ("3", "21", "22"))
    assert (car["images"], car["segments"], car["crowds"], car["pixel_share"]) == (1, 2, 1, 6 / 44)
    assert (car["area"]["min"], car["area"]["max"], car["area"]["mean"]) == (2, 4, 3)
    assert (road["images"], road["segments"], road["pixel_share"], road["is_thing"]) == (2, 2, 32 / 44, False)
    assert (sky["images"], sky["pixel_share"], sky["area"]["p50"]) == (0, 0, None)


def test_all_splits_are_opened_unless_some_are_named(tmp_path: Path) -> None:
    for split in ("train", "val2017", "test"):
        make_folder(tmp_path, split)
    assert list(open_splits(tmp_path)) == ["test", "train", "val2017"]
    assert list(open_splits(tmp_path, ["val"])) == ["val"]


def test_splits_of_other_categories_are_refused(tmp_path: Path) -> None:
    make_folder(tmp_path, "train")
    make_folder(tmp_path, "val", name="bus")
    with pytest.raises(InputError, match="splits train and val have other categories"):
        open_splits(tmp_path)


VALUES = st.one_of(st.integers(0, 10**9), st.floats(0, 1e9, allow_subnormal=False))


@given(st.lists(VALUES, min_size=1, max_size=60), st.floats(0, 1))
def test_a_quantile_is_the_value_of_its_rank_within_a_hundredth(values: list[float], q: float) -> None:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    exact = sorted(values)[math.floor(q * (len(values) - 1))]
    found = sketch.quantile(q)
    assert found is not None
    assert abs(found - exact) <= ACCURACY * exact * (1 + 1e-9)
    assert (sketch.smallest, sketch.largest, sketch.count) == (min(values), max(values), len(values))


@given(st.lists(st.integers(0, 4096), min_size=1, max_size=60), st.floats(0, 1))
def test_quantiles_of_small_whole_numbers_are_exact(values: list[int], q: float) -> None:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    assert sketch.quantile(q) == sorted(values)[math.floor(q * (len(values) - 1))]


def test_a_million_areas_need_few_buckets() -> None:
    sketch = Sketch()
    for value in np.random.default_rng(0).integers(1, 640 * 480, 1_000_000).tolist():
        sketch.add(value)
    assert len(sketch.buckets) < 5_000
