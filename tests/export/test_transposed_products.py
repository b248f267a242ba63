"""An argmax over slots reads them side by side, and finds what it found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeseg.config import MergeConfig
from edgeseg.export.graph import DeployedGraph
from edgeseg.export.program import export_program
from edgeseg.export.runtimes import OUTPUT_NAMES, get_runtime
from edgeseg.export.transposed_products import transpose_products
from edgeseg.structures import Slots

SIZE = (16, 24)
IS_THING = [True, False, True]


class Product(nn.Module):
    """A head's last lines, in small whole numbers: every sum is exact in any order, and ties are many.

    Args:
        ending: How the product becomes mask logits.
    """

    queries: torch.Tensor
    shift: torch.Tensor

    def __init__(self, ending: str) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.ending = ending
        self.register_buffer("queries", torch.randint(-3, 4, (1, 7, 5), generator=random).float())
        self.register_buffer("shift", torch.tensor([2.0]))
        self.pixels = nn.Conv2d(3, 5, 1, bias=False)
        self.pixels.weight.data = torch.randint(-2, 3, self.pixels.weight.shape, generator=random).float()
        self.register_buffer("class_logits", torch.randint(-3, 4, (1, 7, 4), generator=random).float())

    def forward(self, image: torch.Tensor) -> Slots:
        embedding = self.pixels((image[:, :, ::4, ::4] / 64.0).floor() - 2.0)
        class_logits = self.class_logits + image[0, 0, 0, 0]  # else they are folded into their answers
        height, width = embedding.shape[2:]
        if self.ending == "parts":
            return Slots(class_logits, torch.cat([embedding, embedding[:, :2] + embedding[:, 1:3]], 1))
        logits = torch.bmm(self.queries, embedding.flatten(2))
        if self.ending == "read twice":
            logits = logits + logits.mean(2, keepdim=True).floor()
        if self.ending == "a row per pixel":
            logits = logits + torch.ones(1, 1, height * width)
        return Slots(class_logits, (logits + self.shift).reshape(1, 7, height, width))


def exported(ending: str) -> torch.export.ExportedProgram:
    config = MergeConfig(thing_threshold=0.1, stuff_threshold=0.1, upsample=1, min_area=0)
    graph = DeployedGraph(Product(ending).eval(), merge="graph", config=config, is_thing=IS_THING)
    return export_program(graph, get_runtime("onnx"), SIZE)


def photo(seed: int) -> torch.Tensor:
    return torch.randint(0, 256, (1, *SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def product_shapes(program: torch.export.ExportedProgram) -> list[tuple[int, ...]]:
    """Of the products that hold all slots and pixels."""
    shapes = [
        tuple(node.meta["val"].shape)
        for node in program.graph.find_nodes(op="call_function", target=torch.ops.aten.bmm.default)
    ]
    return [shape for shape in shapes if sorted(shape) == [1, 7, 24]]


@pytest.mark.parametrize("ending", ["plain", "a row per pixel", "read twice", "parts"])
def test_same_slots_win(ending: str) -> None:
    program = exported(ending)
    wanted = program.module()(photo(0))
    assert len(wanted[0].unique()) > 3
    transpose_products(program)
    program.validate()  # type: ignore[no-untyped-call]
    for answer, expected in zip(program.module()(photo(0)), wanted, strict=True):
        np.testing.assert_array_equal(answer, expected)


@pytest.mark.parametrize(
    ("ending", "shapes"),
    [("plain", [(1, 24, 7)]), ("a row per pixel", [(1, 24, 7)]), ("read twice", [(1, 7, 24)]), ("parts", [])],
)
def test_product_is_made_as_it_is_read_where_nobody_else_reads_it(ending: str, shapes: list[tuple[int, ...]]) -> None:
    program = exported(ending)
    transpose_products(program)
    assert product_shapes(program) == shapes


@pytest.mark.parametrize("ending", ["plain", "parts"])
def test_onnx_runtime_finds_the_slot_along_the_innermost_dimension(ending: str, tmp_path: Path) -> None:
    """Its optimizer turns an argmax of a transposed tensor into one across rows, three times as slow."""
    onnx = pytest.importorskip("onnx", reason="pip install 'edgeseg[onnx]'")
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'edgeseg[onnx]'")
    program, runtime = exported(ending), get_runtime("onnx")
    wanted = program.module()(photo(1))
    runtime.convert(program, OUTPUT_NAMES["graph"], tmp_path / "a.onnx", precision="float32")
    for name, answer in runtime.load(tmp_path / "a.onnx")(photo(1).numpy()).items():
        np.testing.assert_allclose(answer, wanted[OUTPUT_NAMES["graph"].index(name)], rtol=1e-6)  # scores: softmax
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns that the file is for this machine
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(str(tmp_path / "a.onnx"), options, providers=["CPUExecutionProvider"])
    axes = [
        attribute.i
        for node in onnx.load(str(tmp_path / "optimized.onnx")).graph.node
        for attribute in node.attribute
        if node.op_type == "ArgMax" and attribute.name == "axis"
    ]
    assert sorted(axes) == [1, 2], "of categories (N, K), and of slots (1, P, N)"
