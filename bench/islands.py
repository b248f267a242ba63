"""Which operators of a network must not be half in Core ML: python -m edgeseg.bench.islands RUN

A float32 ML program is run in the interpreter as if all its operators were half but for one group at a time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from edgeseg.bench.refusals import refusals
from edgeseg.config import MergeConfig
from edgeseg.data.loader import evenly_spaced
from edgeseg.data.sets import open_dataset
from edgeseg.data.transforms import letterbox
from edgeseg.engine.checkpoint import load_checkpoint
from edgeseg.export.captured import silenced
from edgeseg.export.golden import Golden
from edgeseg.export.graph import DeployedGraph
from edgeseg.export.mil_interpreter import Arithmetic, MilProgram
from edgeseg.export.mil_islands import island_of
from edgeseg.export.plan import FLOAT, Job
from edgeseg.export.program import Conversions, export_program
from edgeseg.export.reference import torch_answers
from edgeseg.export.runtimes import get_runtime
from edgeseg.export.verify import equal_pixels, to_merged
from edgeseg.quantize.fold import fold

_BEFORE_CEIL = 10  # operators from the product of queries and pixels to the choice


def _is_assignment(operation: Any, depth: int = _BEFORE_CEIL) -> bool:
    """Whether a rounding up follows before the next product; only the k-means assignment has one."""
    if operation.op_type == "ceil":
        return True
    users = [user for output in operation.outputs for user in output.child_ops]
    products = {"conv", "linear", "matmul"}
    return depth > 0 and any(user.op_type not in products and _is_assignment(user, depth - 1) for user in users)


GROUPS: dict[str, Callable[[Any], bool]] = {
    "nothing": lambda operation: False,
    "normalisation": lambda operation: island_of(operation) == "normalisation",
    "averages": lambda operation: island_of(operation) == "averages",
    "k-means assignment": lambda operation: (
        operation.op_type in ("matmul", "mul", "add", "ceil") and _is_assignment(operation)
    ),
    "islands": lambda operation: bool(island_of(operation)),
    "islands and assignment": lambda operation: bool(island_of(operation)) or GROUPS["k-means assignment"](operation),
}
"""What stays float32, by name; `islands` is what export keeps."""


ARITHMETICS: tuple[Arithmetic, ...] = ("typed", "narrow")


class _Judge(NamedTuple):
    """What turns logits into a map."""

    merge: MergeConfig
    is_thing: list[bool]


def _all_but(kept: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda operation: not kept(operation)


def _score(program: MilProgram, goldens: Sequence[Golden], arithmetic: Arithmetic, judge: _Judge) -> str:
    """Cells of a row: mean and worst share of equal pixels, largest difference of a mask logit."""
    equal, differences = [], []
    for golden in goldens:
        outputs = program.run(golden.image.transpose(2, 0, 1)[None].astype(np.float32), arithmetic=arithmetic)
        differences.append(float(np.abs(outputs["mask_logits"][0] - golden.mask_logits).max()))
        merged = to_merged(outputs, config=judge.merge, is_thing=judge.is_thing)
        equal.append(float(equal_pixels(merged, golden.merged).mean()))
    return f"{np.mean(equal):.5f} | {min(equal):.5f} | {max(differences):.2g}"


def _main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m edgeseg.bench.islands", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--groups", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    checkpoint = load_checkpoint(args.run)
    size = checkpoint.config.data.image_size
    judge = _Judge(checkpoint.config.merge, [category.is_thing for category in checkpoint.categories])
    val = open_dataset(args.data or Path(str(checkpoint.config.data.root)), "val", "auto")
    images = [letterbox(val[i].image, size)[0] for i in evenly_spaced(args.images, len(val))]
    network = fold(checkpoint.model().deployable(), torch.zeros(1, 3, *size))
    goldens = torch_answers(network, images, config=judge.merge, is_thing=judge.is_thing)
    graph = DeployedGraph(network, merge="app", config=judge.merge, is_thing=judge.is_thing)
    print("| kept float32 | sums | pixels equal | worst image | mask logits |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder, Conversions(Path(folder), Path(folder), num_workers=1) as conversions:
        runtime, path = get_runtime("coreml"), Path(folder) / "a.mlpackage"
        job = Job(runtime, FLOAT, FLOAT, "app", path.name)
        conversions.submit(export_program(graph, runtime, size), job, path).result()
        for name in args.groups:
            with silenced():
                program = MilProgram(path, as_if_half=_all_but(GROUPS[name]))
            for arithmetic in ARITHMETICS:
                print(f"| {name} | {arithmetic} | {_score(program, goldens, arithmetic, judge)} |", flush=True)


if __name__ == "__main__":
    with refusals():
        _main(sys.argv[1:])
