"""Configs: strict, and every shipped one loads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgeseg.config import Config, DataConfig, config_from_dict, config_names, config_to_dict, load_config
from edgeseg.structures import InputError


@pytest.mark.parametrize("name", config_names())
def test_every_shipped_config_loads_and_survives_the_round_trip(name: str) -> None:
    config = load_config(name)
    assert config_from_dict(Config, config_to_dict(config), where="test") == config


def test_a_path_a_tuple_and_an_absent_value_survive_the_round_trip() -> None:
    config = replace(Config(), data=DataConfig(root=Path("a/b"), image_size=(64, 96)))
    assert config_from_dict(Config, config_to_dict(config), where="test") == config


@pytest.mark.parametrize(
    "text, message",
    [
        ("[train]\nstep = 5", r"x\.toml: train: unknown key 'step' \(did you mean 'steps'\?\)"),
        ("[trian]\nsteps = 5", r"x\.toml: unknown key 'trian' \(did you mean 'train'\?\)"),
        ("[train]\nsteps = 1.5", "train: steps = 1.5 is a float; int wanted"),
        ("[train]\nsteps = true", "train: steps = True is a bool; int wanted"),
        ('[train]\nlr = "1e-4"', "train: lr = '1e-4' is a str; float wanted"),
        ('[train]\nprecision = "bf16"', r"precision = 'bf16' \(did you mean 'bf16-mixed'\?\); allowed are"),
        ("[data]\nimage_size = [1, 2, 3]", "2 values wanted, 3 given"),
        ("[merge]\nupsample = 3", "allowed are 1, 2, 4"),
        ("steps = ", "is not TOML"),
        ("[train]\nsteps = 0", r"x\.toml: train: steps = 0; it must be above 0"),
        ("[train]\nminutes = 0", r"train: minutes = 0\.0; it must be above 0"),
        ("[train]\nlr = nan", "train: lr = nan; it must be above 0"),
        ("[train]\nfrozen_norms_fraction = 20", r"train: frozen_norms_fraction = 20\.0; 0 to below 1 is possible"),
        ("[train]\neval_every = -1", "train: eval_every = -1; it must not be negative"),
        ("[loss]\nreclass_eta = 1.5", r"x\.toml: loss: reclass_eta = 1\.5; 0 to 1 is possible"),
        ("[loss]\nremask_layers = -1", "loss: remask_layers = -1; it must not be negative"),
    ],
)
def test_what_does_not_fit_is_refused_by_file_key_and_rule(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        load_config(str(tmp_path / "x.toml"))


def test_an_integer_is_a_float_where_one_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("[train]\nlr = 1")
    assert load_config(str(tmp_path / "x.toml")).train.lr == 1.0


def test_an_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no config named 'stret' \(did you mean 'street'\?\)"):
        load_config("stret")
