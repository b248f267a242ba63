"""A training run to a bundle, and a bundle to something that predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgeseg.config import Config, config_from_dict
from edgeseg.data.loader import Samples
from edgeseg.data.sets import open_dataset
from edgeseg.data.transforms import letterbox
from edgeseg.display import progress
from edgeseg.engine.checkpoint import Checkpoint, load_checkpoint
from edgeseg.engine.source import Source
from edgeseg.export import api
from edgeseg.export.bundle import open_bundle
from edgeseg.export.runtimes import runtime_names
from edgeseg.quantize.fold import fold
from edgeseg.quantize.qat import deploy
from edgeseg.quantize.recipes import RECIPES
from edgeseg.quantize.run import load_quantized
from edgeseg.structures import InputError


def export_run(
    source: Path,
    out: Path | None,
    *,
    runtimes: Sequence[str] = (),
    data: Path | None = None,
    data_format: str | None = None,
    golden_images: int = 8,
    overwrite: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Exports a checkpoint, or a run's float checkpoint with every quantized one beside it, as one verified bundle.

    Args:
        source: Run folder or checkpoint file.
        out: NAME.edgeseg; None = beside the checkpoint, named after the run.
        runtimes: Registry names; none means all.
        data: Folder of a data set whose val images become the golden ones; None = the one it was trained on.
        data_format: Layout of the folder; None = recognised, or what training was told.
        golden_images: How many.
        overwrite: Replace an existing bundle.
        quiet: Show no progress.

    Returns:
        The bundle's path and its artifacts.

    Raises:
        InputError: No checkpoint, no data, a runtime's package missing, or `out` there already.
        CheckError: An artifact differs from torch beyond its floor; nothing is left behind.
    """
    checkpoints = _checkpoints(source)
    first = next(iter(checkpoints.values()))
    if (root := data or first.config.data.root) is None:
        raise InputError(f"{first.path} does not say what it was trained on; give --data FOLDER")
    val = open_dataset(root, "val", data_format or ("auto" if data else first.config.data.format))
    out = out or first.path.parent / f"{first.path.resolve().parent.name}.edgeseg"
    models: dict[str, nn.Module] = {}
    for precision, checkpoint in checkpoints.items():
        if precision == "float32":
            models[precision] = fold(checkpoint.model().deployable(), torch.zeros(1, 3, *first.config.data.image_size))
        else:
            models[precision] = deploy(load_quantized(checkpoint)[0])
    total = 2 * len(models) * len(runtimes or runtime_names())
    with progress("exporting and verifying", total, quiet=quiet) as advance:
        api.export_bundle(
            models,
            name=out.stem,
            config=first.config,
            categories=first.categories,
            golden_images=_golden_images(val, golden_images, first.config),
            out=out,
            runtimes=runtimes,
            metrics={precision: checkpoint.metrics for precision, checkpoint in checkpoints.items()},
            overwrite=overwrite,
            on_progress=lambda state: advance(1),
        )
    return {"bundle": str(out), "artifacts": [asdict(artifact) for artifact in open_bundle(out).artifacts]}


def verify_bundle(path: Path, *, quiet: bool = False) -> dict[str, Any]:
    """Checks every file's checksum and every artifact through its runtime.

    Raises:
        InputError: Not a bundle, or a changed file.
        CheckError: An artifact is below its floor on this machine.
    """
    with progress("verifying", len(open_bundle(path).artifacts), quiet=quiet) as advance:
        results = api.verify_bundle(path, on_progress=lambda state: advance(1))
    return {"bundle": str(path), "artifacts": [{"file": artifact.file} | asdict(v) for artifact, v in results]}


def open_bundle_source(path: Path, runtime: str | None, precision: str | None) -> Source:
    """An artifact of a bundle through its runtime; int8 and the first runtime by default.

    Raises:
        InputError: Not a bundle, a changed file, or no such artifact.
    """
    bundle = open_bundle(path)
    artifact = bundle.find(runtime, precision)
    config = config_from_dict(Config, dict(bundle.config), where=f"{path}: config")
    predictor = api.load_predictor(path, runtime=artifact.runtime, precision=artifact.precision)
    data = config.data
    return Source(artifact.file, predictor, bundle.image_size, bundle.categories, data.root, data.format)


def _checkpoints(source: Path) -> dict[str, Checkpoint]:
    """Checkpoints by precision, the float one first."""
    first = load_checkpoint(source)
    found = {first.extra["recipe"]["name"] if "recipe" in first.extra else "float32": first}
    if source.is_dir():
        for recipe in RECIPES:
            if (file := source / f"{recipe}.safetensors").is_file():
                found[recipe] = load_checkpoint(file)
    return found


def _golden_images(samples: Samples, count: int, config: Config) -> list[NDArray[np.uint8]]:
    """Evenly spaced images of a split, letterboxed."""
    count = min(count, len(samples))
    if count < 1:
        raise InputError(f"golden_images = {count}; an artifact is verified on at least one image")
    return [letterbox(samples[i * len(samples) // count].image, config.data.image_size)[0] for i in range(count)]
