"""What the panoptic merge costs inside the graph: a network's files with it and without, timed in turns.

A process's calls differ from another's of the same file by as much as a small merge takes, so each file is opened by
several, and the median of them counts, each by its fastest call.

python -m edgeseg.bench.merge_in_graph
"""

from __future__ import annotations

import statistics
import tempfile
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tyro

from edgeseg.bench.measurement import Measurement
from edgeseg.bench.model_table import at_precision, describe_merge, settled, street_images
from edgeseg.bench.protocol import Target, measure
from edgeseg.bench.refusals import refusals
from edgeseg.cli_models import COCO_IS_THING
from edgeseg.config import Config
from edgeseg.display import progress
from edgeseg.export.bundle import DESCRIPTION, checksum
from edgeseg.export.graph import DeployedGraph
from edgeseg.export.plan import Job
from edgeseg.export.program import Conversions, export_program
from edgeseg.export.runtimes import MergeMode, get_runtime

_Choice = tuple[MergeMode, Literal[1, 2, 4]]  # where the merge is, and how much it enlarges


@dataclass(frozen=True)
class Args:
    """What to time."""

    size: tuple[int, int] = (256, 256)
    """Network input (height, width)."""
    head: str = Config().model.head
    """Registered head, on the default backbone."""
    queries: int = Config().model.num_queries
    """Slots."""
    upsample: tuple[Literal[1, 2, 4], ...] = (1, 2, 4)
    """Enlargements of the mask logits before the argmax."""
    runtimes: tuple[str, ...] = ("litert", "executorch", "onnx")
    """Runtimes that run here."""
    precisions: tuple[str, ...] = ("float32", "int8")
    """float32, or quantization recipes."""
    processes: int = 9
    """For each file."""
    seconds: float = 0.5
    """Timed calls in each process."""


def main(args: Args) -> None:
    """Converts, times and prints a table."""
    choices: list[_Choice] = [("app", 4), *(("graph", factor) for factor in args.upsample)]
    print(f"ms, one thread | {' | '.join(f'{mode} {factor}' for mode, factor in choices)}")
    with tempfile.TemporaryDirectory() as folder:
        targets = _convert(args, choices, Path(folder))
        with progress("processes", args.processes * len(targets)) as advance:
            timed = iter(
                measure(
                    targets,
                    threads=(1,),
                    seconds=args.seconds,
                    rounds=args.processes,
                    on_done=lambda target: advance(1),
                )
            )
        for precision in args.precisions:
            for runtime in args.runtimes:
                print(f"{precision} {runtime} | {_row([next(timed) for _ in choices])}")


def _row(timed: list[Measurement]) -> str:
    """The network's milliseconds, then those with the merge and what it adds."""
    network, *whole = (statistics.median(min(calls) for calls in each.samples_by_round) for each in timed)
    return " | ".join([f"{network:.2f}", *(f"{ms:.2f} ({ms / network - 1:+.0%})" for ms in whole)])


def _convert(args: Args, choices: list[_Choice], folder: Path) -> list[Target]:
    describe_merge(folder / DESCRIPTION, COCO_IS_THING)
    images = street_images(args.size)
    config = replace(Config().model, head=args.head, num_queries=args.queries)
    model = settled(config, COCO_IS_THING, args.size, images)
    made: list[tuple[Job, Path, Future[None]]] = []
    with Conversions(folder, folder, num_workers=2) as conversions:
        for precision in args.precisions:
            network = at_precision(model, precision, images)
            for runtime in map(get_runtime, args.runtimes):
                for mode, factor in choices:
                    merge = replace(Config().merge, upsample=factor)
                    graph = DeployedGraph(network, merge=mode, config=merge, is_thing=COCO_IS_THING)
                    path = folder / f"{precision}-{mode}-{factor}-{runtime.name}{runtime.suffix}"
                    job = Job(runtime, precision, precision, mode, path.name)
                    made.append((job, path, conversions.submit(export_program(graph, runtime, args.size), job, path)))
        with progress("files", len(made)) as advance:
            for _, path, conversion in made:
                conversion.result()
                advance(1, now=path.name)
    return [
        Target(path, "default", path.name, checksum(path), job.runtime.name, job.precision, job.merge, args.size)
        for job, path, _ in made
    ]


if __name__ == "__main__":
    with refusals():
        main(tyro.cli(Args))
