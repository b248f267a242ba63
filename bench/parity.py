"""How close each runtime's file is to torch, size by size: python -m edgeseg.bench.parity RUN --sizes 256x256 640x640

Files leave the merge to the app, so logits can be compared; maps are made of them by the numpy merge.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgeseg.bench.refusals import refusals
from edgeseg.config import MergeConfig
from edgeseg.data.loader import evenly_spaced
from edgeseg.data.sets import open_dataset
from edgeseg.data.transforms import letterbox
from edgeseg.engine.checkpoint import Checkpoint, load_checkpoint
from edgeseg.export.bundle import size_bytes
from edgeseg.export.golden import Golden
from edgeseg.export.graph import DeployedGraph
from edgeseg.export.mil_interpreter import MilProgram
from edgeseg.export.plan import FLOAT, Job
from edgeseg.export.program import Conversions, export_program
from edgeseg.export.reference import torch_answers
from edgeseg.export.runtimes import Predict, get_runtime, runtime_names
from edgeseg.export.verify import MASK_LOGITS_CEILING, equal_pixels, to_merged
from edgeseg.quantize.fold import fold
from edgeseg.structures import InputError


@dataclass(frozen=True)
class Parity:
    """One file against torch on some images.

    Attributes:
        runtime: Registry name; `coreml (narrow)` is the same file with half-precision accumulators.
        precision: Of the file.
        size: (height, width).
        num_images: Compared.
        num_segments: In torch's answers.
        mask_logits_max_abs: Largest difference.
        images_within: Whose mask logits all differ by no more than verify allows a float32 file.
        class_logits_max_abs: Largest difference.
        pixels_equal: Mean share over images.
        pixels_equal_worst: Of the worst image.
        bytes: Of the file.
    """

    runtime: str
    precision: str
    size: tuple[int, int]
    num_images: int
    num_segments: int
    mask_logits_max_abs: float
    images_within: int
    class_logits_max_abs: float
    pixels_equal: float
    pixels_equal_worst: float
    bytes: int


def measure(
    checkpoint: Checkpoint,
    size: tuple[int, int],
    files: Sequence[tuple[str, str]],
    images: Sequence[NDArray[np.uint8]],
    folder: Path,
) -> Iterator[Parity]:
    """Converts, runs and compares; a file that is in the folder already is taken as it is.

    The first row is torch in float64: what float32 itself loses, below which no file can be held to float32.

    Args:
        checkpoint: A float run.
        size: (height, width) of the network's input.
        files: Runtime and precision of each; what a runtime refuses is left out.
        images: (height, width, 3) uint8.
        folder: For the files.
    """
    config = replace(checkpoint.config, data=replace(checkpoint.config.data, image_size=size))
    is_thing = [category.is_thing for category in checkpoint.categories]
    network = fold(replace(checkpoint, config=config).model().deployable(), torch.zeros(1, 3, *size))
    goldens = torch_answers(network, images, config=config.merge, is_thing=is_thing)

    def compared(name: str, precision: str, path: Path, predict: Predict) -> Parity:
        return compare(
            name, precision, size, goldens, predict, config.merge, is_thing, size_bytes(path) if path.name else 0
        )

    yield compared("torch (float64)", "float64", Path(), _double(network))
    with tempfile.TemporaryDirectory(dir=folder) as work, Conversions(Path(work), folder, num_workers=1) as conversions:
        for name, precision in files:
            runtime = get_runtime(name)
            if runtime.refusal(precision, "app"):
                continue
            path = folder / f"{size[0]}x{size[1]}.{precision}.{name}{runtime.suffix}"
            if not path.exists():
                graph = DeployedGraph(network, merge="app", config=config.merge, is_thing=is_thing)
                job = Job(runtime, precision, FLOAT, "app", path.name)
                conversions.submit(export_program(graph, runtime, size), job, path).result()
            yield compared(name, precision, path, runtime.load(path))
            if runtime.suffix == ".mlpackage" and precision != FLOAT:
                yield compared(f"{name} (narrow)", precision, path, _narrow(MilProgram(path)))


def _double(network: nn.Module) -> Predict:
    double = copy.deepcopy(network).double()

    @torch.inference_mode()
    def predict(image: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
        classes, masks = double(torch.from_numpy(image).permute(0, 3, 1, 2).double())
        return {"mask_logits": masks.numpy(), "class_logits": classes.numpy()}

    return predict


def _narrow(program: MilProgram) -> Predict:
    return lambda image: program.run(image.transpose(0, 3, 1, 2).astype(np.float32), arithmetic="narrow")


def compare(
    name: str,
    precision: str,
    size: tuple[int, int],
    goldens: Sequence[Golden],
    predict: Predict,
    merge: MergeConfig,
    is_thing: Sequence[bool],
    num_bytes: int,
) -> Parity:
    """One file's answers against torch's.

    Args:
        name: Of the runtime.
        precision: Of the file.
        size: (height, width).
        goldens: Images with torch's answers, logits included.
        predict: The file.
        merge: How logits become a map.
        is_thing: By category.
        num_bytes: Of the file.
    """
    masks, classes, equal = [], [], []
    for golden in goldens:
        outputs = predict(golden.image[None])
        masks.append(float(np.abs(outputs["mask_logits"][0] - golden.mask_logits).max()))
        classes.append(float(np.abs(outputs["class_logits"][0] - golden.class_logits).max()))
        merged = to_merged(outputs, config=merge, is_thing=is_thing)
        equal.append(float(equal_pixels(merged, golden.merged).mean()))
    num_segments = sum(int((golden.merged.slot_category >= 0).sum()) for golden in goldens)
    return Parity(
        name,
        precision,
        size,
        len(goldens),
        num_segments,
        max(masks),
        sum(mask <= MASK_LOGITS_CEILING for mask in masks),
        max(classes),
        float(np.mean(equal)),
        min(equal),
        num_bytes,
    )


def _size(text: str) -> tuple[int, int]:
    sides = text.split("x")
    if len(sides) != 2 or not all(side.isdecimal() for side in sides):
        raise InputError(f"size {text!r} is not HEIGHTxWIDTH, as 256x256")
    return int(sides[0]), int(sides[1])


def _main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m edgeseg.bench.parity", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--sizes", nargs="+", default=["256x256", "640x640"])
    parser.add_argument("--runtimes", nargs="+", default=runtime_names())
    parser.add_argument("--precisions", nargs="+", default=["float32", "float16"])
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--folder", type=Path, help="where files are kept and taken from")
    parser.add_argument("--json", type=Path, help="append a line per row")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    checkpoint = load_checkpoint(args.run)
    val = open_dataset(args.data or Path(str(checkpoint.config.data.root)), "val", "auto")
    files = [
        (name, precision)
        for name in args.runtimes
        for precision in args.precisions
        if precision in get_runtime(name).precisions
    ]
    print("| size | runtime | precision | mask logits | images within | class logits | pixels equal ", end="")
    print("| worst image | bytes |\n" + "|---" * 9 + "|", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for size in map(_size, args.sizes):
            picked = [val[i].image for i in evenly_spaced(args.images, len(val))]
            images = [letterbox(image, size)[0] for image in picked]
            for row in measure(checkpoint, size, files, images, folder):
                print(
                    f"| {size[0]}x{size[1]} | {row.runtime} | {row.precision} | {row.mask_logits_max_abs:.1e} | "
                    f"{row.images_within} of {row.num_images} | "
                    f"{row.class_logits_max_abs:.1e} | {row.pixels_equal:.6f} | {row.pixels_equal_worst:.6f} | "
                    f"{row.bytes:,} |",
                    flush=True,
                )
                if args.json:
                    with args.json.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(asdict(row)) + "\n")


if __name__ == "__main__":
    with refusals():
        _main(sys.argv[1:])
