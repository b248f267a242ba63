"""All metrics together: parts add up, processes don't matter, the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseg.cli import main
from edgeseg.metrics.evaluation import METRICS, Evaluation, metric_names
from edgeseg.metrics.folder import PredictedFolder
from edgeseg.structures import InputError
from tests.metrics.scenes import CATEGORIES, Scene, scenes

FIXTURE = Path(__file__).parents[1] / "fixtures" / "coco_sample"


def numbers(values: Any, path: str = "") -> dict[str, float]:
    """Leaves of a result by their path, so that approx can compare them."""
    if isinstance(values, dict):
        return {key: leaf for name, value in values.items() for key, leaf in numbers(value, f"{path}/{name}").items()}
    if isinstance(values, list):
        return numbers(dict(enumerate(values)), path)
    return {path: values} if isinstance(values, int | float) else {f"{path}/{values}": 0}


@settings(max_examples=40, deadline=None)
@given(st.lists(scenes(), min_size=1, max_size=6), st.lists(st.integers(0, 2), min_size=6, max_size=6))
def test_the_sums_of_any_partition_add_up_to_those_of_all_images(images: list[Scene], part_of: list[int]) -> None:
    """1e-12 is what the order of float additions may change."""
    whole, parts = Evaluation(CATEGORIES, list(METRICS)), [Evaluation(CATEGORIES, list(METRICS)) for _ in range(3)]
    for number, scene in enumerate(images):
        pair = Scene(scene.gt, scene.gt_table, scene.pred, scene.pred_table, image_id=number).pair()
        whole.add(pair)
        parts[part_of[number]].add(pair)
    together = (parts[2] + parts[0]) + parts[1]
    assert numbers(together.to_dict()) == pytest.approx(numbers(whole.to_dict()), abs=1e-12, rel=0)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> PredictedFolder:
    """The fixture's two images 17 times under other ids, more than travel together, with scores."""
    folder = tmp_path_factory.mktemp("scored")
    paths = {}
    for side, source in (("pred", FIXTURE / "predictions" / "mixed"), ("gt", FIXTURE / "panoptic_examples")):
        document = json.loads(source.with_suffix(".json").read_text())
        for row in document["annotations"]:
            for number, segment in enumerate(row["segments_info"]):
                segment |= {"score": 1 / (number + 1)} if side == "pred" else {}
        document["annotations"] = [
            {**row, "image_id": row["image_id"] * 100 + copy} for copy in range(17) for row in document["annotations"]
        ]
        document["images"] = []
        paths[side] = folder / f"{side}.json"
        paths[side].write_text(json.dumps(document))
        shutil.copytree(source, folder / side)
    return PredictedFolder.open(paths["pred"], folder / "pred", paths["gt"], folder / "gt")


def test_two_processes_give_the_bits_of_one(scored: PredictedFolder) -> None:
    names = list(METRICS)
    done: list[int] = []
    alone = scored.evaluate(names, on_progress=done.append).to_dict()
    assert sum(done) == len(scored) == 34
    assert json.dumps(scored.evaluate(names, num_workers=2).to_dict()) == json.dumps(alone)


def test_a_bad_image_is_named_from_another_process(scored: PredictedFolder, tmp_path: Path) -> None:
    shutil.copytree(scored.pred_folder, tmp_path / "pred")
    path = tmp_path / "pred" / "000000142238.png"
    path.write_bytes(path.read_bytes()[:-20])
    folder = PredictedFolder(scored.truth, scored.prediction, scored.pred_json, tmp_path / "pred", scored.gt_folder)
    with pytest.raises(InputError, match=r"000000142238\.png cannot be decoded"):
        folder.evaluate(num_workers=1)


def test_a_map_that_does_not_go_with_its_table_is_named(scored: PredictedFolder, tmp_path: Path) -> None:
    shutil.copytree(scored.gt_folder, tmp_path / "pred")  # the truth's maps under the prediction's tables
    folder = PredictedFolder(scored.truth, scored.prediction, scored.pred_json, tmp_path / "pred", scored.gt_folder)
    with pytest.raises(InputError, match=r"image \d+ \(.*000000\d+\.png.*\): prediction map holds segment"):
        folder.evaluate()


def test_average_precision_needs_scores() -> None:
    folder = PredictedFolder.open(
        FIXTURE / "predictions/mixed.json", FIXTURE / "predictions/mixed",
        FIXTURE / "panoptic_examples.json", FIXTURE / "panoptic_examples",
    )  # fmt: skip
    with pytest.raises(InputError, match="has no scores, by which AP ranks"):
        folder.evaluate(["ap"])


@pytest.mark.parametrize("score", [-0.1, 1.5, "high", None, True])
def test_a_score_is_a_number_in_0_to_1(score: object, scored: PredictedFolder, tmp_path: Path) -> None:
    document = json.loads(scored.pred_json.read_text())
    document["annotations"][0]["segments_info"][0]["score"] = score
    path = tmp_path / "pred.json"
    path.write_text(json.dumps(document))
    folder = PredictedFolder(scored.truth, scored.prediction, path, scored.pred_folder, scored.gt_folder)
    with pytest.raises(InputError, match=r"pred\.json: segment \d+ of image \d+ has score"):
        folder.evaluate(["ap"])


def test_names_come_apart_or_joined_and_a_misspelt_one_gives_the_nearest() -> None:
    assert metric_names(["pq,pc", "miou"]) == ("pq", "pc", "miou")
    with pytest.raises(InputError, match=r"no metric 'miuo' .*did you mean 'miou'"):
        metric_names(["miuo"])


def test_every_metric_stands_under_its_name_beside_pq(
    scored: PredictedFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    gt = scored.gt_folder.with_suffix(".json")
    arguments = ["eval", "--pred", str(scored.pred_json), "--gt", str(gt), "--json", "--quiet"]
    assert main(arguments) == 0
    plain = json.loads(capsys.readouterr().out)
    assert set(plain) == {"all", "things", "stuff", "per_category"}
    assert main([*arguments, "--metrics", ",".join(METRICS)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {key: result.pop(key) for key in plain} == plain
    assert set(result) == set(METRICS) - {"pq"}


def test_all_metrics_have_lines_for_people(scored: PredictedFolder, capsys: pytest.CaptureFixture[str]) -> None:
    gt = scored.gt_folder.with_suffix(".json")
    arguments = ["eval", "--pred", str(scored.pred_json), "--gt", str(gt), "--quiet", "--metrics", *METRICS]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    for words in (
        "small segments",
        "Parsing Covering",
        "mIoU",
        "mask AP",
        "by boundaries",
        "taken for",
        "worst images",
    ):
        assert words in out
