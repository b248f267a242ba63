"""A tiny experiment: 64 x 64 street scenes, a small head, seconds of training."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseg.config import Config, DataConfig, ModelConfig, TrainConfig
from edgeseg.data.coco_panoptic import PanopticFolder
from edgeseg.data.street import make_street


@pytest.fixture(scope="session")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 12 training and 4 validation scenes."""
    root = tmp_path_factory.mktemp("data") / "street"
    make_street(root, train=12, val=4, size=(64, 64), seed=1)
    return root


@pytest.fixture(scope="session")
def samples(street: Path) -> PanopticFolder:
    return PanopticFolder.open(street, "train")


def tiny(**train: object) -> Config:
    """A config that steps in a fraction of a second; keyword arguments go to its train table."""
    values = {"steps": 4, "eval_every": 0, "save_every": 100, **train}
    return Config(
        data=DataConfig(image_size=(64, 64), batch_size=4, num_workers=0),
        model=ModelConfig(num_queries=16, query_dim=32, ffn_dim=32, num_heads=2, decoder_dims=(8, 8, 8, 8)),
        train=TrainConfig(**values),  # type: ignore[arg-type]
    )
