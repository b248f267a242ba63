"""Runs the cells of an ablation, those that are not done yet, and tabulates what came out."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgeseg.config import Config
from edgeseg.data.loader import Samples
from edgeseg.data.sets import open_dataset
from edgeseg.display import say
from edgeseg.engine.ablation_file import Cell
from edgeseg.engine.train import Trainer, make_fabric
from edgeseg.structures import CheckError, InputError, Sample

GROUPS = ("all", "things", "stuff")
PROBE_STEPS, PROBE_IMAGES = 6, 8  # what a time estimate trains and evaluates; the first two steps are not counted

Row = dict[str, Any]
"""A finished cell as its result.json holds it."""


def run_cell(cell: Cell, out: Path, *, quiet: bool = False) -> Row | None:
    """Trains one cell, from where it was left if it was begun.

    Args:
        cell: What to train.
        out: The ablation's folder; the cell's own is made in it: result.json, best.safetensors, metrics.jsonl.
        quiet: Show no progress.

    Returns:
        The result, or None where a signal stopped the training. A loss that is not finite is a result too ("error").
    """
    folder, config = out / cell.folder, cell.config
    if (done := finished(cell, out)) is not None:
        return done
    train, val = _splits(config)
    is_begun = (folder / "last.safetensors").exists()
    trainer = Trainer(config, train.categories, folder, make_fabric(config), resume=is_begun)
    row: Row = {"name": cell.name, "seed": cell.seed, "folder": cell.folder, "steps": config.train.steps}
    began = time.monotonic()
    try:
        metrics = trainer.fit(train, val, quiet=quiet)
        row |= {group: metrics[group]["pq"] for group in GROUPS if group in metrics}
    except CheckError as error:
        row["error"] = str(error)
    if trainer.stop_signal is not None:
        return None
    row["train_seconds"] = round(trainer.clock.seconds, 1)
    row["seconds"] = round(time.monotonic() - began, 1)
    row |= {"images": len(val), "threads": torch.get_num_threads()}
    _write(folder / "result.json", json.dumps(row) + "\n")
    (folder / "last.safetensors").unlink(missing_ok=True)  # three times as large as the network, and of no more use
    return row


def finished(cell: Cell, out: Path) -> Row | None:
    """The result of a cell that is done."""
    path = out / cell.folder / "result.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def run_ablation(cells: Sequence[Cell], out: Path, *, jobs: int = 1, threads: int = 1, quiet: bool = False) -> bool:
    """Trains every cell that is not done, and writes OUT/results.jsonl and OUT/table.md after each.

    Args:
        cells: In the order to run them.
        out: Folder for everything.
        jobs: Cells at a time, each in a process of its own.
        threads: Of each cell.
        quiet: Show no progress.

    Returns:
        Whether all are done; False where a signal ended it, after every running cell wrote a checkpoint.
    """
    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    todo = [cell for cell in cells if finished(cell, out) is None]
    began = time.monotonic()
    runs = _run_each(todo, out, quiet=quiet) if jobs == 1 else _run_beside(todo, out, jobs, threads)
    for count, row in enumerate(runs, start=1):
        if row is None:
            return False
        rows = write_results(cells, out)
        left = (time.monotonic() - began) / count * (len(todo) - count)
        pq = f"PQ {100 * row['all']:.1f}" if "all" in row else row["error"]
        say(
            f"{len(rows)}/{len(cells)} {row['name']}, seed {row['seed']}: {pq}; about {left / 60:.0f} min left",
            quiet=quiet,
        )
    write_results(cells, out)
    return True


def write_results(cells: Sequence[Cell], out: Path) -> list[Row]:
    """Gathers what is done in OUT/results.jsonl and OUT/table.md; returns the results."""
    rows = [row for cell in cells if (row := finished(cell, out)) is not None]
    _write(out / "results.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    _write(out / "table.md", markdown(rows) + "\n")
    return rows


def markdown(rows: Sequence[Row]) -> str:
    """PQ in percent by combination and seed, mean and standard deviation, and the paired gain over the first."""
    if not rows:
        return "No cell is done."
    seeds = sorted({row["seed"] for row in rows})
    by_name: dict[str, dict[int, Row]] = {}
    for row in rows:
        by_name.setdefault(row["name"], {})[row["seed"]] = row
    first = next(iter(by_name))
    head = ["", *(f"seed {seed}" for seed in seeds), "PQ mean ± sd", "things", "stuff", f"gain over {first} ± sd"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, of_seed in by_name.items():
        score = {seed: 100 * row["all"] for seed, row in of_seed.items() if "all" in row}
        each = [f"{score[seed]:.1f}" if seed in score else "failed" if seed in of_seed else "" for seed in seeds]
        parts = [
            f"{100 * np.mean([row[group] for row in of_seed.values() if group in row]):.1f}" if score else ""
            for group in ("things", "stuff")
        ]
        base = {seed: 100 * row["all"] for seed, row in by_name[first].items() if "all" in row}
        gains = [score[seed] - base[seed] for seed in seeds if seed in score and seed in base]
        gain = _mean_and_spread(gains, sign=True) if name != first else ""
        lines.append(f"| {' | '.join([name, *each, _mean_and_spread(list(score.values())), *parts, gain])} |")
    return "\n".join(lines)


def estimate_seconds(cells: Sequence[Cell], out: Path) -> tuple[float, str]:
    """Time that one cell takes, and where that is known from: finished cells, else a few steps of the first.

    Raises:
        InputError: The first cell cannot be trained.
    """
    if known := [row["seconds"] for cell in cells if (row := finished(cell, out)) is not None]:
        return float(np.mean(known)), f"{len(known)} finished"
    config = cells[0].config
    train, val = _splits(config)
    steps = min(PROBE_STEPS, config.train.steps)
    short = replace(config, train=replace(config.train, steps=steps, minutes=None, eval_every=0))
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(short, train.categories, Path(folder), make_fabric(short))
        trainer.fit(train, _FirstImages(val, PROBE_IMAGES), quiet=True)
        log = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    clock = [line["seconds"] for line in log if "seconds" in line]
    step = (clock[-1] - clock[min(1, len(clock) - 2)]) / max(1, len(clock) - 2)
    evaluation = log[-1]["eval_seconds"] / min(PROBE_IMAGES, len(val)) * len(val)
    evaluations = 1 + (config.train.steps - 1) // config.train.eval_every if config.train.eval_every else 1
    training = 60 * config.train.minutes if config.train.minutes else step * config.train.steps
    return training + evaluations * evaluation, f"{steps} steps and {min(PROBE_IMAGES, len(val))} images now"


class _FirstImages:
    """The first images of a data set."""

    def __init__(self, samples: Samples, count: int) -> None:
        self._samples, self._count = samples, min(count, len(samples))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]


def _splits(config: Config) -> tuple[Any, Any]:
    if config.data.root is None:
        raise InputError("an ablation needs data; give --data FOLDER, or data.root in the file")
    return tuple(open_dataset(config.data.root, split, config.data.format) for split in ("train", "val"))  # type: ignore[return-value]


def _run_each(cells: Sequence[Cell], out: Path, *, quiet: bool) -> Iterator[Row | None]:
    for cell in cells:
        say(f"{cell.name}, seed {cell.seed}", quiet=quiet)
        yield run_cell(cell, out, quiet=quiet)


def _run_beside(cells: Sequence[Cell], out: Path, jobs: int, threads: int) -> Iterator[Row | None]:
    """Cells in processes; a signal to this one reaches them all, and None says so."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, torch.set_num_threads, (threads,)) as pool, _passing_signals_on() as told:
        futures = {pool.submit(run_cell, cell, out, quiet=True) for cell in cells}
        try:
            for future in as_completed(futures):
                row = future.result()
                if row is None:
                    pool.shutdown(cancel_futures=True)
                yield row
                if row is None:
                    return
        except BrokenProcessPool:
            if not told:  # a process between two cells ends by the signal itself
                raise CheckError(f"a cell's process was killed; the others' results are in {out}") from None
            yield None


@contextmanager
def _passing_signals_on() -> Iterator[list[int]]:
    told: list[int] = []

    def tell(number: int, _: object) -> None:
        told.append(number)
        for child in multiprocessing.active_children():
            child.terminate()

    before = {number: signal.signal(number, tell) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _mean_and_spread(values: Sequence[float], *, sign: bool = False) -> str:
    if not values:
        return ""
    mean = f"{np.mean(values):+.1f}" if sign else f"{np.mean(values):.1f}"
    return f"{mean} ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else mean


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
