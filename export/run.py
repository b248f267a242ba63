"""A training run to a bundle, and a bundle to something that predicts."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgeseg.config import Config, config_from_dict
from edgeseg.data.loader import evenly_spaced
from edgeseg.data.photo import read_image
from edgeseg.data.sets import open_dataset
from edgeseg.data.transforms import letterbox
from edgeseg.display import Advance, progress, say
from edgeseg.engine.checkpoint import Checkpoint, beside, load_checkpoint, shipped_photos
from edgeseg.engine.source import Source
from edgeseg.export import api
from edgeseg.export.bundle import SUFFIX, checksum, open_bundle
from edgeseg.export.plan import FLOAT, Merges, plan_export
from edgeseg.quantize.deploy import deploy
from edgeseg.quantize.fold import fold
from edgeseg.quantize.recipes import RECIPES
from edgeseg.quantize.run import load_quantized
from edgeseg.structures import InputError, TaskName


def export_run(
    source: Path,
    out: Path | None,
    *,
    runtimes: Sequence[str] = (),
    precisions: Sequence[str] = (),
    merges: Merges = (),
    image_size: tuple[int, int] | None = None,
    data: Path | None = None,
    data_format: str | None = None,
    golden_images: int = 8,
    licence: str = "unspecified",
    overwrite: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Exports a checkpoint, or a run's float checkpoint with every quantized one beside it, as one verified bundle.

    Args:
        source: Run folder or checkpoint file.
        out: NAME.edgeseg; None = beside the checkpoint, named after the run.
        runtimes: Registry names; none means all.
        precisions: Of checkpoints, or what runtimes make of the float one; none means all checkpoints.
        merges: `graph`, `app`, `auto`, for all runtimes or by runtime; none means `auto`, each runtime's own default.
        image_size: (height, width) of the network's input; None = the one it was trained at.
        data: Folder of a data set whose val images become the golden ones; None = the one it was trained on, or the
            photos that come with edgeseg's own checkpoints.
        data_format: Layout of the folder; None = recognised, or what training was told.
        golden_images: How many.
        licence: Of the weights.
        overwrite: Replace an existing bundle.
        quiet: Show no progress.

    Returns:
        The bundle's path, its artifacts, and what runtimes that nobody named could not hold.

    Raises:
        InputError: No checkpoint, no data, what was asked for cannot be made, or `out` there already.
        CheckError: An artifact differs from torch beyond its floor; nothing is left behind.
    """
    checkpoints = _checkpoints(source, precisions, image_size)
    first = next(iter(checkpoints.values()))
    config = first.config
    out = out or beside(first, f"{first.path.resolve().parent.name}{SUFFIX}")
    wanted: dict[str, Any] = {"runtimes": runtimes, "precisions": precisions, "merges": merges}
    plan = plan_export(list(checkpoints), name=out.stem, image_size=config.data.image_size, **wanted)
    for line in plan.left_out:
        say(f"left out: {line}", quiet=quiet)
    images, origin = _golden_images(first, golden_images, data, data_format)
    with progress("exporting", api.num_steps(plan), quiet=quiet) as advance:
        api.export_bundle(
            {precision: _network(checkpoints[precision]) for precision in plan.sources},
            name=out.stem,
            config=config,
            categories=first.categories,
            golden_images=images,
            out=out,
            metrics={precision: checkpoints[precision].metrics for precision in plan.sources},
            licence=licence,
            provenance={
                "checkpoints": {precision: _provenance(checkpoints[precision]) for precision in plan.sources},
                "data": origin,
            },
            overwrite=overwrite,
            on_progress=_shown(advance),
            **wanted,
        )
    artifacts = [asdict(artifact) for artifact in open_bundle(out).artifacts]
    return {"bundle": str(out), "artifacts": artifacts, "left_out": list(plan.left_out)}


def open_bundle_source(path: Path, runtime: str | None, precision: str | None, task: TaskName = "panoptic") -> Source:
    """An artifact of a bundle through its runtime; int8 and the first runtime by default.

    Raises:
        InputError: Not a bundle, a changed file, no such artifact, or one that cannot be asked this task.
    """
    bundle = open_bundle(path)
    artifact = bundle.find(runtime, precision, api.merge_for(task))
    config = config_from_dict(Config, dict(bundle.config), where=f"{path}: config")
    predictor = api.load_predictor(path, runtime=artifact.runtime, precision=artifact.precision, task=task)
    data = config.data
    return Source(artifact.file, predictor, bundle.image_size, bundle.categories, data.root, data.format)


def _checkpoints(source: Path, wanted: Sequence[str], image_size: tuple[int, int] | None) -> dict[str, Checkpoint]:
    """Checkpoints by precision, the float one first.

    Raises:
        InputError: A recipe is wanted that no checkpoint was quantized by.
    """
    first = load_checkpoint(source)
    found = {first.extra["recipe"]["name"] if "recipe" in first.extra else FLOAT: first}
    if source.is_dir():
        for file in sorted(source.glob("*.safetensors")):
            if file.stem not in ("best", "last"):
                other = load_checkpoint(file)
                if "recipe" in other.extra:
                    found[other.extra["recipe"]["name"]] = other
    for precision in wanted:
        if precision in RECIPES and precision not in found:
            raise InputError(
                f"{source} holds no {precision} checkpoint; make it with edgeseg quantize {source} --recipe {precision}"
            )
    return {precision: _resized(checkpoint, image_size) for precision, checkpoint in found.items()}


def _resized(checkpoint: Checkpoint, image_size: tuple[int, int] | None) -> Checkpoint:
    if image_size is None:
        return checkpoint
    config = replace(checkpoint.config, data=replace(checkpoint.config.data, image_size=image_size))
    return replace(checkpoint, config=config)


def _network(checkpoint: Checkpoint) -> nn.Module:
    """What is traced: batch norms folded, training-only parts gone."""
    if "recipe" in checkpoint.extra:
        return deploy(load_quantized(checkpoint)[0])
    return fold(checkpoint.model().deployable(), torch.zeros(1, 3, *checkpoint.config.data.image_size))


def _provenance(checkpoint: Checkpoint) -> dict[str, Any]:
    made = {"file": checkpoint.path.name, "sha256": checksum(checkpoint.path), "step": checkpoint.step}
    return made | ({"recipe": checkpoint.extra["recipe"]} if "recipe" in checkpoint.extra else {})


def _shown(advance: Advance) -> api.OnProgress:
    """Progress reports as steps of a progress bar."""
    done = 0

    def show(state: api.Progress) -> None:
        nonlocal done
        advance(state.done - done, state.step)
        done = state.done

    return show


def _golden_images(
    checkpoint: Checkpoint, count: int, data: Path | None, data_format: str | None
) -> tuple[list[NDArray[np.uint8]], dict[str, Any]]:
    """Evenly spaced val images or photos of edgeseg's own, letterboxed, and what the bundle says of them."""
    trained = checkpoint.config.data
    if root := data or trained.root:
        layout = data_format or ("auto" if data else trained.format)
        val = open_dataset(root, "val", layout)
        num_images = {"val": len(val)}
        with contextlib.suppress(InputError):  # the training images need not be at hand
            num_images["train"] = len(open_dataset(root, "train", layout))
        origin = {"name": root.resolve().name, "format": layout, "images": num_images}
        images = [val[index].image for index in _chosen(count, len(val))]
    elif photos := shipped_photos(checkpoint):
        origin = {"name": f"photos with {checkpoint.path.stem}", "format": "photos", "images": {"val": len(photos)}}
        images = [read_image(photos[index]) for index in _chosen(count, len(photos))]
    else:
        raise InputError(f"{checkpoint.path} does not say what it was trained on; give --data FOLDER")
    return [letterbox(image, trained.image_size)[0] for image in images], origin


def _chosen(count: int, total: int) -> list[int]:
    count = min(count, total)
    if count < 1:
        raise InputError(f"golden_images = {count}; an artifact is verified on at least one image")
    return evenly_spaced(count, total)
