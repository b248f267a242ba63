"""Means of integer maps: inside LiteRT's delegate, and not rounded on their way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeseg.export.litert_means import mean_by_rows
from edgeseg.export.program import pool_by_mean
from edgeseg.export.runtimes import get_runtime
from edgeseg.quantize import Recipe, calibrate, deploy, prepare
from edgeseg.quantize.modules import set_weight_storage
from tests.quantize.tiny import images, warmed

SIZE = (96, 128)  # maps of 48x64 cells, 3,072: tiles of 16x16


class Squeezed(nn.Module):
    """A depthwise convolution and its squeeze-and-excite, on a large map."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 16, 3, 1, 1, groups=16)
        self.pool, self.squeeze, self.excite = nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 8, 1), nn.Conv2d(8, 16, 1)
        self.project = nn.Conv2d(16, 8, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.depthwise(F.relu(self.stem(image / 255))))
        gate = F.hardsigmoid(self.excite(F.relu(self.squeeze(self.pool(y)))))
        return self.project(y * gate)


class FromBytes(nn.Module):
    """As a camera gives it, (1, H, W, 3) uint8; runtimes have two outputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.network(image.permute(0, 3, 1, 2).float())
        return -y, y.mean(1)


@pytest.mark.parametrize("size", [(160, 160), (64, 80)])
def test_rows_of_cells_have_the_mean_of_their_tiles(size: tuple[int, int]) -> None:
    maps = torch.randn(1, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    program = torch.export.export(nn.AdaptiveAvgPool2d(1).eval(), (maps,))
    pool_by_mean(program.graph_module)
    mean_by_rows(program.graph_module)
    means = program.graph.find_nodes(op="call_function", target=torch.ops.aten.mean.dim)
    assert [node.args[1] for node in means] == [[3], [2]]
    assert not program.graph.find_nodes(op="call_function", target=torch.ops.aten.avg_pool2d.default)
    torch.testing.assert_close(program.module()(maps), maps.mean((2, 3), keepdim=True), rtol=0, atol=1e-14)


def test_a_small_maps_mean_stays() -> None:
    program = torch.export.export(nn.AdaptiveAvgPool2d(1).eval(), (torch.zeros(1, 3, 32, 32),))
    pool_by_mean(program.graph_module)
    before = [node.target for node in program.graph.nodes]
    mean_by_rows(program.graph_module)
    assert [node.target for node in program.graph.nodes] == before


class Halved(nn.Module):
    """A shortcut that halves its map by means, beside a convolution that does."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 24, 3, 2, 1)
        self.pool, self.widen, self.project = nn.AvgPool2d(2), nn.Conv2d(16, 24, 1), nn.Conv2d(24, 8, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.stem(image / 255))
        return self.project(F.relu(self.widen(self.pool(y)) + self.branch(y)))


@pytest.mark.parametrize("network", [Squeezed, Halved])
def test_means_between_grids_are_not_rounded_and_do_not_cut_the_graph(network: type[nn.Module], tmp_path: Path) -> None:
    """As int8 poolings they did both: 8 and 23 % of the cells behind were a step off."""
    pytest.importorskip("litert_torch")
    runtime = get_runtime("litert")
    torch.manual_seed(0)
    pixels = F.interpolate(images(4, seed=1), SIZE, mode="bilinear")
    prepared = prepare(warmed(network()), Recipe(name="test"), pixels[:1])
    calibrate(prepared, [pixels])
    deployed = FromBytes(deploy(prepared)).eval()
    image = pixels[:1].round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    with torch.no_grad():
        wanted = deployed(image)[0]
    set_weight_storage(deployed, runtime.weight_storage)
    program = torch.export.export(deployed, (image,))
    pool_by_mean(program.graph_module)
    path = tmp_path / "a.tflite"
    runtime.convert(program, ("negated", "mean"), path, precision="int8")
    coverage = runtime.describe(path)
    assert (coverage.num_delegates, coverage.outside) == (1, {"CAST": 1})
    stages = runtime.load(path)
    found, _ = stages.readout(stages.network(stages.upload(image.numpy()))).values()
    step = wanted.unique().diff().min()
    differing = (torch.from_numpy(found) - wanted).abs() > step / 2
    assert wanted.unique().numel() > 50
    assert differing.float().mean() < 1e-3
