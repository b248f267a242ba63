"""One process that loads one artifact, warms it up and times it: python -m edgeseg.bench.worker REQUEST RESULT.

REQUEST and RESULT are JSON files. Only the runtime asked for is imported, so that memory is that runtime's.
"""

from __future__ import annotations

import ctypes
import gc
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.config import config_from_dict

if TYPE_CHECKING:
    from edgeseg.export.runtimes import Predict

REFERENCE = "torch"
"""Runtime name of the eager float model, which has no artifact; its path is a checkpoint."""

_MIN_SAMPLES = 5
_WINDOW = 5  # calls in each of the two stretches that must agree
_TOLERANCE = 0.05  # relative difference of their medians
_WARMUP_SECONDS = (0.2, 3.0)  # at least, so that clocks ramp up; at most, where calls never settle


@dataclass(frozen=True)
class Request:
    """What to time.

    Attributes:
        runtime: Registered name or `REFERENCE`.
        path: Artifact or checkpoint.
        image_size: (height, width) of the input.
        threads: Asked of the runtime.
        seconds: Stretch of timed calls; at least a few calls are made however long they take.
        seed: Of the noise image; the graph's time does not depend on what it sees.
    """

    runtime: str
    path: Path
    image_size: tuple[int, int]
    threads: int
    seconds: float
    seed: int


@dataclass(frozen=True)
class Result:
    """What one process saw; units as in Measurement."""

    samples_ms: tuple[float, ...]
    warmup_runs: int
    is_settled: bool
    load_ms: float
    peak_mib: float
    rss_delta_mib: float
    version: str


def run(request: Request) -> Result:
    """Loads twice, timing the second load, then warms up and times calls.

    The first load brings the runtime's libraries in and is released, so that neither `load_ms` nor `rss_delta_mib`
    counts them.
    """
    load, version = _loader(request)
    height, width = request.image_size
    image = np.random.default_rng(request.seed).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    load()(image)
    gc.collect()
    _return_free_memory()
    before_mib = _resident_mib()
    started = time.perf_counter_ns()
    predict = load()
    load_ms = (time.perf_counter_ns() - started) / 1e6
    warmup_runs, is_settled = _warm_up(predict, image)
    delta_mib = _resident_mib() - before_mib
    samples = _time(predict, image, request.seconds)
    return Result(samples, warmup_runs, is_settled, load_ms, _peak_mib(), delta_mib, version)


def _loader(request: Request) -> tuple[Callable[[], Predict], str]:
    if request.runtime == REFERENCE:
        return _eager_loader(request)
    from edgeseg.export.runtimes import get_runtime

    runtime = get_runtime(request.runtime)
    return lambda: runtime.load(request.path, num_threads=request.threads), runtime.engine()


def _eager_loader(request: Request) -> tuple[Callable[[], Predict], str]:
    import torch

    from edgeseg.engine.checkpoint import load_checkpoint
    from edgeseg.export.graph import DeployedGraph

    torch.set_num_threads(request.threads)

    def load() -> Predict:
        checkpoint = load_checkpoint(request.path)
        is_thing = [category.is_thing for category in checkpoint.categories]
        model = checkpoint.model().deployable()
        graph = DeployedGraph(model, merge="graph", config=checkpoint.config.merge, is_thing=is_thing).eval()

        def predict(image: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
            with torch.inference_mode():
                slot_map, slot_category, slot_score = graph(torch.from_numpy(image))
            outputs = {"slot_map": slot_map, "slot_category": slot_category, "slot_score": slot_score}
            return {name: tensor.numpy() for name, tensor in outputs.items()}

        return predict

    return load, f"torch {torch.__version__} (eager, this machine's CPU)"


def _warm_up(predict: Predict, image: NDArray[np.uint8]) -> tuple[int, bool]:
    """Calls until two neighbouring stretches have the same median; gives the calls and whether they settled."""
    least, most = _WARMUP_SECONDS
    times: list[float] = []
    started = time.perf_counter()
    while (spent := time.perf_counter() - started) < most or len(times) < 2:
        times.append(_call_ms(predict, image))
        if spent >= least and len(times) >= 2 * _WINDOW and _is_settled(times):
            return len(times), True
    return len(times), False


def _is_settled(times: list[float]) -> bool:
    earlier, later = statistics.median(times[-2 * _WINDOW : -_WINDOW]), statistics.median(times[-_WINDOW:])
    return abs(later - earlier) <= _TOLERANCE * earlier


def _time(predict: Predict, image: NDArray[np.uint8], seconds: float) -> tuple[float, ...]:
    samples: list[float] = []
    gc.collect()
    gc.disable()
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(samples) < _MIN_SAMPLES:
        samples.append(_call_ms(predict, image))
    gc.enable()
    return tuple(samples)


def _call_ms(predict: Predict, image: NDArray[np.uint8]) -> float:
    started = time.perf_counter_ns()
    predict(image)
    return (time.perf_counter_ns() - started) / 1e6


def _resident_mib() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss) / 2**20


def _peak_mib() -> float:
    """Largest resident memory of this program; Linux's ru_maxrss would count the parent's from before the exec."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on a Mac


def _return_free_memory() -> None:
    """Has glibc give freed pages back, or the second load would reuse the first one's and seem to cost nothing."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _main(request_path: str, result_path: str) -> None:
    table = json.loads(Path(request_path).read_text(encoding="utf-8"))
    result = run(config_from_dict(Request, table, where=request_path))
    Path(result_path).write_text(json.dumps(asdict(result)), encoding="utf-8")


if __name__ == "__main__":
    _main(*sys.argv[1:])
