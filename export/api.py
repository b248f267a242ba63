"""Models to a verified bundle, and a bundle back to something that predicts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from numpy.typing import NDArray
from torch import nn

from edgeseg.config import Config, config_to_dict
from edgeseg.export import bundle as layout
from edgeseg.export.bundle import Artifact, Bundle, Verdict, open_bundle
from edgeseg.export.golden import Golden, write_golden
from edgeseg.export.graph import DeployedGraph
from edgeseg.export.place import whole_folder
from edgeseg.export.plan import Job, Merges, Plan, plan_export
from edgeseg.export.program import Conversions, export_program
from edgeseg.export.prove import Subject, check, prove
from edgeseg.export.provenance import checkout_commit, time_utc, tool_versions
from edgeseg.export.reference import Reference, torch_answers
from edgeseg.export.runtimes import MergeMode, get_runtime
from edgeseg.export.trial import Setting
from edgeseg.export.verify import to_merged
from edgeseg.quantize.packed import pack_state
from edgeseg.structures import Category, InputError, Merged, TaskName

_MAX_CONVERTERS = 2  # at once; each takes a core and a gigabyte


@dataclass(frozen=True)
class Progress:
    """Where a long job stands.

    Attributes:
        done: Steps done.
        total: Steps in all.
        step: What is being done now, or, when all is done, what it came to.
    """

    done: int
    total: int
    step: str


OnProgress = Callable[[Progress], None]


def num_steps(plan: Plan) -> int:
    """Steps that `export_bundle` reports: torch's answers per network; tracing, converting, verifying per artifact."""
    return len(plan.sources) + 3 * len(plan.jobs)


def export_bundle(
    models: Mapping[str, nn.Module],
    *,
    name: str,
    config: Config,
    categories: Sequence[Category],
    golden_images: Sequence[NDArray[np.uint8]],
    out: Path,
    runtimes: Sequence[str] = (),
    precisions: Sequence[str] = (),
    merges: Merges = (),
    metrics: Mapping[str, Any] | None = None,
    licence: str = "unspecified",
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    on_progress: OnProgress = lambda progress: None,
) -> Path:
    """Converts every model for every runtime, verifies each file through its runtime, and writes the bundle.

    The folder appears at the end and whole, or not at all.

    Args:
        models: By precision (`float32`, `int8`): float32 (1, 3, H, W) RGB in 0..255 -> Slots, in eval mode, on the CPU.
        name: Of the bundle; artifacts are called `NAME-HxW.PRECISION.RUNTIME.MERGE...`.
        config: The experiment; gives the image size and the merge's thresholds.
        categories: By contiguous index.
        golden_images: (H, W, 3) uint8 RGB, letterboxed; real ones, artifacts are judged on them.
        out: NAME.edgeseg.
        runtimes: See `plan_export`.
        precisions: See `plan_export`.
        merges: See `plan_export`.
        metrics: JSON values, kept as they are.
        licence: Of the weights.
        provenance: JSON values: where weights and data are from; time and commit are added.
        overwrite: Replace what is at `out`.
        on_progress: Called from this thread when a step begins, and once more at the end.

    Returns:
        `out`.

    Raises:
        InputError: What was asked for cannot be made (see `plan_export`), `out` there already or not to be written,
            images of another size.
        CheckError: A conversion failed (its log is kept beside `out`) or an artifact is below its floor.
    """
    size = config.data.image_size
    plan = plan_export(
        list(models), name=name, image_size=size, runtimes=runtimes, precisions=precisions, merges=merges
    )
    _refuse(out, golden_images, size, overwrite)
    is_thing = [category.is_thing for category in categories]
    steps = _Steps(num_steps(plan), on_progress)
    answers = {}
    for source in plan.sources:
        steps.begin(f"torch's answers in {source}")
        answers[source] = torch_answers(models[source], golden_images, config=config.merge, is_thing=is_thing)
    goldens = {job.precision: answers[job.source] for job in plan.jobs}
    with whole_folder(out) as aside:
        folder = aside / "whole"
        listed = write_golden(folder, goldens)
        _write_weights(folder / layout.WEIGHTS, {source: models[source] for source in plan.sources})
        verified = _convert_and_verify(plan.jobs, models, goldens, aside, out.parent, config, is_thing, steps)
        bundle = Bundle(
            path=out,
            name=name,
            image_size=size,
            num_slots=len(answers[plan.sources[0]][0].merged.slot_category),
            categories=tuple(categories),
            merge=config.merge,
            config=config_to_dict(config),
            metrics=metrics or {},
            tools=tool_versions(),
            licence=licence,
            artifacts=tuple(_describe(job, verdict, folder) for job, verdict in verified),
            goldens=listed,
            provenance={"time_utc": time_utc(), "commit": checkout_commit()} | dict(provenance or {}),
        )
        _write_descriptions(bundle, folder)
    steps.end(f"{out.name}: {len(bundle.artifacts)} artifacts, each equal to torch above its floor")
    return out


def load_predictor(
    path: Path,
    *,
    runtime: str | None = None,
    precision: str | None = None,
    task: TaskName = "panoptic",
    num_threads: int = 1,
) -> Callable[[NDArray[np.uint8]], Merged]:
    """Opens a bundle and makes one of its artifacts callable: (H, W, 3) uint8 RGB of the network's size -> Merged.

    Raises:
        InputError: Bundle changed, no such artifact (other tasks need one that leaves the merge to the app), runtime's
            package missing, image of another size (when called).
    """
    bundle = open_bundle(path)
    artifact = bundle.find(runtime, precision, merge_for(task))
    predict = get_runtime(artifact.runtime).load(path / artifact.file, num_threads=num_threads)
    is_thing = [category.is_thing for category in bundle.categories]

    def run(image: NDArray[np.uint8]) -> Merged:
        if image.shape != (*bundle.image_size, 3) or image.dtype != np.uint8:
            raise InputError(f"{artifact.file} takes uint8 {(*bundle.image_size, 3)}, not {image.dtype} {image.shape}")
        outputs = predict(np.ascontiguousarray(image)[None])
        return to_merged(outputs, config=bundle.merge, is_thing=is_thing, task=task)

    return run


def merge_for(task: TaskName) -> MergeMode | None:
    """Where an artifact's merge must be: a graph that merges has no slots left for another task. None = anywhere."""
    return None if task == "panoptic" else "app"


class _Steps:
    def __init__(self, total: int, on_progress: OnProgress) -> None:
        self.total, self.begun, self.on_progress = total, 0, on_progress

    def begin(self, step: str) -> None:
        self.on_progress(Progress(self.begun, self.total, step))
        self.begun += 1

    def end(self, outcome: str) -> None:
        self.on_progress(Progress(self.begun, self.total, outcome))


def _refuse(out: Path, images: Sequence[NDArray[np.uint8]], size: tuple[int, int], overwrite: bool) -> None:
    if out.suffix != layout.SUFFIX:
        raise InputError(f"bundle {out} must be called NAME{layout.SUFFIX}")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists; give another name, or --overwrite")
    if out.exists() and not (out / layout.DESCRIPTION).is_file():
        raise InputError(f"{out} is no bundle and is not overwritten; move it away")
    if not images:
        raise InputError("no golden images; artifacts are verified on at least one")
    for image in images:
        if image.shape != (*size, 3) or image.dtype != np.uint8:
            raise InputError(
                f"golden images must be uint8 {(*size, 3)}, letterboxed; one is {image.dtype} {image.shape}"
            )


def _convert_and_verify(
    jobs: Sequence[Job],
    models: Mapping[str, nn.Module],
    goldens: Mapping[str, Sequence[Golden]],
    aside: Path,
    log_folder: Path,
    config: Config,
    is_thing: Sequence[bool],
    steps: _Steps,
) -> list[tuple[Job, Verdict]]:
    """Traces here, one after the other; converts in children, two at a time; verifies here when those are gone.

    Verifying meanwhile would save little time, cores being taken, and have runtimes and converters in memory at once.
    """
    (aside / "work").mkdir()
    setting = Setting(config.merge, is_thing, config.data.image_size, config.model.mean, config.model.std)
    references = {job.precision: Reference(goldens[job.precision], models[job.source]) for job in jobs}
    num_workers = min(_MAX_CONVERTERS, os.cpu_count() or 1)
    with Conversions(aside / "work", log_folder, num_workers=num_workers) as conversions:
        begun: list[Future[None]] = []
        for job in jobs:
            steps.begin(f"tracing {job.file}")
            graph = DeployedGraph(models[job.source], merge=job.merge, config=config.merge, is_thing=is_thing)
            program = export_program(graph, job.runtime, config.data.image_size)
            begun.append(conversions.submit(program, job, aside / "whole" / job.file))
        for job, conversion in zip(jobs, begun, strict=True):
            steps.begin(f"converting {job.file}")
            conversion.result()
    results = []
    for job in jobs:
        steps.begin(f"verifying {job.file}")
        subject = Subject(aside / "whole" / job.file, job.runtime, job.precision, job.merge)
        results.append((job, check(prove(subject, setting, references))))
    return results


def _describe(job: Job, verdict: Verdict, folder: Path) -> Artifact:
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
        stored=job.runtime.stored(path),
    )


def _write_weights(path: Path, models: Mapping[str, nn.Module]) -> None:
    """All models' state in one file, names preceded by the precision."""
    state = {
        f"{precision}.{name}": tensor.detach().clone().contiguous()
        for precision, model in models.items()
        for name, tensor in pack_state(model.state_dict()).items()
    }
    path.write_bytes(safetensors.torch.save(state))  # written here: its own writer hides a full disk's error number


def _write_descriptions(bundle: Bundle, folder: Path) -> None:
    """Writes verify.json, then bundle.json with the checksums of everything."""
    _write_json(folder / layout.VERIFY, {artifact.file: asdict(artifact.verify) for artifact in bundle.artifacts})
    artifacts = {artifact.file for artifact in bundle.artifacts}
    loose = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    files = {name.as_posix(): layout.checksum(folder / name) for name in loose if name.parts[0] not in artifacts}
    _write_json(folder / layout.DESCRIPTION, layout.to_table(bundle, files=files))


def _write_json(path: Path, table: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
