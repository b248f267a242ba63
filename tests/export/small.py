"""A small bundle of real conversions, made in seconds: random weights whose slots disagree."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn

import edgeseg.bench.spec_bundle as spec
from edgeseg.config import DataConfig, MergeConfig, config_to_dict
from edgeseg.export.bundle import WEIGHTS, Artifact, Bundle, Verdict, checksum, size_bytes, to_table
from edgeseg.export.golden import write_golden
from edgeseg.export.graph import DeployedGraph
from edgeseg.export.program import export_program
from edgeseg.export.reference import torch_answers
from edgeseg.export.runtimes import OUTPUT_NAMES, Coverage, MergeMode, Runtime, get_runtime
from edgeseg.models import build_model
from edgeseg.quantize.fold import fold
from tests.export.toy import toy_images

SIZE = (64, 96)
CATEGORIES = spec.SHAPES
IS_THING = [category.is_thing for category in CATEGORIES]
CONFIG = replace(
    spec.config(Path()),
    data=DataConfig(image_size=SIZE),
    merge=MergeConfig(thing_threshold=0.25, stuff_threshold=0.2, min_area=8, upsample=2),
)
IMAGES = toy_images(4, SIZE, seed=9)


def lively_network(seed: int = 0, size: tuple[int, int] = SIZE) -> nn.Module:
    """Random weights whose slots disagree, norms having seen images: float32 (1, 3, H, W) -> Slots, as it is traced."""
    torch.manual_seed(seed)
    model = build_model(CONFIG.model, IS_THING, size).train()
    batch = torch.from_numpy(np.stack(toy_images(8, size, seed=1))).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        for _ in range(30):
            model(batch)
        class_logits, mask_logits = model.eval()(batch)
        classify, norm = model.get_submodule("head.classify"), model.get_submodule("head.cluster.norm")
        gain = 3 / class_logits.std(1).mean()
        classify.bias -= class_logits.mean((0, 1))
        classify.weight *= gain
        classify.bias *= gain
        norm.weight *= 2 / mask_logits.std()
    return fold(model.deployable(), batch[:1]).requires_grad_(False)


def coarser(network: nn.Module) -> nn.Module:
    """A copy whose weights are rounded to 13 bits: stands for a second precision, 0.995 of the pixels equal."""
    copied = copy.deepcopy(network)
    for parameter in copied.parameters():
        step = parameter.abs().max().clamp_min(1e-12) / 4095
        parameter.copy_((parameter / step).round() * step)
    return copied


def convert_here(
    network: nn.Module, runtime: Runtime, merge: MergeMode, path: Path, *, size: tuple[int, int] = SIZE
) -> None:
    """What `program.convert` does in a child, here: a child would first spend seconds on importing."""
    graph = DeployedGraph(network, merge=merge, config=CONFIG.merge, is_thing=IS_THING)
    runtime.convert(export_program(graph, runtime, size), OUTPUT_NAMES[merge], path, precision="float32")


def write_bundle(
    path: Path,
    networks: Mapping[str, nn.Module],
    artifacts: Sequence[tuple[str, str, MergeMode]],
    *,
    exported: nn.Module | None = None,
    size: tuple[int, int] = SIZE,
) -> None:
    """A bundle of artifacts given as (runtime, precision, merge).

    Args:
        path: Folder to make.
        networks: By precision; give the golden answers and the weights.
        artifacts: What to convert.
        exported: Converted in the place of the networks, for images of `size`.
        size: (height, width) of its input.
    """
    path.mkdir()
    goldens = {
        name: torch_answers(net, IMAGES, config=CONFIG.merge, is_thing=IS_THING) for name, net in networks.items()
    }
    listed = write_golden(path, goldens)
    weights = {f"{name}.{key}": t.contiguous() for name, net in networks.items() for key, t in net.state_dict().items()}
    safetensors.torch.save_file(weights, path / WEIGHTS)
    made = []
    for name, precision, merge in artifacts:
        runtime = get_runtime(name)
        file = path / f"small-64x96.{precision}.{name}.{merge}{runtime.suffix}"
        convert_here(exported or networks[precision], runtime, merge, file, size=size)
        made.append((file.name, runtime, precision, merge))
    bundle = Bundle(
        path=path,
        name="small",
        image_size=SIZE,
        num_slots=CONFIG.model.num_queries,
        categories=CATEGORIES,
        merge=CONFIG.merge,
        config=config_to_dict(CONFIG),
        metrics={},
        tools={},
        licence="Apache-2.0",
        artifacts=tuple(_artifact(path / file, *rest) for file, *rest in made),
        goldens=listed,
    )
    loose = [p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()]
    files = {name: checksum(path / name) for name in loose if name.startswith("golden/") or name == WEIGHTS}
    (path / "bundle.json").write_text(json.dumps(to_table(bundle, files=files)))


def _artifact(path: Path, runtime: Runtime, precision: str, merge: MergeMode) -> Artifact:
    return Artifact(
        file=path.name,
        runtime=runtime.name,
        precision=precision,
        merge=merge,
        input=runtime.input,
        bytes=size_bytes(path),
        sha256=checksum(path),
        coverage=Coverage("CPU", 1, {}, {}),
        verify=Verdict(1.0, 1.0, 1, 1, None, "none"),
    )


def forge(path: Path) -> None:
    """Writes checksums and sizes anew, as if the damage had been there when the bundle was exported."""
    file = path / "bundle.json"
    table = json.loads(file.read_text())
    for row in table["artifacts"]:
        row |= {"sha256": checksum(path / row["file"]), "bytes": size_bytes(path / row["file"])}
    table["files"] = {name: checksum(path / name) for name in table["files"]}
    file.write_text(json.dumps(table))


def small_bundle(path: Path) -> Path:
    """Two precisions through ONNX Runtime, float32 with both merges."""
    networks = {"float32": lively_network()}
    networks["int8"] = coarser(networks["float32"])
    write_bundle(path, networks, [("onnx", "float32", "graph"), ("onnx", "float32", "app"), ("onnx", "int8", "graph")])
    return path
