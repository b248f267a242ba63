"""The command line: one document on standard output, one line of error, exit codes 0, 1 and 2."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeseg.cli import main
from edgeseg.config import config_to_dict
from edgeseg.data.coco_panoptic import PanopticFolder
from edgeseg.data.street import make_street
from tests.engine.conftest import tiny

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls the command line; gives exit code, standard output, standard error."""

    def call(*argv: object) -> tuple[int, str, str]:
        try:
            code = main([str(word) for word in argv])
        except SystemExit as exit_:  # the argument parser's own errors and --help
            code = int(exit_.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data folder and a run that was trained on it for two steps."""
    folder = tmp_path_factory.mktemp("cli")
    make_street(folder / "street", train=8, val=3, size=(64, 64), seed=0)
    toml = ["[data]", "image_size = [64, 64]", "batch_size = 4", "num_workers = 0", "[train]", "steps = 2", "[model]"]
    for key, value in config_to_dict(tiny().model).items():
        toml.append(f"{key} = {json.dumps(value)}")
    (folder / "tiny.toml").write_text("\n".join(toml))
    arguments = [
        "train",
        str(folder / "tiny.toml"),
        "--data.root",
        str(folder / "street"),
        "--out",
        str(folder / "run"),
    ]
    assert main([*arguments, "--quiet"]) == 0
    return folder / "street", folder / "run"


def test_no_verb_prints_the_verbs_and_exits_with_2(run: Run) -> None:
    code, out, _ = run()
    assert code == 2
    assert all(
        verb in out for verb in ("quickstart", "train", "eval", "predict", "quantize", "export", "verify", "bench")
    )


@pytest.mark.parametrize(
    "verb",
    [
        "quickstart",
        "train",
        "eval",
        "predict",
        "quantize",
        "export",
        "inspect",
        "verify",
        "bench",
        "devices",
        "models",
        "app",
        "coverage",
    ],
)
def test_every_verb_explains_itself(verb: str, run: Run) -> None:
    code, out, _ = run(verb, "--help")
    assert code == 0
    assert "--json" in out


def test_a_misspelt_verb_gives_the_nearest_and_exits_with_2(run: Run) -> None:
    assert run("trian") == (2, "", run("trian")[2])
    assert "did you mean 'train'" in run("trian")[2]


def test_a_misspelt_option_gives_the_nearest_and_exits_with_2(run: Run) -> None:
    code, out, err = run("train", "street", "--data.rot", "x")
    assert (code, out) == (2, "")
    assert "did you mean --data.root?" in err
    assert err.count("\n") == 1


def test_a_switch_with_a_value_is_told_how_a_switch_is_spelt(run: Run) -> None:
    code, out, err = run("train", "street", "--loss.remask", "False")
    assert (code, out) == (2, "")
    assert "a switch takes no value: --loss.remask or --loss.no-remask" in err


def test_eval_prints_one_json_document_with_the_documented_keys(trained: tuple[Path, Path], run: Run) -> None:
    _, checkpoint = trained
    code, out, _ = run("eval", checkpoint, "--json")
    assert code == 0
    result = json.loads(out)
    assert set(result) == {"all", "things", "stuff", "per_category", "segments_beyond_slots"}
    assert set(result["all"]) == {"pq", "sq", "rq", "n"}
    assert 0 <= result["all"]["pq"] <= 1


def test_eval_of_a_network_gives_every_metric_that_is_asked_for(trained: tuple[Path, Path], run: Run) -> None:
    code, out, _ = run("eval", trained[1], "--metrics", "ap,miou", "worst", "--json")
    assert code == 0
    result = json.loads(out)
    assert set(result) == {"all", "things", "stuff", "per_category", "ap", "miou", "worst", "segments_beyond_slots"}
    assert len(result["worst"]["images"]) == 3  # the split


def test_one_network_answers_three_tasks_each_with_its_own_measure(
    trained: tuple[Path, Path], run: Run, tmp_path: Path
) -> None:
    for task, measure in (("instance", "ap"), ("semantic", "miou")):
        code, out, _ = run("eval", trained[1], "--task", task, "--json")
        assert code == 0
        result = json.loads(out)
        assert set(result) == {"task", measure, "segments_beyond_slots"}
        assert 0 <= result[measure][measure] <= 1
        assert run("eval", trained[1], "--task", task)[1].strip().startswith(("mask AP", "mIoU"))
    photo = next((trained[0] / "val").iterdir())
    assert run("predict", trained[1], photo, "--task", "semantic", "--out", tmp_path)[0] == 0
    rows = json.loads((tmp_path / "panoptic.json").read_text())["annotations"][0]["segments_info"]
    categories = [row["category_id"] for row in rows]
    assert len(set(categories)) == len(categories)  # one segment for each
    assert sum(row["area"] for row in rows) == 64 * 64  # nothing is void


def test_the_truth_scored_against_itself_is_1(trained: tuple[Path, Path], run: Run) -> None:
    """Crowds have no match by the rules, so scenes without any: the truth's own JSON on both sides, crowds dropped."""
    truth = trained[0] / "annotations/panoptic_val.json"
    code, out, _ = run("eval", "--pred", truth, "--gt", truth, "--json")
    assert code == 0
    assert json.loads(out)["stuff"]["pq"] == 1.0


def test_predict_writes_overlays_and_a_readable_panoptic_folder(
    trained: tuple[Path, Path], run: Run, tmp_path: Path
) -> None:
    """Photos of any size: a wide, a tall and a small one."""
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for name, shape in (("wide.jpg", (50, 200, 3)), ("tall.png", (150, 40, 3)), ("small.png", (9, 7, 3))):
        Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(tmp_path / "photos" / name)
    out = tmp_path / "out"
    code, stdout, _ = run("predict", trained[1], tmp_path / "photos", "--out", out, "--json")
    assert code == 0
    result = json.loads(stdout)
    assert len(result["images"]) == 3
    assert {path.stem for path in (out / "overlays").iterdir()} == {"wide", "tall", "small"}
    document = json.loads((out / "panoptic.json").read_text())
    sizes = {image["file_name"]: (image["height"], image["width"]) for image in document["images"]}
    assert sizes == {"wide.jpg": (50, 200), "tall.png": (150, 40), "small.png": (9, 7)}
    for annotation in document["annotations"]:
        with Image.open(out / "panoptic" / annotation["file_name"]) as png:
            rgb = np.asarray(png).astype(int)
        found = set(np.unique(rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2])) - {0}
        assert found == {segment["id"] for segment in annotation["segments_info"]}


def test_a_photo_that_lies_on_its_side_is_turned_as_its_camera_says(
    trained: tuple[Path, Path], run: Run, tmp_path: Path
) -> None:
    """EXIF orientation 6: a phone held upright stores 40 x 60 and means 60 x 40."""
    picture = Image.fromarray(np.zeros((40, 60, 3), dtype=np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "phone.jpg", exif=exif)
    assert run("predict", trained[1], tmp_path / "phone.jpg", "--out", tmp_path / "out")[0] == 0
    image = json.loads((tmp_path / "out/panoptic.json").read_text())["images"][0]
    assert (image["height"], image["width"]) == (60, 40)


@pytest.mark.parametrize(
    "argv, message",
    [
        (("train", "street"), "needs a COCO panoptic folder"),
        (("train", "street", "--data.root", "nowhere"), "nowhere does not exist"),
        (("eval",), "eval takes a checkpoint or bundle"),
        (("eval", "nowhere"), "nowhere does not exist"),
        (("eval", "{run}", "--data", "{empty}"), "panoptic_val.json"),
        (("eval", "{run}", "--precision", "int9"), "int9"),
        (("eval", "{run}", "--runtime", "onnx"), "goes with a bundle"),
        (("eval", "{run}", "--task", "semantic", "--metrics", "ap"), "has its own measure (miou)"),
        (("eval", "{run}", "--metrics", "pq,miuo"), "did you mean 'miou'"),
        (("eval", "{run}", "--num-workers", "2"), "goes with --pred"),
        (("predict", "{run}", "nothing*.jpg"), "matches nothing"),
        (("predict", "{run}", "{empty}"), "holds no images"),
        (("quantize", "{run}", "--recipe", "int88"), "did you mean 'int8'"),
        (("export", "{run}", "--only", "onxx"), "no runtime named 'onxx' (did you mean 'onnx'?)"),
        (("export", "{run}", "--precision", "float32,flaot16"), "no precision 'flaot16'"),
        (("export", "{run}", "--precision", "int8"), "edgeseg quantize {run} --recipe int8"),
        (("export", "{run}", "--merge", "grpah"), "did you mean 'graph'"),
        (("export", "{run}", "--size", "dynamic"), "one fixed shape"),
        (("export", "{run}", "--size", "1,3,-1,-1"), "one fixed shape"),
        (("export", "{run}", "--size", "100", "100"), "each a multiple of 32"),
        (("export", "{run}", "--batch", "8"), "one fixed shape"),
        (("inspect", "{run}"), "not a bundle"),
        (("verify", "{run}"), "not a bundle"),
        (("bench", "{run}"), "not a bundle"),
        (("data", "make", "street", "--out", "{run}"), "{run}"),
        (("train", "{run}/../tiny.toml", "--data.root", "{data}", "--out", "{run}"), "--resume"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    argv: tuple[str, ...], message: str, trained: tuple[Path, Path], run: Run, tmp_path: Path
) -> None:
    def fill(word: str) -> str:
        return word.format(run=trained[1], data=trained[0], empty=tmp_path)

    before = sorted(path.name for path in trained[1].iterdir())
    code, out, err = run(*(fill(word) for word in argv))
    assert code == 2
    assert out == ""
    assert fill(message) in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in trained[1].iterdir()) == before


def test_data_of_other_categories_is_refused_by_the_first_difference(
    trained: tuple[Path, Path], run: Run, tmp_path: Path
) -> None:
    make_street(tmp_path / "other", train=1, val=1, size=(64, 64), seed=0)
    path = tmp_path / "other/annotations/panoptic_val.json"
    document = json.loads(path.read_text())
    document["categories"][0]["name"] = "tree"
    path.write_text(json.dumps(document))
    code, _, err = run("eval", trained[1], "--data", tmp_path / "other")
    assert code == 2
    assert "'tree'" in err


def test_an_error_is_also_a_json_document_where_one_was_asked_for(run: Run) -> None:
    code, out, err = run("eval", "nowhere", "--json")
    assert code == 2
    assert json.loads(out)["error"] in err


@pytest.mark.parametrize("arguments", [["--help"], ["models", "list", "--json"]])
def test_a_reader_who_leaves_early_is_no_error(arguments: list[str]) -> None:
    """`edgeseg ... | head`: no traceback, and the verb's own exit code."""
    with subprocess.Popen(
        [sys.executable, "-m", "edgeseg", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        words = child.stderr.read()
    assert (child.returncode, words) == (0, "")


def test_models_lists_names_parameters_and_macs(run: Run) -> None:
    code, out, _ = run("models", "--size", 64, 64, "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)["models"]}
    assert rows["mobilenet_v3_small+kmax"]["params"] < rows["mobilenet_v3_large+kmax"]["params"]


def test_models_of_a_config_is_one_row_at_its_own_size(run: Run) -> None:
    code, out, _ = run("models", "--configs", "street", "--json")
    assert code == 0
    (row,) = json.loads(out)["models"]
    assert (row["name"], row["image_size"]) == ("street", [128, 128])


def test_models_of_a_config_takes_no_backbone_beside_it(run: Run) -> None:
    code, _, err = run("models", "--configs", "street", "--heads", "kmax")
    assert code == 2
    assert "--configs names whole networks" in err


def test_a_trained_run_reads_back_its_own_data(trained: tuple[Path, Path]) -> None:
    assert len(PanopticFolder.open(trained[0], "train")) == 8
