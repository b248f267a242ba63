"""Rows and columns of positions stay rows and columns in a .tflite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeseg.export.captured import silenced
from edgeseg.export.litert_constants import keep_apart
from edgeseg.export.runtimes import get_runtime
from edgeseg.models.layers import FrozenPosition, PositionEmbedding

ADD, SUB = torch.ops.aten.add.Tensor, torch.ops.aten.sub.Tensor
SIZE, CHANNELS = (48, 64), 32


class Placed(nn.Module):
    """A convolution's map plus its position, and the map: two outputs, as an app's network has."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, CHANNELS, 1)
        self.position: FrozenPosition = PositionEmbedding(CHANNELS, SIZE).freeze()

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values = self.conv(pixels)
        return self.position(values).relu(), values


class TwoOfOneShape(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.ones(1, 3, 1, 1)), nn.Parameter(torch.ones(1, 3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels + self.a + self.b


def exported(module: nn.Module) -> tuple[torch.export.ExportedProgram, torch.Tensor]:
    pixels = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    return torch.export.export(module.eval(), (pixels,)), pixels


def test_the_values_are_the_same_bit_by_bit() -> None:
    program, pixels = exported(Placed())
    keep_apart(program)
    assert [len(program.graph.find_nodes(op="call_function", target=t)) for t in (ADD, SUB)] == [1, 1]
    assert torch.equal(program.module()(pixels)[0], Placed().eval()(pixels)[0])


def test_constants_of_one_shape_stay_as_they_are() -> None:
    """Their sum is no larger than each."""
    program, _ = exported(TwoOfOneShape())
    keep_apart(program)
    assert [len(program.graph.find_nodes(op="call_function", target=t)) for t in (ADD, SUB)] == [2, 0]


def test_the_file_holds_no_map_and_the_delegate_takes_all(tmp_path: Path) -> None:
    pytest.importorskip("litert_torch", reason="pip install 'edgeseg[litert]'")
    program, pixels = exported(Placed())
    runtime, path = get_runtime("litert"), tmp_path / "placed.tflite"
    with silenced():
        runtime.convert(program, ("placed", "values"), path, precision="float32")
    assert path.stat().st_size < 4 * CHANNELS * SIZE[0] * SIZE[1]
    coverage = runtime.describe(path)
    assert (coverage.num_delegates, coverage.outside) == (1, {})
    stages = runtime.load(path)
    placed, _ = stages.readout(stages.network(stages.upload(pixels.numpy()))).values()
    with torch.no_grad():
        assert np.allclose(placed, Placed().eval()(pixels)[0].numpy(), rtol=0, atol=1e-6)
