"""Panoptic quality against panopticapi's numbers, hand-made cases and a plain loop."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from edgeseg.metrics.folder import PredictedFolder
from edgeseg.metrics.overlap import Comparison
from edgeseg.metrics.panoptic_quality import PanopticQuality, PQResult
from edgeseg.structures import Category, InputError, Segment

FIXTURE = Path(__file__).parents[1] / "fixtures" / "coco_sample"
EXPECTED: dict[str, Any] = json.loads((FIXTURE / "expected.json").read_text())["results"]

CAR, DOG, ROAD = (
    Category(3, "car", True, (1, 1, 1)),
    Category(8, "dog", True, (2, 2, 2)),
    Category(21, "road", False, (3, 3, 3)),
)
CATEGORIES = (CAR, DOG, ROAD)


def table(categories: dict[int, int], crowds: Sequence[int] = ()) -> tuple[Segment, ...]:
    """Segments from category id by segment id; the metric reads no area or box."""
    return tuple(Segment(id_, category, 0, (0, 0, 0, 0), id_ in crowds) for id_, category in categories.items())


def line(*runs: tuple[int, int]) -> NDArray[np.int32]:
    """A map of one row from (id, length) runs."""
    return np.repeat([id_ for id_, _ in runs], [n for _, n in runs]).astype(np.int32)[None]


def quality(
    gt: NDArray[np.int32], gt_table: Sequence[Segment], pred: NDArray[np.int32], pred_table: Sequence[Segment]
) -> PQResult:
    metric = PanopticQuality(CATEGORIES)
    metric.update(pred, pred_table, gt, gt_table)
    return metric.compute()


def sums(result: PQResult, category: Category) -> tuple[float, int, int, int]:
    row = next(row for row in result.per_category if row.category == category)
    return row.iou_sum, row.tp, row.fp, row.fn


@pytest.mark.parametrize("name", EXPECTED)
def test_coco_sample_equals_panopticapi(name: str) -> None:
    """expected.json was made by panopticapi at 7bb4655."""
    predictions = FIXTURE / "predictions"
    folder = PredictedFolder.open(
        predictions / f"{name}.json",
        predictions / name,
        FIXTURE / "panoptic_examples.json",
        FIXTURE / "panoptic_examples",
    )
    result = folder.evaluate().to_dict()
    for group in ("All", "Things", "Stuff"):
        assert result[group.lower()] == pytest.approx(EXPECTED[name][group], abs=1e-9), group
    counted: dict[str, Any] = {
        key: {"iou": row["iou_sum"], "tp": row["tp"], "fp": row["fp"], "fn": row["fn"]}
        for key, row in result["per_category"].items()
        if isinstance(row, dict) and row["tp"] + row["fp"] + row["fn"]
    }
    assert counted.keys() == EXPECTED[name]["per_class"].keys()
    for key, row in EXPECTED[name]["per_class"].items():
        assert counted[key] == pytest.approx(row, abs=1e-9), key


def test_iou_of_exactly_one_half_is_no_match() -> None:
    result = quality(line((1, 2), (5, 2)), table({1: 3, 5: 21}), line((2, 1), (6, 3)), table({2: 3, 6: 21}))
    assert sums(result, CAR) == (0.0, 0, 1, 1)  # 1 of 2 pixels
    assert sums(result, ROAD) == (pytest.approx(2 / 3), 1, 0, 0)


def test_void_is_left_out_of_the_union() -> None:
    result = quality(line((1, 4), (0, 6)), table({1: 3}), line((2, 10)), table({2: 3}))
    assert sums(result, CAR) == (1.0, 1, 0, 0)


def test_prediction_more_than_half_on_void_is_no_false_positive() -> None:
    assert sums(quality(line((0, 6), (5, 4)), table({5: 21}), line((2, 10)), table({2: 3})), CAR) == (0.0, 0, 0, 0)
    assert sums(quality(line((0, 5), (5, 5)), table({5: 21}), line((2, 10)), table({2: 3})), CAR) == (0.0, 0, 1, 0)


def test_crowd_segment_is_neither_missed_nor_a_false_positive() -> None:
    gt, gt_table = line((1, 8), (5, 2)), table({1: 3, 5: 21}, crowds=[1])
    result = quality(gt, gt_table, line((2, 4), (3, 4), (6, 2)), table({2: 3, 3: 8, 6: 21}))
    assert sums(result, CAR) == (0.0, 0, 0, 0)
    assert sums(result, DOG) == (0.0, 0, 1, 0)  # a crowd excuses its own category only


def test_void_and_crowd_add_up() -> None:
    gt, gt_table = line((0, 3), (1, 3), (5, 4)), table({1: 3, 5: 21}, crowds=[1])
    assert sums(quality(gt, gt_table, line((2, 10)), table({2: 3})), CAR) == (0.0, 0, 0, 0)


def test_of_two_crowds_of_a_category_the_last_counts() -> None:
    gt = line((1, 4), (2, 4))
    pred, pred_table = line((7, 4), (0, 4)), table({7: 3})
    assert sums(quality(gt, table({1: 3, 2: 3}, crowds=[1, 2]), pred, pred_table), CAR) == (0.0, 0, 1, 0)
    assert sums(quality(gt, table({2: 3, 1: 3}, crowds=[1, 2]), pred, pred_table), CAR) == (0.0, 0, 0, 0)


def test_category_that_never_occurs_is_not_in_the_mean() -> None:
    result = quality(line((1, 4)), table({1: 3}), line((2, 4)), table({2: 3}))
    assert (result.all.pq, result.all.n, result.things.n, result.stuff.n) == (1.0, 1, 1, 0)
    assert result.stuff.pq == 0.0


def test_result_as_plain_values() -> None:
    values = quality(line((1, 4)), table({1: 3}), line((2, 3), (0, 1)), table({2: 3})).to_dict()
    assert values["all"] == {"pq": 0.75, "sq": 0.75, "rq": 1.0, "n": 1}
    assert values["per_category"]["3"] == {
        "name": "car", "pq": 0.75, "sq": 0.75, "rq": 1.0, "iou_sum": 0.75, "tp": 1, "fp": 0, "fn": 0,
    }  # fmt: skip
    assert json.loads(json.dumps(values)) == values


MAP = st.lists(st.lists(st.integers(0, 5), min_size=7, max_size=7), min_size=5, max_size=5).map(
    lambda rows: np.array(rows, dtype=np.int32)
)
CATEGORY_IDS = st.lists(st.sampled_from([3, 8, 21]), min_size=5, max_size=5)


@settings(max_examples=300, deadline=None)
@given(MAP, MAP, CATEGORY_IDS, CATEGORY_IDS, st.sets(st.integers(1, 5)), st.integers(0, 2**32 - 1))
def test_random_maps_equal_a_plain_loop(
    gt: NDArray[np.int32],
    pred: NDArray[np.int32],
    gt_categories: list[int],
    pred_categories: list[int],
    crowds: set[int],
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    # Half of the pixels agree, so that there is something to match; the tables' order is shuffled.
    pred = np.where(rng.random(gt.shape) < 0.5, gt, pred)
    gt_ids, pred_ids = (rng.permutation(np.unique(m[m > 0])).tolist() for m in (gt, pred))
    gt_table = table({id_: gt_categories[id_ - 1] for id_ in gt_ids}, crowds=sorted(crowds))
    pred_table = table({id_: (gt_categories if seed % 2 else pred_categories)[id_ - 1] for id_ in pred_ids})
    result = quality(gt, gt_table, pred, pred_table)
    for category in CATEGORIES:
        assert sums(result, category) == pytest.approx(
            plain_sums(gt, gt_table, pred, pred_table, category.id), abs=1e-12
        )


def plain_sums(
    gt: NDArray[np.int32],
    gt_table: Sequence[Segment],
    pred: NDArray[np.int32],
    pred_table: Sequence[Segment],
    category: int,
) -> tuple[float, int, int, int]:
    """The definition, one mask at a time."""
    truths = [s for s in gt_table if s.category_id == category and not s.is_crowd]
    guesses = [s for s in pred_table if s.category_id == category]
    crowd = np.zeros(gt.shape, dtype=bool)
    for segment in gt_table:
        if segment.category_id == category and segment.is_crowd:
            crowd = gt == segment.id
    iou_sum, hit_truths, hit_guesses = 0.0, set(), set()
    for truth in truths:
        for guess in guesses:
            t, g = gt == truth.id, pred == guess.id
            iou = (t & g).sum() / ((t | g) & ~(g & (gt == 0))).sum()
            if iou > 0.5:
                iou_sum += iou
                hit_truths.add(truth.id)
                hit_guesses.add(guess.id)
    fp = 0
    for guess in guesses:
        g = pred == guess.id
        if guess.id not in hit_guesses and (g & ((gt == 0) | crowd)).sum() / g.sum() <= 0.5:
            fp += 1
    return iou_sum, len(hit_truths), fp, len(truths) - len(hit_truths)


def test_parts_add_up_to_the_whole() -> None:
    first = line((1, 2), (5, 2)), table({1: 3, 5: 21}), line((2, 1), (6, 3)), table({2: 3, 6: 21})
    second = line((1, 4)), table({1: 3}), line((2, 3), (0, 1)), table({2: 3})
    whole, parts = PanopticQuality(CATEGORIES), [PanopticQuality(CATEGORIES), PanopticQuality(CATEGORIES)]
    for part, (gt, gt_table, pred, pred_table) in zip(parts, (first, second), strict=True):
        whole.update(pred, pred_table, gt, gt_table)
        part.update(pred, pred_table, gt, gt_table)
    assert (parts[0] + parts[1]).compute() == whole.compute()


@pytest.mark.parametrize(
    ("pred", "pred_table", "message"),
    [
        (line((2, 4)), table({2: 99}), "category_id 99"),
        (line((2, 4)), table({}), "prediction map holds segment 2"),
        (line((2, 3), (2 + 65536, 1)), table({2: 3}), "prediction map holds segment 65538"),
        (line((2, 4)), table({2: 3, 9: 3}), "prediction table lists segment 9"),
        (line((2, 5)), table({2: 3}), "must agree"),
        (line((2, 4)), (*table({2: 3}), *table({2: 3})), "two segments of one id"),
    ],
)
def test_bad_prediction_is_refused(pred: NDArray[np.int32], pred_table: Sequence[Segment], message: str) -> None:
    with pytest.raises(InputError, match=message):
        quality(line((1, 4)), table({1: 3}), pred, pred_table)


def test_segments_whose_ids_differ_in_the_third_byte_only_stay_apart() -> None:
    ids = [5, 5 + 65536, 5 + 2 * 65536]
    pred = line(*((id_, 10) for id_ in ids))
    result = quality(line((9, 10), (8, 10), (7, 10)), table({9: 3, 8: 8, 7: 3}), pred, table(dict.fromkeys(ids, 3)))
    assert (result.per_category[0].tp, result.per_category[0].fp, result.per_category[0].iou_sum) == (2, 1, 2.0)
    assert (result.per_category[1].tp, result.per_category[1].fn) == (0, 1)


def test_comparison_does_not_remember_the_segments_of_the_image_before() -> None:
    """Segments 5 and 65541 share what the comparison looks rows up by."""
    comparison, metric = Comparison(CATEGORIES), PanopticQuality(CATEGORIES)
    for pred_id in (5, 5 + 65536):
        table_of_one = table({pred_id: 3})
        metric.add(comparison.compare(line((pred_id, 4)), table_of_one, line((1, 4)), table({1: 3})))
    assert metric.compute().per_category[0].tp == 2
    with pytest.raises(InputError, match="prediction map holds segment 5, "):
        comparison.compare(line((5, 4)), table({6: 3}), line((1, 4)), table({1: 3}))


@pytest.mark.parametrize("metrics", [(), ("boundary_pq",)], ids=["opaque", "clean"])
def test_id_that_a_folders_json_lacks_is_named_as_it_is(metrics: tuple[str, ...], tmp_path: Path) -> None:
    document = json.loads((FIXTURE / "predictions" / "shift.json").read_text())
    dropped = document["annotations"][0]["segments_info"].pop()
    (tmp_path / "shift.json").write_text(json.dumps(document))
    folder = PredictedFolder.open(
        tmp_path / "shift.json", FIXTURE / "predictions" / "shift",
        FIXTURE / "panoptic_examples.json", FIXTURE / "panoptic_examples",
    )  # fmt: skip
    with pytest.raises(InputError, match=f"prediction map holds segment {dropped['id']}, "):
        folder.evaluate(metrics)


@pytest.mark.parametrize("side", ["pred", "gt"])
def test_folders_must_list_the_same_images(side: str, tmp_path: Path) -> None:
    paths = {"pred": FIXTURE / "predictions" / "shift.json", "gt": FIXTURE / "panoptic_examples.json"}
    document = json.loads(paths[side].read_text())
    document["annotations"].pop()
    paths[side] = tmp_path / f"{side}.json"
    paths[side].write_text(json.dumps(document))
    with pytest.raises(InputError, match=rf"{side}\.json has no annotation of image_id 439180 \(1 missing\)"):
        PredictedFolder.open(
            paths["pred"], FIXTURE / "predictions" / "shift", paths["gt"], FIXTURE / "panoptic_examples"
        )


def test_prediction_png_of_another_size_is_named(tmp_path: Path) -> None:
    shutil.copytree(FIXTURE / "predictions" / "shift", tmp_path / "shift")
    path = tmp_path / "shift" / "000000142238.png"
    with Image.open(path) as picture:
        picture.resize((1280, 854), Image.Resampling.NEAREST).save(path)
    with pytest.raises(InputError, match=r"000000142238\.png is 854 x 1280 .* ground truth 427 x 640"):
        PredictedFolder.open(
            FIXTURE / "predictions" / "shift.json", tmp_path / "shift",
            FIXTURE / "panoptic_examples.json", FIXTURE / "panoptic_examples",
        ).evaluate()  # fmt: skip
