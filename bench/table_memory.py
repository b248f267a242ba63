"""Memory and time of a COCO-sized annotation table, in the main process and in each loader process.

python -m edgeseg.bench.table_memory

Makes a panoptic JSON like COCO's train2017 in a temporary folder and reads it, against Python's json alone, each in a
process of its own. Then loader processes look at every row: of the table as PanopticFolder keeps it, and of the same
rows as Python objects. Time is CPU time; the memory of reading is the peak of what is not mapped from a file, over the
start; that of a loader process what it shares with no other (USS), less that of one with a table of one image.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import tyro
from torch.utils.data import DataLoader, Dataset

from edgeseg.bench.machine import this_machine
from edgeseg.data.panoptic_json import read_panoptic_json
from edgeseg.data.panoptic_table import ImageRecord, ImageRecords

MIB = 1 << 20


@dataclass(frozen=True)
class TableArgs:
    """What is measured."""

    images: int = 118_287
    """Images of the table; COCO's train2017 by default."""
    workers: int = 2
    """Loader processes at a time; 0 measures the reading into flat arrays only."""


class _Looking(Dataset[int]):
    """Each item looks at every row and says how many private bytes its process then has."""

    def __init__(self, rows: Sequence[ImageRecord]) -> None:
        self._rows = rows

    def __getitem__(self, index: int) -> int:
        assert sum(len(row.annotation.segments) for row in self._rows)
        return int(psutil.Process().memory_full_info().uss)


def write_table(path: Path, num_images: int) -> None:
    """A panoptic JSON with COCO's fields, 3 to 21 segments an image (11.2 in COCO), and its 133 categories."""
    rng = np.random.default_rng(0)
    url = "http://images.cocodataset.org/train2017/"
    with path.open("w", encoding="utf-8") as file:
        for number in range(num_images):
            name = f"{number:012d}"
            image: dict[str, Any] = {"license": 3, "file_name": f"{name}.jpg", "coco_url": f"{url}{name}.jpg"}
            image |= {
                "height": 480,
                "width": 640,
                "date_captured": "2013-11-14 11:18:45",
                "flickr_url": url,
                "id": number,
            }
            file.write(("," if number else '{"images": [') + json.dumps(image))
        for number in range(num_images):
            ids = np.unique(rng.integers(1, 1 << 24, rng.integers(3, 22))).tolist()
            categories = rng.integers(1, 134, len(ids)).tolist()
            segments = [
                {"id": i, "category_id": c, "iscrowd": 0, "bbox": [73, 141, 365, 206], "area": 24_315}
                for i, c in zip(ids, categories, strict=True)
            ]
            row = {"segments_info": segments, "file_name": f"{number:012d}.png", "image_id": number}
            file.write(("," if number else '], "annotations": [') + json.dumps(row))
        rows = [{"id": i, "name": f"category {i}", "isthing": int(i <= 80)} for i in range(1, 134)]
        file.write(f'], "categories": {json.dumps(rows)}}}')


def read_table(path: Path) -> ImageRecords:
    """As PanopticFolder does."""
    document = read_panoptic_json(path)
    return ImageRecords(document.images, document.annotations)


def worker_bytes(rows: Sequence[ImageRecord], method: Literal["fork", "spawn"], num_workers: int) -> float:
    """Mean private bytes of the loader processes."""
    sampler = list(range(num_workers))
    loader = DataLoader(
        _Looking(rows), sampler=sampler, batch_size=None, num_workers=num_workers, multiprocessing_context=method
    )
    return float(np.mean(list(loader)))


def json_alone(path: Path) -> object:
    """Python's json, which checks and keeps nothing."""
    return json.loads(path.read_bytes())


def reading(read: Callable[[Path], object], path: Path) -> tuple[float, int]:
    """CPU seconds and peak bytes of a reader."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_timed, args=(read, path, there))
    process.start()
    here.recv()
    memory = [_private_bytes(process.pid)]
    here.send("go")
    while not here.poll(0.01):  # from outside: a parser that never lets go of the interpreter cannot be watched inside
        memory.append(_private_bytes(process.pid))
    seconds: float = here.recv()
    process.join()
    return seconds, max(memory) - memory[0]


def _timed(read: Callable[[Path], object], path: Path, connection: Connection) -> None:
    connection.send("ready")
    connection.recv()
    start = time.process_time()
    read(path)
    connection.send(time.process_time() - start)


def _private_bytes(pid: int | None) -> int:
    memory = psutil.Process(pid).memory_info()
    return int(memory.rss - getattr(memory, "shared", 0))


def main() -> None:
    """Prints the table of docs/data-loading.md."""
    args = tyro.cli(TableArgs, description=__doc__)
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder) / "table.json", Path(folder) / "small.json"
        write_table(path, args.images)
        write_table(small, 1)
        print(f"{this_machine()}; {args.images} images, {path.stat().st_size / MIB:.0f} MiB of JSON")
        readers = {"as flat arrays": read_table, "by json alone": json_alone}
        for name in list(readers)[: 2 if args.workers else 1]:
            seconds, peak = reading(readers[name], path)
            print(f"read {name}: {seconds:.1f} s of CPU time, peak {peak / MIB:.0f} MiB")
        table = read_table(path)
        print(f"the table takes {table.nbytes / MIB:.1f} MiB")
        if not args.workers:
            return
        ways: dict[str, Sequence[ImageRecord]] = {"flat arrays": table, "Python objects": tuple(table)}
        for method in ("fork", "spawn"):
            nothing = worker_bytes(read_table(small), method, args.workers)
            for way, rows in ways.items():
                grown = worker_bytes(rows, method, args.workers) - nothing
                print(f"{method}, {way}: {grown / MIB:.1f} MiB more a worker")


if __name__ == "__main__":
    main()
