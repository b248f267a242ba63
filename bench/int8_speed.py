"""What int8 buys in time: the network with hard-swish and 5x5 kernels, and the one made for integers.

python -m edgeseg.bench.int8_speed

Both are built at 256 x 256 with 64 slots and random weights (a time does not depend on them), exported as float32 and
with the recipe, and run in turns in this process on one thread. Times are of the process' clock, which other programs
on the machine disturb less than the wall's; a block is the fastest of a few calls.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro

from edgeseg.bench.machine import this_machine
from edgeseg.bench.paired_ratio import PairedRatio, paired_ratio
from edgeseg.bench.refusals import refusals
from edgeseg.config import MergeConfig, ModelConfig
from edgeseg.export.captured import silenced
from edgeseg.export.graph import DeployedGraph
from edgeseg.export.program import export_program
from edgeseg.export.runtimes import Stages, get_runtime
from edgeseg.models import build_model
from edgeseg.quantize.calibrate import calibrate
from edgeseg.quantize.deploy import deploy
from edgeseg.quantize.fold import fold
from edgeseg.quantize.prepare import prepare
from edgeseg.quantize.recipes import find_recipe

IMAGE_SIZE = (256, 256)
IS_THING = (True,) * 8 + (False,) * 8
NETWORKS = {
    "hard-swish": ModelConfig(backbone="mobilenet_v3_small", mask_kernel=5),
    "for integers": ModelConfig(backbone="mobilenet_v3_small_minimalistic_x1_5", mask_kernel=3),
}


@dataclass(frozen=True)
class SpeedArgs:
    """What is compared."""

    runtimes: tuple[str, ...] = ("litert", "executorch")
    """Registered names."""
    recipe: str = "int8-full"
    """Quantization recipe; it is calibrated on noise, not trained."""
    blocks: int = 20
    """Turns of each file."""
    calls: int = 8
    """Calls of a block."""


@dataclass(frozen=True)
class Row:
    """One network in one runtime.

    Attributes:
        network: Key of NETWORKS.
        runtime: Registered name.
        float_ms: Median block of the float32 file.
        integer_ms: Of the quantized one.
        times_faster: float over quantized, from neighbouring blocks.
        low: Lower end of that ratio's interval; None with too few blocks.
        high: Upper end.
        against_hard_swish: The hard-swish float32 file's time over this quantized one's.
    """

    network: str
    runtime: str
    float_ms: float
    integer_ms: float
    times_faster: float
    low: float | None
    high: float | None
    against_hard_swish: float


def compare(args: SpeedArgs, folder: Path) -> Iterator[Row]:
    """Exports into a folder and times all files of a runtime in turns."""
    models = {name: _variants(config, args.recipe) for name, config in NETWORKS.items()}
    image = np.random.default_rng(0).integers(0, 256, (1, *IMAGE_SIZE, 3), dtype=np.uint8)
    for runtime in args.runtimes:
        stages = {
            (name, precision): _export(model, runtime, precision, folder / f"{name} {precision}")
            for name, variants in models.items()
            for precision, model in variants.items()
        }
        times = _take_turns(stages, image, args)
        for name in NETWORKS:
            quick, slow = times[name, args.recipe], times[name, "float32"]
            gain, overall = paired_ratio(quick, slow), paired_ratio(quick, times["hard-swish", "float32"])
            yield _row(name, runtime, slow, quick, gain, overall.ratio)


def _row(
    name: str, runtime: str, slow: list[float], quick: list[float], gain: PairedRatio, against_hard_swish: float
) -> Row:
    float_ms, integer_ms = float(np.median(slow)), float(np.median(quick))
    return Row(name, runtime, float_ms, integer_ms, gain.ratio, gain.low, gain.high, against_hard_swish)


def _variants(config: ModelConfig, recipe: str) -> dict[str, torch.nn.Module]:
    """The float and the quantized network."""
    torch.manual_seed(0)
    model = build_model(config, IS_THING, IMAGE_SIZE).train()
    for module in model.modules():  # branches that begin as nothing would have scales of nothing
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.0)
    noise = torch.rand(2, 3, *IMAGE_SIZE) * 255
    with torch.no_grad():
        for _ in range(3):
            model(noise)
    network = model.eval().deployable()
    prepared = prepare(network, replace(find_recipe(recipe), qat_steps=0), noise[:1])
    calibrate(prepared, [noise])
    return {"float32": fold(network, noise[:1]), recipe: deploy(prepared)}


def _export(model: torch.nn.Module, runtime_name: str, precision: str, stem: Path) -> Stages:
    runtime = get_runtime(runtime_name)
    graph = DeployedGraph(model, merge="app", config=MergeConfig(), is_thing=IS_THING)
    path = stem.with_suffix(runtime.suffix)
    program = export_program(graph, runtime, IMAGE_SIZE)
    with silenced():  # converters talk
        runtime.convert(program, ("class_logits", "mask_logits"), path, precision=precision)
    stages = runtime.load(path, num_threads=1)
    assert isinstance(stages, Stages)
    return stages


def _take_turns(
    stages: dict[tuple[str, str], Stages], image: np.ndarray, args: SpeedArgs
) -> dict[tuple[str, str], list[float]]:
    """Blocks in milliseconds of each, in an order drawn anew for every turn."""
    inputs = {key: stage.upload(image) for key, stage in stages.items()}
    times: dict[tuple[str, str], list[float]] = {key: [] for key in stages}
    order, random = list(stages), np.random.default_rng(0)
    for turn in range(args.blocks + 1):
        random.shuffle(order)
        for key in order:
            block = min(_call_ms(stages[key], inputs[key]) for _ in range(args.calls))
            if turn:  # the first warms up
                times[key].append(block)
    return times


def _call_ms(stage: Stages, uploaded: object) -> float:
    started = time.process_time_ns()
    stage.network(uploaded)
    return (time.process_time_ns() - started) / 1e6


def main(args: SpeedArgs) -> None:
    """Prints one JSON line for the machine and one for each network and runtime."""
    torch.set_num_threads(1)
    print(json.dumps(asdict(this_machine())))
    with tempfile.TemporaryDirectory() as folder:
        for row in compare(args, Path(folder)):
            print(json.dumps(asdict(row)), flush=True)


if __name__ == "__main__":
    with refusals():
        main(tyro.cli(SpeedArgs, description=__doc__))
