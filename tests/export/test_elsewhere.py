"""What accelerators that are not here would leave: rules by hand from the sources that the modules name."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from edgeseg.export.litert_gpu import Operation, Tensor, left_by_gpu, why_left
from edgeseg.export.onnx_web import left_by_webgpu


def computed(*shape: int, dtype: str = "FLOAT32") -> Tensor:
    return Tensor(shape, dtype, is_const=False)


def constant(*shape: int, dtype: str = "FLOAT32") -> Tensor:
    return Tensor(shape, dtype, is_const=True)


MAP = computed(1, 8, 8, 4)


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (Operation("CONV_2D", (MAP, constant(4, 3, 3, 4), constant(4)), (MAP,)), ""),
        (Operation("CAST", (computed(1, 8, 8, 3, dtype="UINT8"),), (MAP,)), "UINT8 to FLOAT32"),
        (Operation("CAST", (MAP,), (computed(1, 8, 8, 4, dtype="INT32"),)), ""),
        (Operation("ARG_MAX", (MAP, constant()), (MAP,)), "the delegate has no such operator"),
        (Operation("MAXIMUM", (MAP, MAP), (MAP,)), ""),
        (
            Operation("MAXIMUM", (constant(1), constant(1)), (MAP,)),
            "neither two computed inputs nor one and a constant",
        ),
        (Operation("ADD", (MAP, constant(4)), (MAP,)), ""),
        (Operation("ADD", (MAP, constant(1, 4)), (MAP,)), ""),
        (Operation("ADD", (MAP, constant(2, 4)), (MAP,)), "broadcast of (1, 8, 8, 4) and (2, 4)"),
        (Operation("MEAN", (MAP, constant(2, dtype="INT32")), (MAP,)), ""),
        (Operation("MEAN", (MAP, computed(2, dtype="INT32")), (MAP,)), "2 computed inputs instead of 1"),
        (Operation("SLICE", (computed(5, 5), constant(2), constant(2)), (MAP,)), "2 axes instead of 3 or 4"),
        (Operation("PAD", (MAP, constant(4, 2, dtype="INT32")), (MAP,)), ""),
        (Operation("PAD", (MAP, constant(2, 2, dtype="INT32")), (MAP,)), "paddings of shape (2, 2)"),
        (Operation("SOFTMAX", (MAP,), (MAP,), SimpleNamespace(beta=2.0)), "beta = 2.0"),
    ],
)
def test_gpu_delegate_takes_and_leaves_what_its_source_says(operation: Operation, reason: str) -> None:
    assert why_left(operation) == reason


def test_webgpu_leaves_bytes_and_what_it_has_no_kernel_for(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="pip install 'edgeseg[onnx]'")
    helper, kinds = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Cast", ["image"], ["x"], to=kinds.FLOAT),
        helper.make_node("HardSwish", ["x"], ["y"]),
        helper.make_node("Max", ["x", "y"], ["z"]),
        helper.make_node("Cast", ["z"], ["whole"], to=kinds.INT32),
    ]
    inputs = [helper.make_tensor_value_info("image", kinds.UINT8, [1, 4])]
    outputs = [helper.make_tensor_value_info("whole", kinds.INT32, [1, 4])]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), str(tmp_path / "a.onnx"))
    assert left_by_webgpu(tmp_path / "a.onnx") == {"Cast: of bytes": 1, "Max: no kernel": 1}


class FromBytes(torch.nn.Module):
    """Bytes in, the largest channel's index out: a cast and an argmax that the delegate leaves."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return (image.float() * 0.5 + 1.0).argmax(3).to(torch.int32)


@pytest.mark.slow
def test_gpu_delegate_s_leftovers_are_found_in_a_real_file(tmp_path: Path) -> None:
    litert_torch = pytest.importorskip("litert_torch", reason="pip install 'edgeseg[litert]'")
    image = torch.zeros(1, 4, 4, 3, dtype=torch.uint8)
    litert_torch.convert(FromBytes().eval(), (image,)).export(str(tmp_path / "a.tflite"))
    left = left_by_gpu(tmp_path / "a.tflite")
    assert left["CAST: UINT8 to FLOAT32"] == 1
    assert left["ARG_MAX: the delegate has no such operator"] == 1
    assert not any(name.startswith(("MUL", "ADD")) for name in left)
