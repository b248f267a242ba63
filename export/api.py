"""Models to a verified bundle, and a bundle back to something that predicts."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from edgeseg.config import Config, config_to_dict
from edgeseg.export import bundle as layout
from edgeseg.export.bundle import Artifact, Bundle, Verdict, open_bundle
from edgeseg.export.golden import Golden, read_golden, write_golden
from edgeseg.export.graph import DeployedGraph
from edgeseg.export.program import convert, export_program
from edgeseg.export.runtimes import MergeMode, Runtime, get_runtime, require_converter, require_runner, runtime_names
from edgeseg.export.verify import check, compare, to_merged
from edgeseg.merge import merge_slots
from edgeseg.structures import Category, InputError, Merged

_TOOLS = ("edgeseg", "torch", "executorch", "litert-torch", "ai-edge-litert", "coremltools", "onnx", "onnxruntime")
_MAX_CONVERTERS = 2  # at once; each takes a core and a gigabyte


@dataclass(frozen=True)
class Progress:
    """Where an export stands.

    Attributes:
        done: Steps done; an artifact is two, converting and verifying.
        total: Steps in all.
        message: What was just done.
    """

    done: int
    total: int
    message: str


@dataclass(frozen=True)
class _Job:
    runtime: Runtime
    precision: str
    merge: MergeMode
    file: str


def export_bundle(
    models: Mapping[str, nn.Module],
    *,
    name: str,
    config: Config,
    categories: Sequence[Category],
    golden_images: Sequence[NDArray[np.uint8]],
    out: Path,
    runtimes: Sequence[str] = (),
    merges: Mapping[str, MergeMode] | None = None,
    metrics: Mapping[str, Any] | None = None,
    licence: str = "unspecified",
    overwrite: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Path:
    """Converts every model for every runtime, verifies each file through its runtime, and writes the bundle.

    The folder appears at the end and whole, or not at all.

    Args:
        models: By precision (`float32`, `int8`): float32 (1, 3, H, W) RGB in 0..255 -> Slots, in eval mode, on the CPU.
        name: Of the bundle; artifacts are called `NAME-HxW.PRECISION...`.
        config: The experiment; gives the image size and the merge's thresholds.
        categories: By contiguous index.
        golden_images: (H, W, 3) uint8 RGB, letterboxed; real ones, artifacts are judged on them.
        out: NAME.edgeseg.
        runtimes: Registry names; none means all.
        merges: Where the merge runs, by runtime, where not by default.
        metrics: JSON values, kept as they are.
        licence: Of the weights.
        overwrite: Replace what is at `out`.
        on_progress: Called from this thread after each step.

    Returns:
        `out`.

    Raises:
        InputError: A runtime unknown or not installed, `out` there already, images of another size.
        CheckError: A conversion failed (its log is kept beside `out`) or an artifact is below its floor.
    """
    jobs = _plan(models, name, config, runtimes, merges or {})
    _refuse(out, golden_images, config.data.image_size, overwrite)
    is_thing = [category.is_thing for category in categories]
    goldens = {precision: _golden(model, golden_images, config, is_thing) for precision, model in models.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.parent / f".{out.name}.{os.getpid()}"
    aside.mkdir()
    try:
        for precision, answers in goldens.items():
            write_golden(aside / layout.GOLDEN, precision, answers)
        _write_weights(aside / layout.WEIGHTS, models)
        steps = _Steps(2 * len(jobs), on_progress)
        artifacts = []
        for job, verdict in _convert_and_verify(jobs, models, goldens, aside, out.parent, config, is_thing, steps):
            artifacts.append(_describe(job, verdict, aside))
        first = next(iter(goldens.values()))[0]
        bundle = Bundle(
            path=out,
            name=name,
            image_size=config.data.image_size,
            num_slots=len(first.merged.slot_category),
            categories=tuple(categories),
            merge=config.merge,
            config=config_to_dict(config),
            metrics=metrics or {},
            tools=_tools(),
            licence=licence,
            artifacts=tuple(artifacts),
        )
        _finish(bundle, aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return out


def load_predictor(
    path: Path, *, runtime: str | None = None, precision: str | None = None, num_threads: int = 1
) -> Callable[[NDArray[np.uint8]], Merged]:
    """Opens a bundle and makes one of its artifacts callable: (H, W, 3) uint8 RGB of the network's size -> Merged.

    Raises:
        InputError: Bundle changed, no such artifact, runtime's package missing, image of another size (when called).
    """
    bundle = open_bundle(path)
    artifact = bundle.find(runtime, precision)
    predict = get_runtime(artifact.runtime).load(path / artifact.file, num_threads=num_threads)
    is_thing = [category.is_thing for category in bundle.categories]

    def run(image: NDArray[np.uint8]) -> Merged:
        if image.shape != (*bundle.image_size, 3) or image.dtype != np.uint8:
            raise InputError(f"{artifact.file} takes uint8 {(*bundle.image_size, 3)}, not {image.dtype} {image.shape}")
        return to_merged(predict(np.ascontiguousarray(image)[None]), config=bundle.merge, is_thing=is_thing)

    return run


def verify_bundle(
    path: Path, *, on_progress: Callable[[Progress], None] = lambda progress: None
) -> list[tuple[Artifact, Verdict]]:
    """Proves a bundle again: checksums, then every artifact through its runtime on this machine.

    Raises:
        InputError: A file is missing or changed, or a runtime's package is missing.
        CheckError: An artifact is below its floor here.
    """
    bundle = open_bundle(path)
    steps = _Steps(len(bundle.artifacts), on_progress)
    is_thing = [category.is_thing for category in bundle.categories]
    results = []
    for artifact in bundle.artifacts:
        runtime = get_runtime(artifact.runtime)
        goldens = read_golden(path / layout.GOLDEN, artifact.precision)
        verdict = _verify(runtime, path / artifact.file, artifact.precision, goldens, bundle, is_thing)
        steps.did(f"verified {artifact.file}: {verdict.pixels_equal:.4f} of the pixels equal")
        results.append((artifact, verdict))
    return results


class _Steps:
    def __init__(self, total: int, on_progress: Callable[[Progress], None]) -> None:
        self.total, self.done, self.on_progress = total, 0, on_progress

    def did(self, message: str) -> None:
        self.done += 1
        self.on_progress(Progress(self.done, self.total, message))


def _plan(
    models: Mapping[str, nn.Module],
    name: str,
    config: Config,
    runtimes: Sequence[str],
    merges: Mapping[str, MergeMode],
) -> list[_Job]:
    """One job per runtime and precision, refused before any work if a package is missing."""
    if not models:
        raise InputError("nothing to export: no model was given")
    if not name or any(not (letter.isalnum() or letter in "-_.") for letter in name):
        raise InputError(f"bundle name {name!r} goes into file names; use letters, digits, '-', '_' and '.'")
    chosen = [get_runtime(runtime) for runtime in runtimes or runtime_names()]
    for runtime in chosen:
        require_converter(runtime)
        require_runner(runtime)
    height, width = config.data.image_size
    return [
        _Job(
            runtime,
            precision,
            merges.get(runtime.name, runtime.default_merge),
            f"{name}-{height}x{width}.{precision}{runtime.suffix}",
        )
        for precision in models
        for runtime in chosen
    ]


def _refuse(out: Path, images: Sequence[NDArray[np.uint8]], size: tuple[int, int], overwrite: bool) -> None:
    if out.suffix != layout.SUFFIX:
        raise InputError(f"bundle {out} must be called NAME{layout.SUFFIX}")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists; give another name, or overwrite it")
    if out.exists() and not (out / layout.DESCRIPTION).is_file():
        raise InputError(f"{out} is no bundle and is not overwritten; move it away")
    if not images:
        raise InputError("no golden images; artifacts are verified on at least one")
    for image in images:
        if image.shape != (*size, 3) or image.dtype != np.uint8:
            raise InputError(
                f"golden images must be uint8 {(*size, 3)}, letterboxed; one is {image.dtype} {image.shape}"
            )


@torch.inference_mode()
def _golden(
    model: nn.Module, images: Sequence[NDArray[np.uint8]], config: Config, is_thing: Sequence[bool]
) -> list[Golden]:
    goldens = []
    for image in images:
        slots = model(torch.from_numpy(image).permute(2, 0, 1)[None].float())
        class_logits, mask_logits = slots[0][0].numpy(), slots[1][0].numpy()
        merged = merge_slots(class_logits, mask_logits, config=config.merge, is_thing=is_thing)
        goldens.append(Golden(image, merged, mask_logits, class_logits))
    return goldens


def _convert_and_verify(
    jobs: Sequence[_Job],
    models: Mapping[str, nn.Module],
    goldens: Mapping[str, Sequence[Golden]],
    folder: Path,
    log_folder: Path,
    config: Config,
    is_thing: Sequence[bool],
    steps: _Steps,
) -> list[tuple[_Job, Verdict]]:
    """Traces here, one after the other; converts in children, two at a time; verifies here in the order of the jobs."""
    with ThreadPoolExecutor(max_workers=min(_MAX_CONVERTERS, os.cpu_count() or 1)) as pool:
        conversions: list[Future[None]] = []
        for job in jobs:
            graph = DeployedGraph(models[job.precision], merge=job.merge, config=config.merge, is_thing=is_thing)
            program = export_program(graph, job.runtime, config.data.image_size)
            log = log_folder / f"{job.file}.log"
            conversions.append(pool.submit(convert, program, job.runtime, job.merge, folder / job.file, log=log))
        try:
            results = []
            for job, conversion in zip(jobs, conversions, strict=True):
                conversion.result()
                steps.did(f"converted {job.file}")
                verdict = _verify(
                    job.runtime, folder / job.file, job.precision, goldens[job.precision], config, is_thing
                )
                steps.did(f"verified {job.file}: {verdict.pixels_equal:.4f} of the pixels equal")
                results.append((job, verdict))
            return results
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _verify(
    runtime: Runtime,
    path: Path,
    precision: str,
    goldens: Sequence[Golden],
    merge_owner: Config | Bundle,
    is_thing: Sequence[bool],
) -> Verdict:
    predict = runtime.load(path)
    verdict = compare(predict, goldens, config=merge_owner.merge, is_thing=is_thing, engine=runtime.engine())
    check(verdict, file=path.name, precision=precision)
    return verdict


def _describe(job: _Job, verdict: Verdict, folder: Path) -> Artifact:
    path = folder / job.file
    return Artifact(
        file=job.file,
        runtime=job.runtime.name,
        precision=job.precision,
        merge=job.merge,
        input=job.runtime.input,
        bytes=layout.size_bytes(path),
        sha256=layout.checksum(path),
        coverage=job.runtime.describe(path),
        verify=verdict,
    )


def _write_weights(path: Path, models: Mapping[str, nn.Module]) -> None:
    """All models' state in one file, names preceded by the precision."""
    state = {
        f"{precision}.{name}": tensor.detach().clone().contiguous()
        for precision, model in models.items()
        for name, tensor in model.state_dict().items()
    }
    save_file(state, path)


def _finish(bundle: Bundle, aside: Path, out: Path) -> None:
    """Writes verify.json, then bundle.json over everything, then puts the folder in its place."""
    verdicts = {artifact.file: asdict(artifact.verify) for artifact in bundle.artifacts}
    _write_json(aside / layout.VERIFY, verdicts)
    kept_apart = {artifact.file for artifact in bundle.artifacts}
    loose = sorted(path for path in aside.rglob("*") if path.is_file())
    names = [path.relative_to(aside) for path in loose]
    files = {name.as_posix(): layout.checksum(aside / name) for name in names if name.parts[0] not in kept_apart}
    _write_json(aside / layout.DESCRIPTION, layout.to_table(bundle, files=files))
    if out.exists():
        replaced = out.parent / f".{out.name}.{os.getpid()}.old"
        out.rename(replaced)
        aside.rename(out)
        shutil.rmtree(replaced)
    else:
        aside.rename(out)


def _write_json(path: Path, table: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _tools() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _TOOLS:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # not installed: it made nothing here
    return versions
