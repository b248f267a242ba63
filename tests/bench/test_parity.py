"""Rows of the parity table, the islands' groups and what was only lowered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edgeseg.bench.lowered import Lowered
from edgeseg.bench.parity import compare, measure
from edgeseg.config import Config, DataConfig, MergeConfig, ModelConfig
from edgeseg.engine.checkpoint import Checkpoint
from edgeseg.export.reference import torch_answers
from edgeseg.export.runtimes import get_runtime, is_available
from edgeseg.models import build_model
from edgeseg.structures import Category

CATEGORIES = (Category(1, "cell", True, (1, 2, 3)), Category(2, "glass", False, (4, 5, 6)))


def untrained(size: tuple[int, int]) -> Checkpoint:
    torch.manual_seed(0)
    config = Config(
        data=DataConfig(image_size=size), model=ModelConfig(num_queries=8, query_dim=32, decoder_dims=(8, 8, 8, 8))
    )
    model = build_model(config.model, [c.is_thing for c in CATEGORIES], size)
    return Checkpoint(Path("run"), config, CATEGORIES, 0, {}, {}, {"weights": model.state_dict()})


@pytest.mark.slow
def test_parity_is_measured_at_another_size_than_the_run_s(tmp_path: Path) -> None:
    if not is_available(get_runtime("onnx")):
        pytest.skip("the packages of onnx are missing: pip install 'edgeseg[onnx]'")
    torch.set_num_threads(1)  # a second thread waits for the first on a busy machine
    images = list(np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8))
    files = [("onnx", "float32"), ("onnx", "float16")]
    rows = list(measure(untrained((64, 64)), (64, 96), files, images, tmp_path))
    assert [(row.runtime, row.precision, row.size, row.num_images) for row in rows] == [
        ("torch (float64)", "float64", (64, 96), 2),
        ("onnx", "float32", (64, 96), 2),
        ("onnx", "float16", (64, 96), 2),
    ]
    double, exact, half = rows
    assert 0 < double.mask_logits_max_abs < 2e-4
    assert exact.mask_logits_max_abs < 2e-4
    assert exact.images_within == 2
    assert exact.mask_logits_max_abs < half.mask_logits_max_abs
    assert half.bytes < 0.7 * exact.bytes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["64x96.float16.onnx.onnx", "64x96.float32.onnx.onnx"]


def test_images_within_are_those_whose_logits_are_all_near_torch_s() -> None:
    """Two of three answers are off by 1e-4 at most, one by 1e-3 in a single logit."""
    images = list(np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8))
    checkpoint, is_thing = untrained((64, 64)), [category.is_thing for category in CATEGORIES]
    goldens = torch_answers(checkpoint.model().deployable(), images, config=MergeConfig(), is_thing=is_thing)
    answers = {golden.image.tobytes(): (golden, off) for golden, off in zip(goldens, (0.0, 1e-4, 1e-3), strict=True)}

    def predict(image: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        golden, off = answers[image.tobytes()]
        assert golden.mask_logits is not None
        assert golden.class_logits is not None
        masks = golden.mask_logits.copy()
        masks[0, 0, 0] += off
        return {"mask_logits": masks[None], "class_logits": golden.class_logits[None]}

    row = compare("x", "float32", (64, 64), goldens, predict, MergeConfig(), is_thing, 7)
    assert (row.images_within, row.num_images, row.bytes) == (2, 3, 7)
    assert row.mask_logits_max_abs == pytest.approx(1e-3, rel=0.01)


class Rounded(nn.Module):
    """Two convolutions with a rounding between them that Vulkan has no kernel for."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x).ceil())


@pytest.mark.slow
def test_lowering_for_vulkan_counts_pieces_and_what_stays_outside(tmp_path: Path) -> None:
    runtime = get_runtime("executorch-vulkan")
    if not is_available(runtime):
        pytest.skip("the packages of executorch are missing: pip install 'edgeseg[executorch]'")
    program = torch.export.export(Rounded().eval(), (torch.zeros(1, 3, 16, 16),))
    runtime.convert(program, ("out",), tmp_path / "a.pte", precision="float32")
    coverage = runtime.describe(tmp_path / "a.pte")
    assert (coverage.delegate, coverage.num_delegates, coverage.outside) == ("Vulkan", 2, {"ceil": 1})


def test_what_was_only_lowered_says_so_in_its_line() -> None:
    row = Lowered("executorch-vulkan", "app", 1234567, 2, (("ceil", 1),))
    assert str(row) == (
        "executorch-vulkan, merge in the app: 2 pieces, outside 1 ceil; 1,234,567 bytes; lowered, not run here"
    )
    assert str(Lowered("executorch-qnn", "app", refused="no SDK")) == "executorch-qnn, merge in the app: no SDK"
