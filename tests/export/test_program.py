"""What a traced program is rewritten to, before any converter sees it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeseg.export.program import pool_by_mean
from edgeseg.export.runtimes import get_runtime, is_available

ATEN = torch.ops.aten


class Pooled(nn.Module):
    """A picture's mean, channel by channel, far from 0; and the picture, as runtimes have two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(3, 3, 1), nn.AdaptiveAvgPool2d(1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3).reshape(3, 3, 1, 1) / 255)
            self.conv.bias.copy_(torch.tensor([1.0, 3.0, 10.0]))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self.conv(image.permute(0, 3, 1, 2).float())
        return self.pool(maps), maps


@pytest.mark.parametrize(
    ("size", "tile"),
    [((160, 160), [16, 16]), ((64, 80), [16, 16]), ((36, 60), [4, 4]), ((32, 32), None), ((35, 48), None)],
)
def test_a_large_maps_mean_is_a_mean_of_means(size: tuple[int, int], tile: list[int] | None) -> None:
    """Tiles have the same number of cells each, so it is the same number; small maps and coprime sides stay whole."""
    model, image = Pooled().double().eval(), torch.randint(0, 256, (1, *size, 3), dtype=torch.uint8)
    program = torch.export.export(Pooled().eval(), (image,))
    pool_by_mean(program.graph_module)
    assert not program.graph.find_nodes(op="call_function", target=ATEN.adaptive_avg_pool2d.default)
    tiled = program.graph.find_nodes(op="call_function", target=ATEN.avg_pool2d.default)
    assert [node.args[1] for node in tiled] == ([tile] if tile else [])
    with torch.no_grad():
        wanted = model.pool(model.conv(image.permute(0, 3, 1, 2).double()))
        torch.testing.assert_close(program.module()(image)[0].double(), wanted, rtol=1e-6, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["executorch", "litert"])
def test_a_large_maps_mean_is_exact_to_a_millionth_in_the_delegate(name: str, tmp_path: Path) -> None:
    """Added up cell by cell by XNNPACK, as it was before, it is off by more than that."""
    runtime = get_runtime(name)
    if not is_available(runtime):
        pytest.skip(f"the packages of {name} are missing: pip install 'edgeseg[{name}]'")
    image = np.random.default_rng(0).integers(0, 256, (1, 160, 160, 3), dtype=np.uint8)
    program = torch.export.export(Pooled().eval(), (torch.from_numpy(image),))
    pool_by_mean(program.graph_module)
    path = tmp_path / f"a{runtime.suffix}"
    runtime.convert(program, ("mean", "maps"), path, precision="float32")
    wanted = image.astype(np.float64).mean(axis=(0, 1, 2)) / 255 + [1, 3, 10]
    stages = runtime.load(path)
    found, _ = stages.readout(stages.network(stages.upload(image))).values()
    np.testing.assert_allclose(found.ravel(), wanted, rtol=1e-6)
    assert runtime.describe(path).num_delegates == 1
