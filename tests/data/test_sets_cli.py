"""The verbs on a data set that is not COCO's: a Mapillary release, whose two versions make `auto` ambiguous."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeseg.cli import main
from edgeseg.config import config_to_dict
from tests.data.make_set_fixtures import make_mapillary
from tests.engine.conftest import tiny


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The set, and a run that took one step on its v2.0."""
    folder = tmp_path_factory.mktemp("sets")
    make_mapillary(folder / "set", "v1.2")
    make_mapillary(folder / "set", "v2.0")
    toml = ["[data]", "image_size = [64, 64]", "batch_size = 1", "num_workers = 0", "[train]", "steps = 1", "[model]"]
    toml += [f"{key} = {json.dumps(value)}" for key, value in config_to_dict(tiny().model).items()]
    (folder / "tiny.toml").write_text("\n".join(toml))
    where = ["--data.root", str(folder / "set"), "--data.format", "mapillary-v2.0", "--out", str(folder / "run")]
    assert main(["train", str(folder / "tiny.toml"), *where, "--quiet"]) == 0
    return folder / "set", folder / "run"


@pytest.mark.parametrize(
    "argv",
    [
        ("eval", "{run}"),
        ("eval", "{run}", "--data", "{set}", "--format", "mapillary-v2.0"),
        ("quantize", "{run}", "--recipe", "int8-ptq", "--force"),
    ],
)
def test_verbs_use_the_format_that_training_was_told_or_the_given_one(
    argv: tuple[str, ...], trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([word.format(set=trained[0], run=trained[1]) for word in argv] + ["--json", "--quiet"])
    result = json.loads(capsys.readouterr().out)
    assert code == 0
    categories = {row["name"] for row in result.get("metrics", result)["per_category"].values()}
    assert "construction--barrier--ambiguous" in categories


@pytest.mark.parametrize("verb", ["eval", "quantize", "export"])
def test_another_folder_is_looked_at_anew(
    verb: str, trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, str(trained[1]), "--data", str(trained[0])]) == 2
    assert "could be mapillary-v1.2 and mapillary-v2.0" in capsys.readouterr().err


def test_ranges_are_not_measured_on_a_handful_of_images(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quantize", str(trained[1]), "--recipe", "int8-ptq"]) == 2
    assert "fewer than 32 do not hold for others: give more, or say --force" in capsys.readouterr().err
