"""One process that loads one artifact, then times it or answers images: python -m edgeseg.bench.worker REQUEST RESULT.

REQUEST and RESULT are JSON files; the C++ runner in bench/native reads and writes the same. Only the runtime asked for
is imported, so that memory is that runtime's; LiteRT and ONNX Runtime need numpy and their package, no torch.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.bench.tensors import read_tensors, write_tensors
from edgeseg.config import MergeConfig, config_from_dict
from edgeseg.export.runtimes import Stages, get_runtime
from edgeseg.merge import merge_slots
from edgeseg.structures import InputError, Merged

if TYPE_CHECKING:
    from edgeseg.export.runtimes import Predict

REFERENCE = "torch"
"""Runtime name of the eager float model, which has no artifact; its path is a checkpoint."""

_MIN_SAMPLES = 5
_WINDOW = 5  # calls in each of the two stretches that must agree
_TOLERANCE = 0.05  # relative difference of their medians
_WARMUP_SECONDS = (0.2, 3.0)  # at least, so that clocks ramp up; at most, where calls never settle
_SPLIT_SHARE, _SPLIT_SECONDS = 0.1, 2.0  # of the timed stretch, and at most, for the calls timed stage by stage
_PHOTO = (720, 1280)  # what is letterboxed: a phone camera's usual preview


@dataclass(frozen=True)
class Request:
    """What to do with an artifact: answer `images`, or without any be timed.

    Attributes:
        runtime: Registered name or `REFERENCE`.
        path: Artifact or checkpoint. Where the merge is the app's, the bundle's bundle.json lies beside it.
        image_size: (height, width) of the input.
        threads: Asked of the runtime.
        seconds: Stretch of timed calls; at least a few calls are made however long they take.
        seed: Of the noise image; the graph's time does not depend on what it sees.
        images: Safetensors file with `images` (n, H, W, 3) uint8 to answer; empty = be timed.
        answers: Safetensors file to write: `slot_map` (n, h, w) uint8, `slot_category` (n, N) int32 and `slot_score`
            (n, N) float32; merged here where the file leaves it to the app.
    """

    runtime: str
    path: Path
    image_size: tuple[int, int]
    threads: int
    seconds: float
    seed: int
    images: str = ""
    answers: str = ""


@dataclass(frozen=True)
class Split:
    """Medians of the parts of a call in milliseconds; None where there is no such part, or nobody can tell it apart.

    Attributes:
        letterbox_ms: A 720 x 1280 photo to the network's input. Before the call.
        upload_ms: The input into the runtime.
        network_ms: The network itself, with the merge if that is in the graph.
        readout_ms: The outputs out of the runtime.
        merge_ms: The panoptic merge outside the graph. After the call.
    """

    letterbox_ms: float | None = None
    upload_ms: float | None = None
    network_ms: float | None = None
    readout_ms: float | None = None
    merge_ms: float | None = None


@dataclass(frozen=True)
class Result:
    """What one process saw; units as in Measurement. What answers images has no samples.

    Attributes:
        samples_ms: Every timed call.
        warmup_runs: Untimed calls.
        is_settled: Whether they settled.
        load_ms: Second load.
        peak_mib: Largest resident memory.
        rss_delta_mib: Resident memory loaded and warm, less that before.
        version: Of the runtime, in words.
        accelerator: What runs the operators of the loaded file, in words; empty where nobody can tell.
        loop_ms: Length of the timed stretch, the driver's own work included.
        calls_per_second: Calls begun in each second of the timed stretch.
        split: Parts of a call.
        cpus: Processors that the process was allowed to use; empty where the system does not say.
    """

    samples_ms: tuple[float, ...]
    warmup_runs: int
    is_settled: bool
    load_ms: float
    peak_mib: float
    rss_delta_mib: float
    version: str
    accelerator: str = ""
    loop_ms: float = 0.0
    calls_per_second: tuple[int, ...] = ()
    split: Split = Split()
    cpus: tuple[int, ...] = ()


def run(request: Request) -> Result:
    """Loads twice, timing the second load, then warms up and times calls, or answers images.

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
    result = Result((), 0, True, load_ms, 0.0, 0.0, version)
    if request.images:
        _answer(predict, request)
        result = replace(result, rss_delta_mib=_resident_mib() - before_mib, peak_mib=_peak_mib())
    else:
        warmup_runs, is_settled = _warm_up(predict, image)
        delta_mib = _resident_mib() - before_mib
        samples, per_second, loop_ms = _time(predict, image, request.seconds)
        result = Result(samples, warmup_runs, is_settled, load_ms, _peak_mib(), delta_mib, version)
        result = replace(result, loop_ms=loop_ms, calls_per_second=per_second, split=_split(predict, image, request))
    return replace(
        result,
        accelerator=predict.accelerator() if isinstance(predict, Stages) else "",
        cpus=tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else (),
    )


def _loader(request: Request) -> tuple[Callable[[], Predict], str]:
    if request.runtime == REFERENCE:
        return _eager_loader(request)
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


def _answer(predict: Predict, request: Request) -> None:
    images = read_tensors(Path(request.images)).get("images")
    if images is None or images.dtype != np.uint8 or images.shape[1:] != (*request.image_size, 3):
        found = "none" if images is None else f"{images.dtype} {images.shape}"
        raise InputError(f"{request.images} must hold images uint8 (n, {request.image_size}, 3); it holds {found}")
    merge = _merger(request.path)
    answers = [merge(predict(image[None])) for image in images]
    stacked = {name: np.stack([getattr(answer, name) for answer in answers]) for name in Merged._fields}
    write_tensors(Path(request.answers), stacked)


def _merger(path: Path) -> Callable[[dict[str, NDArray[Any]]], Merged]:
    """Outputs of an artifact, batch of 1, to one merged answer; the bundle is read when a merge is wanted."""
    settings: list[tuple[MergeConfig, list[bool]]] = []

    def merge(outputs: dict[str, NDArray[Any]]) -> Merged:
        if "slot_map" in outputs:
            return Merged(*(outputs[name][0] for name in Merged._fields))
        if not settings:
            bundle = json.loads((path.parent / "bundle.json").read_text(encoding="utf-8"))
            config = config_from_dict(MergeConfig, bundle["merge"], where=f"{path.parent}/bundle.json: merge")
            settings.append((config, [category["is_thing"] for category in bundle["categories"]]))
        config, is_thing = settings[0]
        return merge_slots(outputs["class_logits"][0], outputs["mask_logits"][0], config=config, is_thing=is_thing)

    return merge


def _warm_up(predict: Predict, image: NDArray[np.uint8]) -> tuple[int, bool]:
    """Calls until two neighbouring stretches have the same median; gives the calls and whether they settled."""
    least, most = _WARMUP_SECONDS
    times: list[float] = []
    started = time.perf_counter()
    while (spent := time.perf_counter() - started) < most or len(times) < 2:
        times.append(_ms(predict, image)[1])
        if spent >= least and len(times) >= 2 * _WINDOW and _is_settled(times):
            return len(times), True
    return len(times), False


def _is_settled(times: list[float]) -> bool:
    earlier, later = statistics.median(times[-2 * _WINDOW : -_WINDOW]), statistics.median(times[-_WINDOW:])
    return abs(later - earlier) <= _TOLERANCE * earlier


def _time(
    predict: Predict, image: NDArray[np.uint8], seconds: float
) -> tuple[tuple[float, ...], tuple[int, ...], float]:
    """Every call's milliseconds, the calls begun in each second, and the length of the stretch in milliseconds."""
    begins: list[int] = []
    ends: list[int] = []
    gc.collect()
    gc.disable()
    first = time.perf_counter_ns()
    until = first + round(seconds * 1e9)
    while (now := time.perf_counter_ns()) < until or len(ends) < _MIN_SAMPLES:
        predict(image)
        ends.append(time.perf_counter_ns())
        begins.append(now)
    gc.enable()
    per_second = np.bincount((np.array(begins) - first) // 10**9).tolist()
    samples = [(end - begin) / 1e6 for begin, end in zip(begins, ends, strict=True)]
    return tuple(samples), tuple(per_second), (now - first) / 1e6


def _split(predict: Predict, image: NDArray[np.uint8], request: Request) -> Split:
    """Some more calls, stage by stage, and what stands before and after a call in an app."""
    if not isinstance(predict, Stages):
        return Split(letterbox_ms=_letterbox_ms(request))
    rows: list[tuple[float, float, float]] = []
    until = time.perf_counter() + min(_SPLIT_SHARE * request.seconds, _SPLIT_SECONDS)
    while time.perf_counter() < until or len(rows) < _MIN_SAMPLES:
        uploaded, upload_ms = _ms(predict.upload, image)
        ran, network_ms = _ms(predict.network, uploaded)
        outputs, readout_ms = _ms(predict.readout, ran)
        rows.append((upload_ms, network_ms, readout_ms))
    upload_ms, network_ms, readout_ms = map(statistics.median, zip(*rows, strict=True))
    merge_ms = None
    if "slot_map" not in outputs:
        merge = _merger(request.path)
        merge_ms = statistics.median([_ms(merge, outputs)[1] for _ in range(1 + _MIN_SAMPLES)][1:])
    return Split(_letterbox_ms(request), upload_ms, network_ms, readout_ms, merge_ms)


def _letterbox_ms(request: Request) -> float | None:
    """None where there is no OpenCV, which edgeseg's own letterbox needs: on a device that has only the runtime."""
    try:
        from edgeseg.data.transforms import letterbox
    except ModuleNotFoundError:
        return None
    photo = np.zeros((*_PHOTO, 3), dtype=np.uint8)
    return statistics.median(_ms(lambda image: letterbox(image, request.image_size), photo)[1] for _ in range(5))


def _ms(stage: Callable[[Any], Any], value: Any) -> tuple[Any, float]:
    started = time.perf_counter_ns()
    result = stage(value)
    return result, (time.perf_counter_ns() - started) / 1e6


def _resident_mib() -> float:
    pages = Path("/proc/self/statm")
    if pages.exists():
        return int(pages.read_text().split()[1]) * resource.getpagesize() / 2**20
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
    aside = Path(result_path + ".part")
    aside.write_text(json.dumps(asdict(result)), encoding="utf-8")
    aside.replace(result_path)


if __name__ == "__main__":
    _main(*sys.argv[1:])
