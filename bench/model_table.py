"""What every network costs on this computer: parameters, work, bytes, milliseconds, operators outside the delegate.

The weights are fresh ones: what is measured does not depend on them.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgeseg.bench.machine import this_machine
from edgeseg.bench.measurement import STEADY, Measurement
from edgeseg.bench.protocol import Target, measure, reason_not_timed
from edgeseg.config import Config, ModelConfig, config_from_dict, config_to_dict
from edgeseg.data.street import StreetStream
from edgeseg.display import progress, say
from edgeseg.engine.norms import batch_norms, settle_norms
from edgeseg.export.bundle import DESCRIPTION, checksum
from edgeseg.export.graph import DeployedGraph
from edgeseg.export.plan import FLOAT, Job
from edgeseg.export.program import Conversions, export_program
from edgeseg.export.provenance import checkout_commit, time_utc
from edgeseg.export.runtimes import get_runtime, require_converter, require_runner
from edgeseg.models import build_model, count_macs, count_parameters
from edgeseg.quantize.deploy import deploy
from edgeseg.quantize.fold import fold
from edgeseg.quantize.qat import quantize
from edgeseg.quantize.recipes import find_recipe
from edgeseg.structures import CheckError, InputError

SECONDS_PER_CELL = 60.0
"""What a cell takes where none was measured yet: conversion, processes, calls; more at 640."""

_NUM_IMAGES = 4  # to settle the norms and calibrate on
_PROCESSES = (2, 5)  # at least; at most, where no two of them agree


@dataclass(frozen=True)
class Network:
    """A row of the table.

    Attributes:
        name: BACKBONE+HEAD@SIZE, or CONFIG@SIZE.
        model: What it is made of.
        image_size: (height, width).
    """

    name: str
    model: ModelConfig
    image_size: tuple[int, int]


@dataclass(frozen=True)
class Cell:
    """What was measured of one network in one runtime at one precision.

    Attributes:
        network: Its name.
        model: Its config's plain values.
        runtime: Registry name.
        precision: float32, or a recipe's name; recipes without their fine-tuning, which changes no cost.
        params: Parameters of the deployed network.
        macs: Multiply-accumulates of the deployed network for one image.
        refused: Why there is nothing more; empty where there is.
        bytes: Of the artifact.
        ms: Median of a call, one thread, merge in the app, in the two fastest of the processes that timed it.
        least_ms: Of all calls: nearer to the truth on a busy machine.
        is_steady: Whether the medians of those two agree within 5 %; processes are added until they do, up to five.
        num_delegates: Pieces handed to the delegate.
        outside: Operators left outside, with counts.
        spent_seconds: On all this.
        load: Processes that wanted a core, average of the last minute, at the end.
        machine: Processor.
        runtime_version: Of what ran it.
        commit: Of this code.
        time_utc: When.
    """

    network: str
    model: dict[str, Any]
    runtime: str
    precision: str
    params: int
    macs: int
    refused: str = ""
    bytes: int = 0
    ms: float = 0.0
    least_ms: float = 0.0
    is_steady: bool = False
    num_delegates: int | None = None
    outside: dict[str, int] | None = None
    spent_seconds: float = 0.0
    load: float = 0.0
    machine: str = ""
    runtime_version: str = ""
    commit: str = ""
    time_utc: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What a rerun would measure again; what a config did not know yet has its default."""
        model = config_to_dict(config_from_dict(ModelConfig, self.model, where=f"cell {self.network}"))
        return self.network, json.dumps(model, sort_keys=True), self.runtime, self.precision


def measure_table(
    networks: Sequence[Network],
    out: Path,
    *,
    is_thing: Sequence[bool],
    runtimes: Sequence[str],
    precisions: Sequence[str],
    seconds: float = 2.0,
    only_plan: bool = False,
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """Measures what a file lacks of a table, and gives the whole.

    Args:
        networks: Rows.
        out: JSON lines file of cells, each added as soon as it is measured; what it holds is not measured again.
        is_thing: Of the categories.
        runtimes: Registry names.
        precisions: float32 or recipes' names.
        seconds: Timed calls in each process.
        only_plan: Measure nothing; say what would be.
        quiet: Show no progress.

    Returns:
        An object for each network that has cells: name, params, macs, image_size, model, measurements.

    Raises:
        InputError: No such runtime or precision, a package missing, or a damaged file.
    """
    known = {cell.key: cell for cell in read_cells(out)}
    asked = [(network, runtime, precision) for network in networks for precision in precisions for runtime in runtimes]
    _refuse_unknown(runtimes, precisions)
    missing = [(n, r, p) for n, r, p in asked if _key(n, r, p) not in known]
    _announce(missing, len(asked), list(known.values()), out, quiet=quiet)
    if missing and not only_plan:
        out.parent.mkdir(parents=True, exist_ok=True)
        with progress("cells", len(missing), quiet=quiet) as advance, out.open("a", encoding="utf-8") as file:
            for cell in _measure(missing, is_thing, seconds):
                file.write(json.dumps(asdict(cell)) + "\n")
                file.flush()
                known[cell.key] = cell
                advance(1, now=f"{cell.network} {cell.precision} {cell.runtime}")
    cells = [(network, known[key]) for network, r, p in asked if (key := _key(network, r, p)) in known]
    return [
        _row(network, [cell for n, cell in cells if n is network]) for network in dict.fromkeys(n for n, _ in cells)
    ]


def read_cells(path: Path) -> list[Cell]:
    """The cells that a file holds; none where there is no file.

    Raises:
        InputError: A line is none of a table's.
    """
    if not path.is_file():
        return []
    cells = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            cells.append(Cell(**json.loads(line)))
        except (json.JSONDecodeError, TypeError) as error:
            raise InputError(f"{path}, line {number}, is no cell of a model table ({error}); remove it") from error
    return cells


def _row(network: Network, cells: list[Cell]) -> dict[str, Any]:
    shared = ("network", "model", "params", "macs")
    return {
        "name": network.name,
        "params": cells[0].params,
        "macs": cells[0].macs,
        "image_size": list(network.image_size),
        "model": cells[0].model,
        "measurements": [{k: v for k, v in asdict(cell).items() if k not in shared} for cell in cells],
    }


def _key(network: Network, runtime: str, precision: str) -> tuple[str, str, str, str]:
    return Cell(network.name, config_to_dict(network.model), runtime, precision, 0, 0).key


def _refuse_unknown(runtimes: Sequence[str], precisions: Sequence[str]) -> None:
    for name in runtimes:
        runtime = get_runtime(name)
        require_converter(runtime)
        require_runner(runtime)
        if reason := reason_not_timed(name):
            raise InputError(f"--runtimes {name}: {reason}; leave it out")
    for precision in precisions:
        if precision != FLOAT:
            find_recipe(precision)


def _announce(missing: Sequence[object], total: int, known: list[Cell], out: Path, *, quiet: bool) -> None:
    spent = [cell.spent_seconds for cell in known if cell.spent_seconds]
    each = statistics.fmean(spent) if spent else SECONDS_PER_CELL
    basis = f"as the {len(spent)} in {out} took" if spent else "a guess until some are measured"
    say(
        f"{len(missing)} of {total} cells to measure, about {len(missing) * each / 60:.0f} minutes "
        f"({each:.0f} s each, {basis}); stop and call again as you like",
        quiet=quiet,
    )


def _measure(missing: Sequence[tuple[Network, str, str]], is_thing: Sequence[bool], seconds: float) -> Iterator[Cell]:
    for network in dict.fromkeys(n for n, _, _ in missing):
        began = time.monotonic()
        images = street_images(network.image_size)
        model = settled(network.model, is_thing, network.image_size, images)
        empty = Cell(
            network.name,
            config_to_dict(network.model),
            runtime="",
            precision="",
            params=count_parameters(model),
            macs=count_macs(model, network.image_size),
        )
        asked = [(precision, name) for n, name, precision in missing if n is network]
        with tempfile.TemporaryDirectory() as folder:
            files = _convert(model, network, asked, images, is_thing, Path(folder))
            converting = time.monotonic() - began
            for (precision, name), made in files.items():
                began = time.monotonic()
                found = {"refused": made} if isinstance(made, str) else _time(made, network, name, precision, seconds)
                yield replace(
                    empty,
                    runtime=name,
                    precision=precision,
                    **found,
                    spent_seconds=round(converting / len(files) + time.monotonic() - began, 1),
                    load=round(os.getloadavg()[0], 2),
                    machine=this_machine().name,
                    commit=checkout_commit(),
                    time_utc=time_utc(),
                )


def settled(
    config: ModelConfig, is_thing: Sequence[bool], image_size: tuple[int, int], images: torch.Tensor
) -> nn.Module:
    """A deployable network with fresh weights whose norms have the statistics of the images.

    Norms that start a branch at zero are set to one: as zeros they would vanish from what is measured.
    """
    torch.manual_seed(0)
    model = build_model(config, is_thing, image_size)
    for norm in batch_norms(model):
        if not norm.weight.any():
            nn.init.ones_(norm.weight)
    settle_norms(model, [images])
    return model.deployable()


def at_precision(model: nn.Module, precision: str, images: torch.Tensor) -> nn.Module:
    """A deployable network as it is exported: norms folded, or in a recipe's integers without its fine-tuning."""
    if precision == FLOAT:
        return fold(model, images[:1])
    recipe = replace(find_recipe(precision), qat_steps=0)
    return deploy(quantize(model, recipe, calibration=[images]))


def _convert(
    model: nn.Module,
    network: Network,
    asked: Sequence[tuple[str, str]],
    images: torch.Tensor,
    is_thing: Sequence[bool],
    folder: Path,
) -> dict[tuple[str, str], Path | str]:
    """A file for each precision and runtime asked for, or why there is none; all are made when this returns.

    Conversions run side by side, a core each: nothing is timed meanwhile.
    """
    describe_merge(folder / DESCRIPTION, is_thing)
    made: dict[tuple[str, str], str | tuple[Path, Future[None]]] = {}
    with Conversions(folder, folder, num_workers=os.cpu_count() or 1) as conversions:
        for precision in dict.fromkeys(precision for precision, _ in asked):
            runtimes = [get_runtime(name) for p, name in asked if p == precision]
            try:
                quantized = at_precision(model, precision, images)
            except (CheckError, InputError) as error:
                made |= {(precision, runtime.name): str(error) for runtime in runtimes}
                continue
            graph = DeployedGraph(quantized, merge="app", config=Config().merge, is_thing=is_thing)
            for runtime in runtimes:
                path = folder / f"{precision}-{runtime.name}{runtime.suffix}"
                if reason := runtime.refusal(precision, "app"):
                    made[precision, runtime.name] = reason
                    continue
                program = export_program(graph, runtime, network.image_size)
                conversion = conversions.submit(program, Job(runtime, precision, precision, "app", path.name), path)
                made[precision, runtime.name] = path, conversion
    return {key: there if isinstance(there, str) else _file_or_reason(*there) for key, there in made.items()}


def _file_or_reason(path: Path, conversion: Future[None]) -> Path | str:
    try:
        conversion.result()
    except CheckError as error:
        return _without_log(error)
    return path


def _time(path: Path, network: Network, name: str, precision: str, seconds: float) -> dict[str, Any]:
    target = Target(path, network.name, path.name, checksum(path), name, precision, "app", network.image_size)
    least, most = _PROCESSES
    timed: list[Measurement] = []  # fastest first
    try:
        while len(timed) < least or (len(timed) < most and not _agree(*timed[:2])):
            timed += measure([target], threads=(1,), seconds=seconds, rounds=1)
            timed.sort(key=_median_ms)
    except CheckError as error:
        return {"refused": _without_log(error)}
    coverage = get_runtime(name).describe(path)
    return {
        "bytes": path.stat().st_size,
        "ms": round(statistics.median(timed[0].samples_ms + timed[1].samples_ms), 3),
        "least_ms": round(min(min(process.samples_ms) for process in timed), 3),
        "is_steady": _agree(*timed[:2]),
        "num_delegates": coverage.num_delegates,
        "outside": None if coverage.outside is None else dict(coverage.outside),
        "runtime_version": timed[0].runtime_version,
    }


def _median_ms(process: Measurement) -> float:
    return statistics.median(process.samples_ms)


def _agree(faster: Measurement, slower: Measurement) -> bool:
    """Noise only adds: two processes that agree have seen what a call takes."""
    return _median_ms(slower) <= (1 + STEADY) * _median_ms(faster)


def _without_log(error: CheckError) -> str:
    """Its log is gone when the table is read."""
    return str(error).partition("; its log is ")[0]


def describe_merge(path: Path, is_thing: Sequence[bool]) -> None:
    """What a worker reads of a bundle to time the app's merge."""
    merge = config_to_dict(Config().merge)
    path.write_text(json.dumps({"merge": merge, "categories": [{"is_thing": thing} for thing in is_thing]}))


def street_images(size: tuple[int, int]) -> torch.Tensor:
    """(4, 3, H, W) float32 0..255 street scenes."""
    scenes = StreetStream(0, size, _NUM_IMAGES)
    return torch.from_numpy(np.stack([scenes[i].image for i in range(_NUM_IMAGES)])).permute(0, 3, 1, 2).float()
