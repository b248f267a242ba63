"""What can go wrong with a bundle, done to a copy of the small one: real conversions, really damaged."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import safetensors.torch
from onnx import numpy_helper
from torch import nn

from edgeseg.config import ModelConfig
from edgeseg.export.bundle import WEIGHTS
from edgeseg.export.reference import torch_answers
from tests.export.small import CATEGORIES, CONFIG, IMAGES, IS_THING, SIZE, lively_network

FLOAT_GRAPH = "small-64x96.float32.onnx.graph.onnx"
FLOAT_APP = "small-64x96.float32.onnx.app.onnx"
INT8_GRAPH = "small-64x96.int8.onnx.graph.onnx"


@dataclass(frozen=True)
class Damage:
    """Something done to a bundle's folder, and what verify must say about it.

    Attributes:
        name: For the test's id.
        make: Damages the bundle in a folder.
        rung: The lowest one that must fail.
        words: All of them must stand in one of its problems.
        is_forged: Checksums are written anew, so that the first rung cannot see it.
    """

    name: str
    make: Callable[[Path], None]
    rung: str
    words: tuple[str, ...]
    is_forged: bool = True


MASK_SCALE = ("head.cluster.query.0.weight", "head.cluster.query.0.bias", "head.cluster.norm.shift")
"""What the mask logits are proportional to."""


def edited(file: str, change: Callable[[onnx.ModelProto], None]) -> Callable[[Path], None]:
    """Damage by an edit of an ONNX file."""

    def make(path: Path) -> None:
        model = onnx.load(str(path / file))
        change(model)
        onnx.save(model, str(path / file))

    return make


def weights(*names: str, by: Callable[[Any], Any]) -> Callable[[onnx.ModelProto], None]:
    """Other values for the constants whose names end like this."""

    def change(model: onnx.ModelProto) -> None:
        found = [tensor for tensor in model.graph.initializer if tensor.name.endswith(names)]
        assert len(found) == len(names), [tensor.name for tensor in model.graph.initializer]
        for tensor in found:
            values = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(by(values)).astype(values.dtype), tensor.name))

    return change


def normalisation(mean: Callable[[Any], Any], inverse_std: Callable[[Any], Any]) -> Callable[[onnx.ModelProto], None]:
    """Another mean and another 1 / std, which is a factor of the first convolution's weights."""
    right = 1.0 / np.array(ModelConfig().std).reshape(1, 3, 1, 1)

    def change(model: onnx.ModelProto) -> None:
        weights("model.mean", by=mean)(model)
        weights("stem.0.weight", by=lambda weight: weight * (inverse_std(right) / right))(model)

    return change


def gathered(name: str, axis: int, order: Sequence[int]) -> Callable[[onnx.ModelProto], None]:
    """The input or an output of the graph, reordered along an axis."""

    def change(model: onnx.ModelProto) -> None:
        graph = model.graph
        graph.initializer.append(numpy_helper.from_array(np.array(order, np.int64), "order"))
        is_input = name in [value.name for value in graph.input]
        for node in graph.node:
            names = node.input if is_input else node.output
            for index, used in enumerate(names):
                if used == name:
                    names[index] = f"{name}_inside"
        ends = (name, f"{name}_inside") if is_input else (f"{name}_inside", name)
        node = onnx.helper.make_node("Gather", [ends[0], "order"], [ends[1]], axis=axis)
        graph.node.insert(0 if is_input else len(graph.node), node)

    return change


def transposed_map(model: onnx.ModelProto) -> None:
    """Columns before rows in slot_map."""
    graph = model.graph
    for node in graph.node:
        for index, name in enumerate(node.output):
            if name == "slot_map":
                node.output[index] = "slot_map_inside"
    graph.node.append(onnx.helper.make_node("Transpose", ["slot_map_inside"], ["slot_map"], perm=[0, 2, 1]))
    output = next(value for value in graph.output if value.name == "slot_map")
    first, second = output.type.tensor_type.shape.dim[1:]
    first.dim_value, second.dim_value = second.dim_value, first.dim_value


def thresholds_to(value: float) -> Callable[[onnx.ModelProto], None]:
    """Every category's threshold."""
    known = {np.float32(CONFIG.merge.thing_threshold), np.float32(CONFIG.merge.stuff_threshold)}

    def change(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.float32 and values.size == len(CATEGORIES) and set(values.ravel()) == known:
                tensor.CopyFrom(numpy_helper.from_array(np.full_like(values, value), tensor.name))
                return
        raise AssertionError("no thresholds in the file")

    return change


def other_run(model: onnx.ModelProto) -> None:
    """Convolutions of another training run."""
    state = lively_network(seed=1).state_dict()
    for tensor in model.graph.initializer:
        other = state.get(tensor.name.removeprefix("model."))
        if other is not None and other.ndim == 4 and list(other.shape) == list(tensor.dims):
            tensor.CopyFrom(numpy_helper.from_array(other.numpy(), tensor.name))


def renamed(source: str, target: str) -> Callable[[Path], None]:
    """One artifact under another's name; its producer is changed, so that the bytes are not the same."""

    def make(path: Path) -> None:
        shutil.copy(path / source, path / target)
        edited(target, lambda model: setattr(model, "producer_name", "another"))(path)

    return make


def cut(file: str, keep: float) -> Callable[[Path], None]:
    """The beginning of a file."""

    def make(path: Path) -> None:
        content = (path / file).read_bytes()
        (path / file).write_bytes(content[: int(len(content) * keep)])

    return make


def flipped(file: str, *, first: float) -> Callable[[Path], None]:
    """200 bytes changed behind the first part of a file."""

    def make(path: Path) -> None:
        content = bytearray((path / file).read_bytes())
        places = np.random.default_rng(0).integers(int(len(content) * first), len(content), 200)
        for place in places.tolist():
            content[place] ^= 0xFF
        (path / file).write_bytes(bytes(content))

    return make


def golden_of(network: Callable[[], nn.Module], *, keep_logits: bool) -> Callable[[Path], None]:
    """Float golden answers of another network; the logits beside them stay as they were, or come along."""

    def make(path: Path) -> None:
        again = torch_answers(network(), IMAGES, config=CONFIG.merge, is_thing=IS_THING)
        for index, golden in enumerate(again):
            file = path / "golden" / f"{index:03d}.float32.npz"
            with np.load(file) as arrays:
                kept = dict(arrays)
            if not keep_logits and "mask_logits" in kept:
                kept |= {"mask_logits": golden.mask_logits, "class_logits": golden.class_logits}
            np.savez_compressed(file, allow_pickle=False, **(kept | golden.merged._asdict()))

    return make


def weights_of_another_run(path: Path) -> None:
    """Float weights of another network in weights.safetensors."""
    state = safetensors.torch.load_file(path / WEIGHTS)
    other = {f"float32.{name}": tensor.contiguous() for name, tensor in lively_network(seed=1).state_dict().items()}
    safetensors.torch.save_file(state | other, path / WEIGHTS)


def columns(order: Sequence[int]) -> Callable[[onnx.ModelProto], None]:
    """Columns of the classifier in another order, void included; a file may hold its matrix either way round."""

    def reorder(values: Any) -> Any:
        return values[:, order] if values.ndim == 2 and values.shape[1] == len(order) else values[list(order)]

    return weights("head.classify.bias", "head.classify.weight", by=reorder)


_VOID = len(CATEGORIES)
DAMAGES = (
    Damage(
        "normalisation dropped",
        edited(FLOAT_GRAPH, normalisation(lambda x: 0 * x, lambda x: 0 * x + 1)),
        "artifacts",
        (FLOAT_GRAPH, "normalisation dropped", "bytes"),
    ),
    Damage(
        "only divided by 255",
        edited(FLOAT_GRAPH, normalisation(lambda x: 0 * x, lambda x: 0 * x + 1 / 255)),
        "artifacts",
        (FLOAT_GRAPH, "normalisation dropped", "divided by 255"),
    ),
    Damage(
        "scaled before it is normalised",
        edited(FLOAT_APP, normalisation(lambda x: 255 * x, lambda x: x / 255)),
        "artifacts",
        (FLOAT_APP, "wrong normalisation", "divided by 255 before"),
    ),
    Damage(
        "swapped channels",
        edited(FLOAT_GRAPH, gathered("image", 3, [2, 1, 0])),
        "artifacts",
        (FLOAT_GRAPH, "swapped channels"),
    ),
    Damage("transposed map", edited(FLOAT_GRAPH, transposed_map), "artifacts", (FLOAT_GRAPH, "transposed map")),
    Damage(
        "mirrored map",
        edited(FLOAT_GRAPH, gathered("slot_map", 2, range(SIZE[1] // 2)[::-1])),
        "artifacts",
        (FLOAT_GRAPH, "mirrored map", "left-right"),
    ),
    Damage(
        "off-by-one category",
        edited(FLOAT_GRAPH, columns([_VOID - 1, *range(_VOID - 1), _VOID])),
        "artifacts",
        (FLOAT_GRAPH, "off-by-one category", "one too high"),
    ),
    Damage(
        "void column first",
        edited(FLOAT_GRAPH, columns([_VOID, *range(_VOID)])),
        "artifacts",
        (FLOAT_GRAPH, "off-by-one category", "void is read as class 0"),
    ),
    Damage(
        "things and stuff exchanged",
        edited(FLOAT_APP, columns([3, 4, 5, 0, 1, 2, _VOID])),
        "artifacts",
        (FLOAT_APP, "things and stuff exchanged"),
    ),
    Damage(
        "wrong threshold",
        edited(FLOAT_GRAPH, thresholds_to(0.7)),
        "artifacts",
        (FLOAT_GRAPH, "wrong threshold", "thing_threshold is about 0.7"),
    ),
    Damage(
        "lost layer",
        edited(FLOAT_GRAPH, weights("backbone.stages.1.0.weight", by=lambda x: 0 * x)),
        "artifacts",
        (FLOAT_GRAPH, "lost layer", "backbone.stages.1.0"),
    ),
    Damage("weights of another run", edited(FLOAT_GRAPH, other_run), "artifacts", (FLOAT_GRAPH, "other weights")),
    Damage(
        "class logits doubled",
        edited(FLOAT_GRAPH, weights("head.classify.bias", "head.classify.weight", by=lambda x: 2 * x)),
        "artifacts",
        (FLOAT_GRAPH, "wrong scale", "class logits are 2 times"),
    ),
    Damage(
        "mask logits doubled",
        edited(FLOAT_APP, weights(*MASK_SCALE, by=lambda x: 2 * x)),
        "artifacts",
        (FLOAT_APP, "wrong scale", "mask logits are 2.00 times"),
    ),
    Damage("truncated", cut(FLOAT_GRAPH, 0.6), "artifacts", (FLOAT_GRAPH, "truncated or damaged file")),
    Damage("truncated after export", cut(FLOAT_GRAPH, 0.6), "files", (FLOAT_GRAPH, "truncated"), is_forged=False),
    Damage("bytes flipped", flipped(FLOAT_APP, first=0.0), "artifacts", (FLOAT_APP, "cannot load")),
    Damage(
        "bytes flipped after export", flipped(FLOAT_APP, first=0.5), "files", (FLOAT_APP, "changed"), is_forged=False
    ),
    Damage("missing", lambda path: (path / FLOAT_APP).unlink(), "files", (FLOAT_APP, "missing"), is_forged=False),
    Damage(
        "another artifact's bytes",
        lambda path: shutil.copy(path / INT8_GRAPH, path / FLOAT_GRAPH) and None,
        "files",
        (INT8_GRAPH, FLOAT_GRAPH, "bytes"),
    ),
    Damage(
        "int8 under the name of float32",
        renamed(INT8_GRAPH, FLOAT_GRAPH),
        "artifacts",
        (FLOAT_GRAPH, "wrong file", "int8"),
    ),
    Damage(
        "float32 under the name of int8",
        renamed(FLOAT_GRAPH, INT8_GRAPH),
        "artifacts",
        (INT8_GRAPH, "wrong file", "float32"),
    ),
    Damage(
        "app's file in the place of the graph's",
        renamed(FLOAT_APP, FLOAT_GRAPH),
        "artifacts",
        (FLOAT_GRAPH, "wrong file", "mask_logits"),
    ),
    Damage(
        "a picture in the place of a network",
        lambda path: shutil.copy(path / "golden" / "000.png", path / FLOAT_GRAPH) and None,
        "artifacts",
        (FLOAT_GRAPH, "wrong file", "not an ONNX model"),
    ),
    Damage(
        "stale golden answers",
        golden_of(lambda: lively_network(seed=1), keep_logits=True),
        "golden",
        ("stale golden", "float32", "own logits"),
    ),
    Damage(
        "stale golden answers and logits",
        golden_of(lambda: lively_network(seed=1), keep_logits=False),
        "golden",
        ("stale golden", "float32", WEIGHTS),
    ),
    Damage("weights file of another run", weights_of_another_run, "golden", ("weights of another run", WEIGHTS)),
    Damage("truncated golden answers", cut("golden/001.float32.npz", 0.5), "golden", ("float32", "cannot be read")),
)
