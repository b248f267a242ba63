"""Small things to export, and what was exported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgeseg.engine.checkpoint import save_checkpoint
from edgeseg.models import build_model


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder: an untrained network with the small backbone of `edgeseg.bench.spec_bundle`, and its shapes."""
    import edgeseg.bench.spec_bundle as spec

    folder = tmp_path_factory.mktemp("small_run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spec, "TRAIN_IMAGES", 4)
        patch.setattr(spec, "VAL_IMAGES", 4)
        spec.make_shapes(folder / "shapes")
    config = spec.config(folder / "shapes")
    torch.manual_seed(0)
    model = build_model(config.model, [category.is_thing for category in spec.SHAPES], spec.SIZE)
    weights = {"weights": model.state_dict()}
    save_checkpoint(
        folder / "run" / "best.safetensors", weights, config=config, categories=spec.SHAPES, step=0, metrics={}
    )
    return folder / "run"


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound bundle of ONNX files; copy it before you change it."""
    pytest.importorskip("onnxruntime", reason="pip install 'edgeseg[onnx]'")
    pytest.importorskip("onnxscript", reason="pip install 'edgeseg[onnx]'")
    from tests.export.small import small_bundle

    torch.set_num_threads(1)  # a small network waits for its second thread longer than it computes
    return small_bundle(tmp_path_factory.mktemp("small") / "small.edgeseg")
