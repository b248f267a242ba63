"""Images a second of the training loader, against decoding the same files and nothing else.

python -m edgeseg.bench.loading_speed

Makes a COCO-sized set (480 x 640 JPEG + panoptic PNG) in a temporary folder and takes all ways in turns, several times.
On one core the clock is the thread's own CPU time, with workers it is the wall's. Of each way the fastest turn counts,
which other programs on the machine disturb least.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import psutil
import torch
import tyro
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from edgeseg.bench.machine import this_machine
from edgeseg.bench.refusals import refusals
from edgeseg.config import DataConfig
from edgeseg.data.augment import augment
from edgeseg.data.coco_panoptic import PanopticFolder, write_panoptic
from edgeseg.data.loader import train_loader
from edgeseg.data.panoptic_png import IdReader
from edgeseg.data.photo import read_image
from edgeseg.data.street import STREET_CATEGORIES, render_street
from edgeseg.data.worker import keep_freed_memory
from edgeseg.structures import Batch, Sample, Segment

COCO_SIZE = (480, 640)
JPEG_QUALITY = 92
GRAIN, GRAIN_WIDTH = 36.0, 0.7
"""Grey levels and pixels of the camera grain that street scenes lack; with it files are as heavy as COCO's, whose
train2017 packs 118 287 JPEGs into 18 GB."""


@dataclass(frozen=True)
class LoadingArgs:
    """What is measured."""

    images: int = 24
    """Files of the set, and images of each turn."""
    rounds: int = 15
    """Turns."""
    workers: int = 2
    """Loader processes of the second part."""
    size: tuple[int, int] = (641, 641)
    """Network input (height, width)."""


def main(args: LoadingArgs) -> None:
    """Prints the table."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    keep_freed_memory()  # as in a loader process
    machine = this_machine()
    with tempfile.TemporaryDirectory() as name:
        folder = make_set(Path(name), args.images)
        jpeg, png = (
            statistics.mean(p.stat().st_size for p in paths) / 1000 for paths in zip(*files(folder), strict=True)
        )
        print(f"{machine.name}, {machine.cores} cores; {args.images} x JPEG of {jpeg:.0f} kB and PNG of {png:.0f} kB")
        config = DataConfig(image_size=args.size, batch_size=8, num_workers=0, min_scale=0.1, max_scale=2.0)
        ways = one_core_ways(folder, config, args.images)
        show(f"one core, {args.size[0]} x {args.size[1]}", in_turns(ways, time.thread_time, args.rounds), args.images)
        config = dataclasses.replace(config, num_workers=args.workers)
        ways = worker_ways(folder, config, args.images)
        show(f"{args.workers} workers", in_turns(ways, time.perf_counter, args.rounds), args.images)
        print(f"memory of a worker: {max(worker_memory_mib(folder, config)):.0f} MiB of its own (USS)")
    streets: dict[str, Callable[[], object]] = {
        "street scene 256": lambda: [render_street(1, i, size=(256, 256)) for i in range(args.images)]
    }
    show("drawn instead of read", in_turns(streets, time.thread_time, args.rounds), args.images)


def one_core_ways(folder: PanopticFolder, config: DataConfig, count: int) -> dict[str, Callable[[], object]]:
    """What is compared in one process; the first is the yardstick."""
    samples = [folder[index] for index in range(count)]
    pasting = dataclasses.replace(config, copy_paste=0.5)
    torchvision = torchvision_transform(config.image_size)
    return {
        "decode JPEG + PNG": lambda: [(read_image(jpeg), IdReader().read(png)) for jpeg, png in files(folder)],
        "decode both with Pillow": lambda: [(read_image(jpeg), read_image(png)) for jpeg, png in files(folder)],
        "decode, check + number ids": lambda: [folder.numbered(index).photo.pixels() for index in range(count)],
        "decode, count areas + boxes": lambda: [folder[index] for index in range(count)],
        "loader": lambda: list(batches(folder, config, count)),
        "loader, copy-paste 0.5": lambda: list(batches(folder, pasting, count)),
        "augment only": lambda: [augmented(sample, config, index) for index, sample in enumerate(samples)],
        "augment only, torchvision v2": lambda: [with_torchvision(sample, torchvision) for sample in samples],
    }


def worker_ways(folder: PanopticFolder, config: DataConfig, count: int) -> dict[str, Callable[[], object]]:
    """What is compared with loader processes; starting them counts for both."""
    decoding = DataLoader(DecodeOnly(folder), batch_size=config.batch_size, num_workers=config.num_workers)
    return {"decode JPEG + PNG": lambda: list(decoding), "loader": lambda: list(batches(folder, config, count))}


def in_turns(ways: dict[str, Callable[[], object]], clock: Callable[[], float], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            began = clock()
            way()
            if turn:
                seconds[name].append(clock() - began)
    return seconds


def show(title: str, seconds: dict[str, list[float]], count: int) -> None:
    """Prints images a second and the share of the first way's rate."""
    best = {name: min(own) / count for name, own in seconds.items()}
    yardstick = next(iter(best.values()))
    print(f"\n{title:<32}{'images/s':>9}{'ms/image':>10}{'share':>8}")
    for name, each in best.items():
        print(f"{name:<32}{1 / each:9.0f}{1000 * each:10.2f}{yardstick / each:8.2f}")


class DecodeOnly(Dataset[int]):
    """Decodes a JPEG and its PNG, and gives back nothing of them."""

    def __init__(self, folder: PanopticFolder) -> None:
        self._files = files(folder)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> int:
        jpeg, png = self._files[index]
        read_image(jpeg)
        IdReader().read(png)
        return index


def batches(folder: PanopticFolder, config: DataConfig, count: int) -> Iterator[Batch]:
    """One pass over the set."""
    steps = count // config.batch_size
    return train_loader(folder, STREET_CATEGORIES, config, seed=0, start_step=0, num_steps=steps)


def augmented(sample: Sample, config: DataConfig, index: int) -> object:
    """Ours, on a decoded sample."""
    return augment(sample.image, sample.panoptic_map, np.random.default_rng(index), config)


def torchvision_transform(size: tuple[int, int]) -> v2.Transform:
    """The same steps with torchvision's transforms."""
    return v2.Compose(
        [
            v2.ScaleJitter(size, (0.1, 2.0)),
            v2.RandomCrop(size, pad_if_needed=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.2, 0.2),
        ]
    )


def with_torchvision(sample: Sample, transform: v2.Transform) -> object:
    """Theirs, on a decoded sample."""
    image = tv_tensors.Image(torch.from_numpy(sample.image).permute(2, 0, 1))
    return transform(image, tv_tensors.Mask(torch.from_numpy(sample.panoptic_map)))


def worker_memory_mib(folder: PanopticFolder, config: DataConfig) -> list[float]:
    """Memory that each loader process shares with no other, in the middle of a run."""
    before = set(psutil.Process().children())
    running = batches(folder, config, 1 << 20)
    for _ in range(2 * config.num_workers):
        next(running)
    return [child.memory_full_info().uss / 2**20 for child in set(psutil.Process().children()) - before]


def make_set(root: Path, count: int) -> PanopticFolder:
    """Writes street scenes with a camera's grain in COCO panoptic layout."""
    (root / "train").mkdir(parents=True)

    def results() -> Iterator[tuple[int, str, NDArray[np.int32], Sequence[Segment]]]:
        for index in range(count):
            scene = render_street(0, index, size=COCO_SIZE)
            grain = np.random.default_rng(index).normal(0, GRAIN, scene.image.shape).astype(np.float32)
            grainy = scene.image + cv2.GaussianBlur(grain, (0, 0), GRAIN_WIDTH)
            path = root / "train" / f"{index:012d}.jpg"
            Image.fromarray(np.clip(grainy, 0, 255).astype(np.uint8)).save(path, quality=JPEG_QUALITY)
            yield index, path.name, scene.panoptic_map, scene.segments

    annotations = root / "annotations"
    write_panoptic(
        annotations / "panoptic_train.json", annotations / "panoptic_train", results(), categories=STREET_CATEGORIES
    )
    return PanopticFolder.open(root, "train")


def files(folder: PanopticFolder) -> list[tuple[Path, Path]]:
    """JPEG and PNG of each image."""
    return [(p, folder.png_folder / f"{p.stem}.png") for p in sorted(folder.image_folder.iterdir())]


if __name__ == "__main__":
    with refusals():
        main(tyro.cli(LoadingArgs, description=__doc__))
