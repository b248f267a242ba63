"""The family remax-t, -s, -m keeps its budgets, and every kind of backbone goes through ONNX unchanged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgeseg.config import Config, ModelConfig, load_config
from edgeseg.models import build_model, count_macs, count_parameters
from edgeseg.models.timm_adapter import TESTED

COCO_IS_THING = (True,) * 80 + (False,) * 53
SIZE = (64, 64)
KINDS: list[tuple[str, dict[str, object]]] = [
    ("mobilenet_v3_small_minimalistic", {}),
    ("mobilenet_v2", {}),
    ("tiny_moat_0", {}),
    ("tiny_moat_0", {"attention_window": 2, "position_bias": True}),
    *((f"timm:{name}", {}) for name in TESTED),
]


@pytest.mark.parametrize(
    "name, size, most_params, most_macs",
    [("remax-t", 256, 2.0e6, 0.6e9), ("remax-s", 384, 4.2e6, 1.75e9), ("remax-m", 640, 7.1e6, 9.3e9)],
)
def test_family_keeps_the_budgets_of_its_table(name: str, size: int, most_params: float, most_macs: float) -> None:
    """Bounds of docs/models.md, for COCO's 133 categories; remax-t's are the promise of real time on a phone."""
    config = load_config(name)
    assert config.data.image_size == (size, size)
    deployed = build_model(config.model, COCO_IS_THING, (size, size)).deployable()
    assert count_parameters(deployed) <= most_params
    assert count_macs(deployed, (size, size)) <= most_macs


@pytest.mark.slow
@pytest.mark.parametrize("name, change", KINDS)
def test_every_kind_of_backbone_answers_in_onnx_runtime_what_torch_does(
    name: str, change: dict[str, object], tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="pip install 'edgeseg[onnx]'")
    if name.startswith("timm:"):
        pytest.importorskip("timm", reason="pip install 'edgeseg[timm]'")
    from edgeseg.export.graph import DeployedGraph
    from edgeseg.export.program import export_program
    from edgeseg.export.runtimes import OUTPUT_NAMES, get_runtime
    from edgeseg.quantize.fold import fold

    torch.manual_seed(0)
    things = (True, False, True)
    model = build_model(ModelConfig(backbone=name, num_queries=4, kmeans_strides=(), **change), things, SIZE)
    image = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), dtype=np.uint8)
    pixels = torch.from_numpy(image).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        model(torch.cat([pixels, 255 - pixels]))  # gives the norms statistics of their own
        model.eval()
        expected = model(pixels)
    graph = DeployedGraph(fold(model.deployable(), pixels), merge="app", config=Config().merge, is_thing=things)
    runtime = get_runtime("onnx")
    path = tmp_path / "network.onnx"
    runtime.convert(export_program(graph, runtime, SIZE), OUTPUT_NAMES["app"], path, precision="float32")
    found = runtime.load(path)(image)
    for key in OUTPUT_NAMES["app"]:
        wanted = getattr(expected, key).numpy()
        assert np.abs(found[key] - wanted).max() <= 1e-4 * np.abs(wanted).max()
