"""Products of computed matrices stay inside LiteRT's delegate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx.passes.shape_prop import ShapeProp

from edgeseg.export.captured import silenced
from edgeseg.export.litert_products import in_two_batches
from edgeseg.export.runtimes import get_runtime


class Product(nn.Module):
    """bmm of two parts of the input, (1, rows, inner) and (1, inner, columns), the right one transposed."""

    def __init__(self, rows: int, inner: int, columns: int) -> None:
        super().__init__()
        self.rows, self.inner, self.columns = rows, inner, columns

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        left, right = values.split([self.rows * self.inner, self.inner * self.columns])
        return torch.bmm(
            left.reshape(1, self.rows, self.inner), right.reshape(1, self.columns, self.inner).transpose(1, 2)
        )


def exported(sizes: tuple[int, int, int], dtype: torch.dtype) -> tuple[torch.export.ExportedProgram, torch.Tensor]:
    rows, inner, columns = sizes
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(rows * inner + inner * columns, dtype=dtype, generator=generator)
    return torch.export.export(Product(*sizes).eval(), (values,)), values


@pytest.mark.parametrize("sizes", [(8, 4, 6), (4, 6, 8), (4, 8, 6), (6, 6, 6), (3, 5, 8), (8, 5, 3), (3, 8, 5)])
def test_two_halves_are_the_product(sizes: tuple[int, int, int]) -> None:
    program, values = exported(sizes, torch.float64)
    wanted = Product(*sizes)(values)
    in_two_batches(program.graph_module)
    module = program.module()
    assert torch.allclose(ShapeProp(module).propagate(values)[0], wanted, rtol=0, atol=1e-12)
    products = module.graph.find_nodes(op="call_function", target=torch.ops.aten.bmm.default)
    assert [node.meta["tensor_meta"].shape[0] for node in products] == [2]


@pytest.mark.parametrize("sizes", [(3, 5, 7), (7, 5, 3), (3, 7, 5)])
def test_a_product_whose_largest_side_is_odd_stays(sizes: tuple[int, int, int]) -> None:
    program, _ = exported(sizes, torch.float32)
    before = [node.target for node in program.graph.nodes]
    in_two_batches(program.graph_module)
    assert [node.target for node in program.graph.nodes] == before


def test_products_of_several_images_stay() -> None:
    program = torch.export.export(nn.Bilinear(4, 4, 2).eval(), (torch.zeros(2, 4), torch.zeros(2, 4)))
    before = len(list(program.graph.nodes))
    in_two_batches(program.graph_module)
    assert len(list(program.graph.nodes)) == before


class PixelsByQueries(nn.Module):
    """A convolution's map times itself: both sides are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = self.conv(image.permute(0, 3, 1, 2).float()).flatten(2)  # (1, 8, 64)
        return torch.bmm(pixels, pixels.transpose(1, 2)), pixels


def test_a_converted_product_is_in_the_delegate(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, runtime = PixelsByQueries().eval(), get_runtime("litert")
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    with torch.no_grad():
        program = torch.export.export(model, (torch.from_numpy(image),))
        wanted, _ = model(torch.from_numpy(image))
    path = tmp_path / "product.tflite"
    with silenced():
        runtime.convert(program, ("product", "pixels"), path, precision="float32")
    coverage = runtime.describe(path)
    assert (coverage.num_delegates, set(coverage.outside)) == (1, {"CAST"})
    stages = runtime.load(path)
    product, _ = stages.readout(stages.network(stages.upload(image))).values()
    assert np.allclose(product, wanted.numpy(), rtol=1e-5)
