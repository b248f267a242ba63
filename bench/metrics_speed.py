"""Speed of panoptic quality over a folder: decoding alone, ours, panopticapi; each metric; processes; memory.

python -m edgeseg.bench.metrics_speed [--panopticapi CHECKOUT] [--pred P.json --gt G.json]
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import psutil
import tyro
from numpy.typing import NDArray
from PIL import Image

from edgeseg.bench.coco_like import make_coco_like, repeated
from edgeseg.bench.machine import this_machine
from edgeseg.bench.plain_pq import plain_pq
from edgeseg.bench.refusals import refusals
from edgeseg.data import panoptic_png
from edgeseg.data.panoptic_png import decode_rgb
from edgeseg.export.provenance import checkout_commit
from edgeseg.metrics.evaluation import METRICS
from edgeseg.metrics.folder import PredictedFolder
from edgeseg.structures import InputError

PEERS = "panopticapi restated, whole", "panopticapi, whole"
OURS, OURS_ON_PILLOW = "edgeseg, whole", "edgeseg on Pillow, whole"
_DECODER_OF = {OURS: "kornia_rs", OURS_ON_PILLOW: "Pillow"} | dict.fromkeys(PEERS, "Pillow")
FEW, MANY = 10, 80  # times that the folder is listed, for processes and memory; 80 x 64 images are COCO val's 5000


@dataclass(frozen=True)
class Folders:
    """Paths of a prediction and its truth; PNG folders lie beside their JSON."""

    pred: Path
    gt: Path

    def open(self) -> PredictedFolder:
        """Reads both JSON files."""
        return PredictedFolder.open(self.pred, self.pred.with_suffix(""), self.gt, self.gt.with_suffix(""))


@dataclass(frozen=True)
class Args:
    """Measures on a generated folder, or on your own."""

    pred: Path | None = None
    """A prediction's COCO panoptic JSON, its PNG folder beside it."""
    gt: Path | None = None
    """With --pred: the truth's."""
    images: int = 64
    """Images to generate otherwise."""
    rounds: int = 9
    """Rounds; in each every contestant runs once."""
    panopticapi: Path | None = None
    """Checkout of github.com/cocodataset/panopticapi to run beside; it is in no package index."""
    workers: tuple[int, ...] = (1, 2)
    """Numbers of processes to try."""


def main(args: Args) -> None:
    """Prints the tables."""
    if (args.pred is None) != (args.gt is None):
        raise InputError("--pred and --gt go together")
    machine = this_machine()
    print(f"{machine.name}, {machine.cores} cores, {machine.os}, commit {checkout_commit() or 'unknown'}\n")
    with tempfile.TemporaryDirectory() as scratch:
        if args.pred is not None and args.gt is not None:
            folders = Folders(args.pred, args.gt)
        else:
            folders = Folders(*make_coco_like(Path(scratch) / "generated", args.images))
        one_core(folders, args)
        metrics(folders)
        processes(folders, args.workers, Path(scratch))
        memory(folders, Path(scratch))


def one_core(folders: Folders, args: Args) -> None:
    """Contestants in turns, by their least processor time, which neighbours on the machine disturb least."""
    cv2.setNumThreads(1)
    num_images = len(folders.open())
    contestants: dict[str, Callable[[], object]] = {
        "decode, kornia_rs": lambda: _decode(folders, decode_rgb),
        "decode, cv2": lambda: _decode(folders, _cv2),
        "decode, Pillow": lambda: _decode(folders, _pillow),
        OURS: lambda: folders.open().evaluate(),
        OURS_ON_PILLOW: lambda: _with_pillow(folders),
        PEERS[0]: functools.partial(_plain, folders),
    }
    if args.panopticapi is not None:
        contestants[PEERS[1]] = _panopticapi(folders, args.panopticapi)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(args.rounds):
        for name, run in contestants.items():
            began = time.process_time()
            run()
            seconds[name].append((time.process_time() - began) / num_images)
    ms = {name: 1000 * min(samples) for name, samples in seconds.items()}
    print(f"one core, {num_images} images, least of {args.rounds} interleaved rounds, processor time")
    print(f"| {'':<28} | ms an image | images/s |\n|{'-' * 30}|------------:|---------:|")
    for name, value in ms.items():
        print(f"| {name:<28} | {value:11.2f} | {1000 / value:8.0f} |")
    peer = PEERS[-1] if PEERS[-1] in ms else PEERS[0]
    beyond = {name: ms[name] - ms[f"decode, {_DECODER_OF[name]}"] for name in (OURS, OURS_ON_PILLOW, peer)}
    print()
    for name in (OURS, OURS_ON_PILLOW):
        decoder = _DECODER_OF[name]
        share = ms[f"decode, {decoder}"] / ms[name]
        print(f"{name}: {100 * share:.0f} % of the rate of {decoder} alone; {ms[peer] / ms[name]:.1f} x {peer}")
        part = beyond[peer] / beyond[name]
        print(f"  beyond decoding {beyond[name]:.2f} ms an image, 1/{part:.1f} of {beyond[peer]:.2f}")


def metrics(folders: Folders) -> None:
    """Processor time with each metric beside panoptic quality."""
    folder = folders.open()
    print("\n| whole, with | ms an image |\n|-------------|------:|")
    for name in METRICS:
        began = time.process_time()
        try:
            folder.evaluate([name])
        except InputError as error:  # AP on a prediction without scores
            print(f"| {name:<11} | {error} |")
            continue
        print(f"| {name:<11} | {1000 * (time.process_time() - began) / len(folder):.1f} |")


def processes(folders: Folders, workers: tuple[int, ...], scratch: Path) -> None:
    """Wall time over processes, their start included."""
    many = _repeated(folders, MANY, scratch)
    print(f"\n| processes | images/s ({len(many)} images, start included) |\n|----------:|------:|")
    for num_workers in (0, *workers):
        began = time.perf_counter()
        many.evaluate(num_workers=num_workers)
        print(f"| {num_workers or 'this one':>9} | {len(many) / (time.perf_counter() - began):.0f} |")


def memory(folders: Folders, scratch: Path) -> None:
    """Resident memory of a fresh process over few and many images."""
    print("\n| images | both JSON files read, MiB | peak while scoring, MiB |\n|-------:|------:|------:|")
    for times in (FEW, MANY):
        _repeated(folders, times, scratch)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            count, read, peak = pool.apply(_resident, (folders, scratch))
        print(f"| {count:>6} | {read:.0f} | {peak:.0f} |")


def _resident(folders: Folders, scratch: Path) -> tuple[int, float, float]:
    folder, process = _open_repeated(folders, scratch), psutil.Process()
    read, peak = process.memory_info().rss, 0

    def look(count: int) -> None:
        nonlocal peak
        peak = max(peak, process.memory_info().rss)

    folder.evaluate(on_progress=look)
    return len(folder), read / 2**20, peak / 2**20


def _repeated(folders: Folders, times: int, scratch: Path) -> PredictedFolder:
    for source, name in ((folders.pred, "pred-n.json"), (folders.gt, "gt-n.json")):
        repeated(source, times, scratch / name)
    return _open_repeated(folders, scratch)


def _open_repeated(folders: Folders, scratch: Path) -> PredictedFolder:
    pred_png, gt_png = folders.pred.with_suffix(""), folders.gt.with_suffix("")
    return PredictedFolder.open(scratch / "pred-n.json", pred_png, scratch / "gt-n.json", gt_png)


def _decode(folders: Folders, decode: Callable[[bytes, Path], object]) -> None:
    for json_path in (folders.pred, folders.gt):
        for row in json.loads(json_path.read_bytes())["annotations"]:
            path = json_path.with_suffix("") / row["file_name"]
            decode(path.read_bytes(), path)


def _cv2(blob: bytes, path: Path) -> object:
    return cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)


def _with_pillow(folders: Folders) -> object:
    """Ours with the yardstick's decoder."""
    with mock.patch.object(panoptic_png, "decode_rgb", _pillow):
        return folders.open().evaluate()


def _pillow(blob: bytes, path: Path) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(blob)) as picture:
        return np.asarray(picture)


def _plain(folders: Folders) -> object:
    return plain_pq(folders.pred, folders.pred.with_suffix(""), folders.gt, folders.gt.with_suffix(""))


def _panopticapi(folders: Folders, checkout: Path) -> Callable[[], object]:
    """Panopticapi's own loop over all images, in this process; their JSON read as theirs does."""
    if not (checkout / "panopticapi" / "evaluation.py").is_file():
        raise InputError(f"{checkout} is no checkout of panopticapi: panopticapi/evaluation.py is missing")
    sys.path.insert(0, str(checkout))
    from panopticapi.evaluation import pq_compute_single_core  # type: ignore[import-not-found]

    def run() -> object:
        truth, prediction = json.loads(folders.gt.read_bytes()), json.loads(folders.pred.read_bytes())
        predicted = {row["image_id"]: row for row in prediction["annotations"]}
        pairs = [(row, predicted[row["image_id"]]) for row in truth["annotations"]]
        categories = {row["id"]: row for row in truth["categories"]}
        png = str(folders.gt.with_suffix("")), str(folders.pred.with_suffix(""))
        with contextlib.redirect_stdout(io.StringIO()):
            return pq_compute_single_core(0, pairs, *png, categories)

    return run


if __name__ == "__main__":
    with refusals():
        main(tyro.cli(Args))
