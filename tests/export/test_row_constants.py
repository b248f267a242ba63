"""What is subtracted from each channel is subtracted a row at a time, and the difference is the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgeseg.export.row_constants import channels_to_rows

SIZE = (8, 12)


class Normalised(nn.Module):
    """Subtracts what a model subtracts from its image.

    Args:
        constant: Subtracted.
        twice: Subtract it from the difference again.
        persistent: Whether it is in the state dict, as a model's mean is not.
    """

    constant: torch.Tensor

    def __init__(self, constant: torch.Tensor, *, twice: bool = False, persistent: bool = False) -> None:
        super().__init__()
        self.register_buffer("constant", constant, persistent=persistent)
        self.twice = twice

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        difference = image - self.constant
        return difference - self.constant if self.twice else difference * 2.0


def exported(module: nn.Module, channels: int) -> tuple[torch.export.ExportedProgram, torch.Tensor]:
    image = torch.rand(1, channels, *SIZE, generator=torch.Generator().manual_seed(0)) * 255.0
    return torch.export.export(module.eval(), (image,)), image


def held(program: torch.export.ExportedProgram) -> tuple[int, ...]:
    (placeholder,) = (node for node in program.graph.find_nodes(op="placeholder") if "constant" in node.name)
    (value,) = (*program.constants.values(), *program.state_dict.values())
    assert placeholder.meta["val"].shape == value.shape
    return tuple(value.shape)


@pytest.mark.parametrize("persistent", [False, True])
def test_a_row_takes_the_place_of_a_value_and_gives_the_same_bits(persistent: bool) -> None:
    module = Normalised(torch.tensor([123.675, 116.28, 103.53]).reshape(1, 3, 1, 1), persistent=persistent)
    program, image = exported(module, 3)
    wanted = module(image)
    channels_to_rows(program)
    assert held(program) == (1, 3, 1, SIZE[1])
    program.validate()  # type: ignore[no-untyped-call]
    np.testing.assert_array_equal(program.module()(image), wanted)
    assert module.constant.shape == (1, 3, 1, 1), "the module's own stays as it is"


@pytest.mark.parametrize(
    ("shape", "twice"),
    [((1, 3, 1, 1), True), ((1, 16, 1, 1), False), ((1, 3, *SIZE), False), ((3, 1, 1), False), ((1,), False)],
)
def test_other_constants_stay_as_they_are(shape: tuple[int, ...], twice: bool) -> None:
    program, image = exported(Normalised(torch.ones(shape), twice=twice), 16 if 16 in shape else 3)
    wanted = program.module()(image)
    channels_to_rows(program)
    assert held(program) == shape
    np.testing.assert_array_equal(program.module()(image), wanted)
