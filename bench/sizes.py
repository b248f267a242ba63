"""Bytes of a network in every form: python -m edgeseg.bench.sizes [CHECKPOINT]

A form's size does not depend on what weights say, so nothing is trained: the checkpoint's network, or the default one
with random weights, is calibrated on smooth noise and converted. Prints the table of docs/ternary.md.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors.torch
import torch
from torch import nn
from torch.nn import functional as F

from edgeseg.bench.refusals import refusals
from edgeseg.config import Config
from edgeseg.engine.checkpoint import load_checkpoint
from edgeseg.export.bundle import WEIGHTS, size_bytes
from edgeseg.export.graph import DeployedGraph
from edgeseg.export.pack import pack
from edgeseg.export.plan import FLOAT, Job
from edgeseg.export.program import Conversions, export_program
from edgeseg.export.runtimes import get_runtime
from edgeseg.models import build_model
from edgeseg.quantize.deploy import deploy
from edgeseg.quantize.fold import fold
from edgeseg.quantize.packed import pack_state
from edgeseg.quantize.qat import quantize
from edgeseg.quantize.recipes import RECIPES

FILES = (
    *((runtime, precision) for precision in (FLOAT, "int8-full") for runtime in ("executorch", "litert", "onnx")),
    ("litert-small", "int4"),
    ("litert-small", "ternary"),
    ("onnx-small", "ternary"),
    ("coreml", "ternary"),
)
PACKED = "edgeseg pack"


@dataclass(frozen=True)
class Size:
    """What one form takes.

    Attributes:
        form: Runtime or file.
        precision: Of its weights.
        bytes: Of the file, or of the package's files.
        share: Of the runtime's file in float32; None where that was not made.
    """

    form: str
    precision: str
    bytes: int
    share: float | None


def measure(
    model: nn.Module, config: Config, num_categories: int, files: Sequence[tuple[str, str]] = FILES
) -> Iterator[Size]:
    """Converts one form after the other.

    Args:
        model: Float `SlotsModel.deployable()`.
        config: Gives the image size and the merge.
        num_categories: That the network tells apart.
        files: Runtime and precision of each; the ternary container comes last, float32 before what is compared with it.
    """
    is_thing = [True] * num_categories
    image = torch.zeros(1, 3, *config.data.image_size)
    networks: dict[str, nn.Module] = {FLOAT: fold(model, image)}
    floats: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as name, Conversions(Path(name), Path(name), num_workers=1) as conversions:
        for form, precision in files:
            if precision not in networks:
                networks[precision] = _integer(model, precision, config.data.image_size)
            runtime = get_runtime(form)
            path = Path(name) / f"{form}.{precision}{runtime.suffix}"
            graph = DeployedGraph(networks[precision], merge="app", config=config.merge, is_thing=is_thing)
            program = export_program(graph, runtime, config.data.image_size)
            conversions.submit(program, Job(runtime, precision, precision, "app", path.name), path).result()
            size = size_bytes(path)
            if precision == FLOAT:
                floats[form] = size
            in_float = floats.get(form.removesuffix("-small"))
            yield Size(form, precision, size, size / in_float if in_float else None)
    for precision in dict.fromkeys(precision for _, precision in files if precision in (FLOAT, "ternary")):
        content = safetensors.torch.save(pack_state(networks[precision].state_dict()))
        floats.setdefault(WEIGHTS, len(content))
        yield Size(WEIGHTS, precision, len(content), len(content) / floats[WEIGHTS])
        if precision == "ternary":
            packed = len(pack(content))
            yield Size(f"{WEIGHTS}, {PACKED}", precision, packed, packed / floats[WEIGHTS])


def _integer(model: nn.Module, precision: str, size: tuple[int, int]) -> nn.Module:
    """Calibrated, not trained."""
    torch.manual_seed(0)
    coarse = torch.rand(4, 3, 6, 6) * 255
    images = F.interpolate(coarse, size=size, mode="bicubic", align_corners=False).clamp(0, 255)
    recipe = replace(
        RECIPES[precision], qat_steps=0, qat_free_fraction=0.0, qat_gradual_fraction=0.0, qat_ema_decay=0.0
    )
    return deploy(quantize(copy.deepcopy(model), recipe, calibration=[images]))


def table(sizes: Sequence[Size]) -> str:
    """In Markdown."""
    lines = ["| form | weights | bytes | of float32 |", "|---|---|---|---|"]
    for row in sizes:
        share = "" if row.share is None else f"{row.share:.3f}"
        lines.append(f"| {row.form} | {row.precision} | {row.bytes:,} | {share} |")
    return "\n".join(lines)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, nargs="?")
    parser.add_argument("--only", nargs="+", default=[], help="RUNTIME:PRECISION, such as coreml:ternary")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.checkpoint:
        checkpoint = load_checkpoint(arguments.checkpoint)
        config, categories, model = checkpoint.config, len(checkpoint.categories), checkpoint.model()
    else:
        torch.manual_seed(0)
        config, categories = Config(), 16
        model = build_model(config.model, [True] * categories, config.data.image_size).eval()
    network = model.deployable()
    files = [(form, precision) for form, _, precision in (word.partition(":") for word in arguments.only)]
    height, width = config.data.image_size
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters, {height}x{width}, {categories} categories\n")
    found = []
    for size in measure(network, config, categories, files or FILES):
        found.append(size)
        print(f"{size.form} {size.precision} {size.bytes:,}", flush=True)
    print("\n" + table(found))


if __name__ == "__main__":
    with refusals():
        _main()
