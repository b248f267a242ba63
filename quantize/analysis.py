"""What each layer of a checkpoint loses by a recipe, and a recipe that spares the most sensitive."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from edgeseg.display import progress
from edgeseg.engine.checkpoint import beside, load_checkpoint
from edgeseg.engine.evaluate import evaluate, torch_predictor
from edgeseg.quantize.images import calibration_batches, data_root, open_splits
from edgeseg.quantize.recipes import find_recipe
from edgeseg.quantize.sensitivity import analyse, fit_budget, fit_quality, to_toml
from edgeseg.quantize.sensitivity_chart import draw
from edgeseg.structures import InputError


def analyse_checkpoint(
    source: Path,
    recipe_name: str,
    data: Path | None,
    out: Path | None,
    *,
    data_format: str | None = None,
    images: int = 0,
    budget: int | None = None,
    max_pq_drop: float | None = None,
    plot: Path | None = None,
    force: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """What each layer loses by a recipe's weights, and, if asked for, a recipe that spares the most sensitive.

    Args:
        source: Float checkpoint or run folder.
        recipe_name: In `RECIPES`, or a TOML file.
        data: Folder of a data set; None = the one it was trained on.
        out: TOML file to write; None = RUN/RECIPE-mixed.toml. Only with a budget or a quality.
        data_format: Layout of the folder.
        images: Of the val split to score each layer on; 0 = no scores but divergence and SQNR.
        budget: Bytes that the weights may take.
        max_pq_drop: Points of panoptic quality that may be lost before training.
        plot: SVG file to write.
        force: Calibrate on fewer than 32 images too, or on noise.
        quiet: Show no progress.

    Returns:
        The layers, the most sensitive first; `recipe_file` where one was written.

    Raises:
        InputError: As `quantize_checkpoint`; or nothing fits.
    """
    recipe = find_recipe(recipe_name)
    checkpoint = load_checkpoint(source)
    config = checkpoint.config
    train, val = open_splits(checkpoint, data, data_format)
    calibration = calibration_batches(train, config.data.image_size, data_root(checkpoint, data), force=force)
    model = checkpoint.model().deployable()

    def score(network: nn.Module) -> float:
        result = evaluate(
            torch_predictor(network, config.merge, checkpoint.categories),
            val,
            size=config.data.image_size,
            categories=checkpoint.categories,
            max_images=images,
        )
        return result.all.pq

    with progress(f"analysing {recipe.name}, %", 100, quiet=quiet) as advance:
        rows = analyse(
            model,
            recipe,
            calibration,
            score=score if images else None,
            on_progress=lambda done, total: advance(100 * done // total - 100 * (done - 1) // total),
        )
    result: dict[str, Any] = {"recipe": recipe.name, "layers": [asdict(row) for row in rows]}
    if plot is not None:
        _write(plot, draw(rows, f"{checkpoint.path.stem}, {recipe.name}: one layer rounded at a time"))
        result["plot"] = str(plot)
    if budget is None and max_pq_drop is None:
        return result
    mixed, lost = recipe, None
    if budget is not None:
        mixed = fit_budget(recipe, rows, budget)
    else:
        assert max_pq_drop is not None
        mixed, lost = fit_quality(model, recipe, rows, calibration, score=score, max_pq_drop=max_pq_drop)
    path = out or beside(checkpoint, f"{recipe.name}-mixed.toml")
    if path.exists():
        raise InputError(f"{path} exists; give another --out")
    _write(path, to_toml(mixed))
    return result | {"recipe_file": str(path), "spared": len(mixed.int8_modules), "pq_drop": lost}


def _write(path: Path, text: str) -> None:
    """The whole file or none."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
