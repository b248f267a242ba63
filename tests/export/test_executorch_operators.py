"""What ExecuTorch's delegate leaves outside, or runs slowly, is spelt as it takes it: the same values, one piece."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeseg.export.captured import silenced
from edgeseg.export.executorch_operators import respell
from edgeseg.export.runtimes import OUTPUT_NAMES, get_runtime

ATEN = torch.ops.aten
SIZE = (1, 8, 16, 3)
CAST = {"_to_copy": 1}
"""All that is left outside: the camera's bytes become numbers."""

SPLITS = ("sizes", "equal", "chunk", "rows")


class Reduced(nn.Module):
    """Of a convolution: what is left of an axis, and the map, two outputs as an app's network has.

    Args:
        kind: `pool` of one channel's columns, `windows` of them; `amax` or `sum` along rows, `flat` without the axis.
        num: Channels, whose maximum or sum is asked for.
    """

    def __init__(self, kind: str, num: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind, self.num = kind, num
        self.conv = nn.Conv2d(3, num, 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self.conv(image.float().permute(0, 3, 1, 2) / 255.0).flatten(2)  # (1, N, P)
        if self.kind == "amax":
            left = maps.amax(1, keepdim=True)
        elif self.kind == "sum":
            left = maps.square().sum(1, keepdim=True)
        elif self.kind == "flat":
            left = maps.amax((1, 2)).reshape(1, 1, 1)
        else:
            rows = self.num if self.kind == "pool" else self.num // 2
            whole = maps.reshape(1, 1, self.num, -1)
            left = nn.functional.max_pool2d(whole, (rows, 1), stride=(rows, 1)).reshape(1, -1, whole.shape[3])
            left = left if self.kind == "pool" else left[:, :1]
        return torch.relu(1.0 - torch.ceil(left - maps)), maps


class Split(nn.Module):
    """A convolution's channels, or rows, in two parts, two outputs.

    Args:
        kind: `sizes` 2 and 5 of channels, `equal` parts of them or `chunk`s; `rows` without naming their axis.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind = kind
        self.conv = nn.Conv2d(3, 7, 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self.conv(image.float().permute(0, 3, 1, 2) / 255.0)
        if self.kind == "sizes":
            one, other = maps.split([2, 5], dim=1)
        elif self.kind == "rows":
            one, other = maps.flatten(0, 1).split([2, 5])
        else:
            one, other = maps.chunk(2, dim=1) if self.kind == "chunk" else maps.split(4, dim=1)
        return one.relu(), other.abs()


class LookedUp(nn.Module):
    """Rows of a learned table at constant places, as axial attention's positions.

    Args:
        again: Whether the table is used a second time, as it is.
    """

    def __init__(self, again: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Parameter(torch.randn(7, 3))
        self.register_buffer("places", torch.tensor([[5, 0, 2], [6, 5, 5]]), persistent=False)
        self.again = again

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = self.table[self.places].reshape(1, 6, 3)
        found = torch.bmm((image.float() / 255.0).reshape(1, -1, 3), rows.permute(0, 2, 1))
        return found.relu(), found + self.table.sum() if self.again else found


def exported(model: nn.Module) -> tuple[torch.export.ExportedProgram, torch.Tensor]:
    image = torch.randint(0, 256, SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return torch.export.export(model.eval().requires_grad_(False), (image,)), image


def called(program: torch.export.ExportedProgram) -> list[object]:
    return [node.target for node in program.graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize(("kind", "pair"), [("pool", "maximum"), ("amax", "maximum"), ("sum", "add")])
@pytest.mark.parametrize(("num", "steps"), [(2, 1), (5, 3), (64, 6), (100, 8), (133, 9)])
def test_a_tree_has_the_logarithm_of_the_axis_in_steps(kind: str, pair: str, num: int, steps: int) -> None:
    program, image = exported(Reduced(kind, num))
    wanted = program.module()(image)
    respell(program)
    targets = called(program)
    assert targets.count({"maximum": ATEN.maximum.default, "add": ATEN.add.Tensor}[pair]) == steps
    assert not {ATEN.max_pool2d.default, ATEN.amax.default, ATEN.sum.dim_IntList}.intersection(targets)
    for value, expected in zip(program.module()(image), wanted, strict=True):
        assert torch.equal(value, expected) if pair == "maximum" else torch.allclose(value, expected)


@pytest.mark.parametrize(("kind", "num"), [("windows", 64), ("flat", 64), ("amax", 1), ("pool", 1), ("sum", 1)])
def test_other_reductions_stay_as_they_are(kind: str, num: int) -> None:
    program, image = exported(Reduced(kind, num))
    before, wanted = called(program), program.module()(image)
    respell(program)
    assert called(program) == before
    assert all(map(torch.equal, program.module()(image), wanted))


def test_a_table_that_is_used_elsewhere_is_looked_up_in_the_file() -> None:
    program, image = exported(LookedUp(again=True))
    wanted = program.module()(image)
    respell(program)
    assert ATEN.index.Tensor in called(program)
    assert all(map(torch.equal, program.module()(image), wanted))


@pytest.mark.parametrize(
    "model",
    [Reduced("pool", 64), Reduced("amax", 133), Reduced("sum", 100), LookedUp(again=False), *map(Split, SPLITS)],
    ids=["pool", "amax", "sum", "table", *SPLITS],
)
def test_the_delegate_takes_the_network_as_one_piece(model: nn.Module, tmp_path: Path) -> None:
    runtime, path = get_runtime("executorch"), tmp_path / "network.pte"
    program, image = exported(model)
    wanted = program.module()(image)
    with silenced():
        runtime.convert(program, OUTPUT_NAMES["app"], path, precision="float32")
    coverage = runtime.describe(path)
    assert coverage.num_delegates == 1
    assert coverage.outside == CAST
    stages = runtime.load(path)
    answer = stages.readout(stages.network(stages.upload(image.numpy())))
    for name, value in zip(OUTPUT_NAMES["app"], wanted, strict=True):
        np.testing.assert_allclose(answer[name], value, atol=1e-5)
