"""What delegates that cannot run here would take of a run's network: python -m edgeseg.bench.lowered RUN"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from edgeseg.bench.refusals import refusals
from edgeseg.engine.checkpoint import load_checkpoint
from edgeseg.export.graph import DeployedGraph
from edgeseg.export.lowering import TARGETS, VERDICT
from edgeseg.export.plan import FLOAT, Job
from edgeseg.export.program import Conversions, export_program
from edgeseg.export.runtimes import MergeMode, get_runtime
from edgeseg.quantize.fold import fold
from edgeseg.structures import CheckError


@dataclass(frozen=True)
class Lowered:
    """What came of lowering a network for a delegate.

    Attributes:
        target: Registry name.
        merge: Where the panoptic merge runs.
        bytes: Size of the file.
        num_delegates: Pieces handed over.
        outside: Operators left to portable kernels, with counts.
        refused: Why there is no file; empty where there is one.
    """

    target: str
    merge: MergeMode
    bytes: int = 0
    num_delegates: int = 0
    outside: tuple[tuple[str, int], ...] = ()
    refused: str = ""

    def __str__(self) -> str:
        if self.refused:
            return f"{self.target}, merge in the {self.merge}: {self.refused}"
        left = ", ".join(f"{count} {name}" for name, count in self.outside) or "nothing"
        return (
            f"{self.target}, merge in the {self.merge}: {self.num_delegates} pieces, outside {left}; "
            f"{self.bytes:,} bytes; {VERDICT}"
        )


def lower(run: Path, targets: Sequence[str], merges: Sequence[MergeMode]) -> Iterator[Lowered]:
    """Lowers a run's float network, target by target; minutes for Vulkan.

    Raises:
        InputError: No such run or target.
    """
    checkpoint = load_checkpoint(run)
    is_thing = [category.is_thing for category in checkpoint.categories]
    size = checkpoint.config.data.image_size
    network = fold(checkpoint.model().deployable(), torch.zeros(1, 3, *size))
    with tempfile.TemporaryDirectory() as folder, Conversions(Path(folder), Path(folder), num_workers=1) as conversions:
        for name in targets:
            runtime = get_runtime(name)
            for merge in merges:
                graph = DeployedGraph(network, merge=merge, config=checkpoint.config.merge, is_thing=is_thing)
                path = Path(folder) / f"{merge}{runtime.suffix}"
                job = Job(runtime, FLOAT, FLOAT, merge, path.name)
                try:
                    conversions.submit(export_program(graph, runtime, size), job, path).result()
                except CheckError as error:
                    yield Lowered(name, merge, refused=str(error).partition("; its log is ")[0])
                    continue
                coverage = runtime.describe(path)
                outside = tuple(sorted((coverage.outside or {}).items()))
                yield Lowered(name, merge, path.stat().st_size, coverage.num_delegates or 0, outside)


def _main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m edgeseg.bench.lowered", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--targets", nargs="+", default=[target.name for target in TARGETS])
    parser.add_argument("--merges", nargs="+", choices=("graph", "app"), default=("app", "graph"))
    args = parser.parse_args(argv)
    for row in lower(args.run, args.targets, args.merges):
        print(row, flush=True)


if __name__ == "__main__":
    with refusals():
        _main(sys.argv[1:])
