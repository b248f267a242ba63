"""Maxima along an axis are trees of `maximum` in a .pte: the same values, and inside the delegate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeseg.export.captured import silenced
from edgeseg.export.executorch_maxima import maxima_of_halves
from edgeseg.export.runtimes import OUTPUT_NAMES, get_runtime

ATEN = torch.ops.aten
SIZE = (1, 8, 16, 3)


class Largest(nn.Module):
    """Of what a convolution made of an image: where it is largest, and the map, two outputs as an app's network has.

    Args:
        kind: `pool` of one channel's columns, `windows` of them, `amax` along rows, `flat` without the axis.
        num: Channels, whose maximum is asked for.
    """

    def __init__(self, kind: str, num: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind, self.num = kind, num
        self.conv = nn.Conv2d(3, num, 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self.conv(image.float().permute(0, 3, 1, 2) / 255.0).flatten(2)  # (1, N, P)
        if self.kind == "amax":
            best = maps.amax(1, keepdim=True)
        elif self.kind == "flat":
            best = maps.amax((1, 2)).reshape(1, 1, 1)
        else:
            rows = self.num if self.kind == "pool" else self.num // 2
            best = nn.functional.max_pool2d(maps.unsqueeze(1), (rows, 1), stride=(rows, 1)).squeeze(1)
            best = best if self.kind == "pool" else best[:, :1]
        return torch.relu(1.0 - torch.ceil(best - maps)), maps


def exported(kind: str, num: int) -> tuple[torch.export.ExportedProgram, torch.Tensor]:
    image = torch.randint(0, 256, SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return torch.export.export(Largest(kind, num).eval().requires_grad_(False), (image,)), image


@pytest.mark.parametrize("kind", ["pool", "amax"])
@pytest.mark.parametrize(("num", "steps"), [(2, 1), (5, 3), (64, 6), (100, 7)])
def test_a_tree_has_the_logarithm_of_the_axis_in_steps(kind: str, num: int, steps: int) -> None:
    program, image = exported(kind, num)
    wanted = program.module()(image)
    maxima_of_halves(program.graph_module)
    called = [node.target for node in program.graph.nodes if node.op == "call_function"]
    assert called.count(ATEN.maximum.default) == steps
    assert not {ATEN.max_pool2d.default, ATEN.amax.default}.intersection(called)
    assert all(map(torch.equal, program.module()(image), wanted))


@pytest.mark.parametrize(("kind", "num"), [("windows", 64), ("flat", 64), ("amax", 1), ("pool", 1)])
def test_other_maxima_stay_as_they_are(kind: str, num: int) -> None:
    program, image = exported(kind, num)
    before, wanted = [node.target for node in program.graph.nodes], program.module()(image)
    maxima_of_halves(program.graph_module)
    assert [node.target for node in program.graph.nodes] == before
    assert all(map(torch.equal, program.module()(image), wanted))


def test_the_delegate_takes_a_maximum(tmp_path: Path) -> None:
    runtime, path = get_runtime("executorch"), tmp_path / "largest.pte"
    program, image = exported("amax", 64)
    wanted = program.module()(image)
    with silenced():
        runtime.convert(program, OUTPUT_NAMES["app"], path, precision="float32")
    coverage = runtime.describe(path)
    assert coverage.num_delegates == 1
    assert coverage.outside == {"dim_order_ops::_to_dim_order_copy": 1}
    stages = runtime.load(path)
    answer = stages.readout(stages.network(stages.upload(image.numpy())))
    for name, value in zip(OUTPUT_NAMES["app"], wanted, strict=True):
        np.testing.assert_allclose(answer[name], value, atol=1e-6)
