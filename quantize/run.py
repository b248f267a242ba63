"""A float checkpoint to a quantized one, and either to something that predicts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from edgeseg.config import config_from_dict, config_to_dict
from edgeseg.data.loader import CachedSamples, Samples, train_loader
from edgeseg.data.sets import open_dataset
from edgeseg.data.transforms import letterbox
from edgeseg.display import progress
from edgeseg.engine.checkpoint import Checkpoint, beside, load_checkpoint, load_weights, save_checkpoint
from edgeseg.engine.evaluate import evaluate, require_same_categories, torch_predictor
from edgeseg.engine.source import Source
from edgeseg.losses.kmax import KMaxLoss
from edgeseg.losses.registry import build_loss
from edgeseg.models import build_model
from edgeseg.quantize.fine_tune import LabelLoss, Progress
from edgeseg.quantize.modules import set_phase
from edgeseg.quantize.prepare import prepare
from edgeseg.quantize.qat import count_integer_weights, quantize
from edgeseg.quantize.recipes import RECIPES, Recipe, find_recipe
from edgeseg.quantize.sensitivity import analyse, fit_budget, fit_quality, to_toml
from edgeseg.structures import Batch, InputError

CALIBRATION_IMAGES = 64
LEAST_CALIBRATION_IMAGES = 32


def quantize_checkpoint(
    source: Path,
    recipe_name: str,
    data: Path | None,
    steps: int | None,
    out: Path | None,
    *,
    data_format: str | None = None,
    force: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Quantizes a float checkpoint, scores the result and writes it beside the checkpoint.

    Args:
        source: Float checkpoint or run folder.
        recipe_name: In `RECIPES`, or a TOML file.
        data: Folder of a data set; None = the one it was trained on.
        steps: Training steps instead of the recipe's.
        out: File to write; None = RUN/RECIPE.safetensors.
        data_format: Layout of the folder; None = recognised, or what training was told.
        force: Calibrate on fewer than 32 images too.
        quiet: Show no progress.

    Returns:
        out, recipe, integer share of the weights, steps and which of them was kept, metrics on the val split.

    Raises:
        InputError: Unknown recipe, no data, too little of it, or data of other categories.
        CheckError: The loss was not finite, or nothing became integer.
    """
    recipe = find_recipe(recipe_name)
    if steps is not None:
        recipe = replace(recipe, qat_steps=steps)
    checkpoint = load_checkpoint(source)
    path = out or beside(checkpoint, f"{recipe.name}.safetensors")
    config = checkpoint.config
    train, val = _open_splits(checkpoint, data, data_format)
    if len(train) < LEAST_CALIBRATION_IMAGES and not force:
        raise InputError(
            f"{data or config.data.root} has {len(train)} train images; ranges of activations measured on fewer than "
            f"{LEAST_CALIBRATION_IMAGES} do not hold for others: give more, or say --force"
        )

    with progress(f"training {recipe.name}", max(1, recipe.qat_steps), quiet=quiet) as advance:

        def show(state: Progress) -> None:
            advance(1)

        prepared = quantize(
            checkpoint.model().deployable(),
            recipe,
            calibration=_calibration(train, config.data.image_size),
            batches=_training_batches(checkpoint, train, recipe.qat_steps),
            label_loss=_label_loss(checkpoint) if recipe.qat_label_weight else None,
            on_progress=show,
        )
    with progress(f"evaluating {recipe.name}", len(val), quiet=quiet) as advance:
        result = evaluate(
            torch_predictor(prepared, config.merge, checkpoint.categories),
            val,
            size=config.data.image_size,
            categories=checkpoint.categories,
            on_progress=lambda done, total: advance(1),
        )
    save_checkpoint(
        path,
        {"weights": prepared.state_dict()},
        config=config,
        categories=checkpoint.categories,
        step=checkpoint.step,
        metrics=result.to_dict(),
        extra={"recipe": config_to_dict(recipe)},
    )
    integer, total = count_integer_weights(prepared)
    share = round(integer / total, 4)
    return {
        "out": str(path),
        "recipe": recipe.name,
        "integer_weight_share": share,
        "steps": recipe.qat_steps,
        "kept_step": prepared.meta.get("kept_step", 0),
        "metrics": result.to_dict(),
    }


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
        quiet: Show no progress.

    Returns:
        The layers, the most sensitive first; `recipe_file` where one was written.

    Raises:
        InputError: As `quantize_checkpoint`; or nothing fits.
    """
    recipe = find_recipe(recipe_name)
    checkpoint = load_checkpoint(source)
    config = checkpoint.config
    train, val = _open_splits(checkpoint, data, data_format)
    calibration = _calibration(train, config.data.image_size)
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
    path.write_text(to_toml(mixed), encoding="utf-8")
    return result | {"recipe_file": str(path), "spared": len(mixed.int8_modules), "pq_drop": lost}


def load_quantized(checkpoint: Checkpoint) -> tuple[fx.GraphModule, Recipe]:
    """The quantized network of a checkpoint that `quantize_checkpoint` wrote, in phase `train`, without gradients.

    Raises:
        InputError: The checkpoint is a float one, or of another model.
    """
    if "recipe" not in checkpoint.extra:
        raise InputError(
            f"{checkpoint.path} is a float checkpoint; quantize it first: edgeseg quantize {checkpoint.path}"
        )
    recipe = config_from_dict(Recipe, checkpoint.extra["recipe"], where=f"{checkpoint.path}: recipe")
    size = checkpoint.config.data.image_size
    is_thing = [category.is_thing for category in checkpoint.categories]
    model = build_model(checkpoint.config.model, is_thing, size).deployable()
    prepared = prepare(model, recipe, torch.zeros(1, 3, *size))
    load_weights(prepared, checkpoint.tensors["weights"], checkpoint.path)
    set_phase(prepared, "train")
    return prepared.requires_grad_(False), recipe


def open_checkpoint_source(path: Path, precision: str | None) -> Source:
    """A float or quantized checkpoint through torch.

    Args:
        path: Checkpoint file or run folder.
        precision: "float32" or a recipe's name: which checkpoint of a run folder; None = the float one.

    Raises:
        InputError: No such checkpoint, or a damaged one.
    """
    if precision not in (None, "float32") and path.is_dir():
        path = path / f"{find_recipe(str(precision)).name}.safetensors"
    checkpoint = load_checkpoint(path)
    model: nn.Module
    if "recipe" in checkpoint.extra:
        model, recipe = load_quantized(checkpoint)
        found = recipe.name
    else:
        model, found = checkpoint.model().deployable(), "float32"
    if precision not in (None, found):
        raise InputError(f"{checkpoint.path} is {found}, not {precision}; known are float32, {', '.join(RECIPES)}")
    config = checkpoint.config
    predictor = torch_predictor(model, config.merge, checkpoint.categories)
    name = f"{checkpoint.path} ({found}, torch)"
    data = config.data
    return Source(name, predictor, data.image_size, checkpoint.categories, data.root, data.format)


def _open_splits(checkpoint: Checkpoint, data: Path | None, data_format: str | None) -> tuple[Samples, Samples]:
    """Train and val split of a data set, or of what a checkpoint was trained on."""
    config = checkpoint.config
    if (root := data or config.data.root) is None:
        raise InputError(f"{checkpoint.path} does not say what it was trained on; give --data FOLDER")
    layout = data_format or ("auto" if data else config.data.format)
    train, val = (open_dataset(root, split, layout) for split in ("train", "val"))
    require_same_categories(checkpoint.categories, train.categories, str(root))
    return train, val


def _calibration(samples: Samples, size: tuple[int, int]) -> list[torch.Tensor]:
    """Evenly spaced images as the deployed network will see them: letterboxed, not augmented."""
    count = min(CALIBRATION_IMAGES, len(samples))
    images = [letterbox(samples[i * len(samples) // count].image, size)[0] for i in range(count)]
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    return [stacked[i : i + 8] for i in range(0, count, 8)]


def _training_batches(checkpoint: Checkpoint, samples: Samples, steps: int) -> Iterable[Batch]:
    """The augmented batches of the float training's next steps."""
    config = checkpoint.config
    return train_loader(
        CachedSamples(samples),
        checkpoint.categories,
        config.data,
        seed=config.train.seed,
        start_step=checkpoint.step,
        num_steps=steps,
    )


def _label_loss(checkpoint: Checkpoint) -> LabelLoss:
    """What the labels say about the final slots, as in the float training but without its training-only branches."""
    config = checkpoint.config
    loss = build_loss(config.model.head, config.loss, [category.is_thing for category in checkpoint.categories])
    if not isinstance(loss, KMaxLoss):
        raise InputError(
            f"{checkpoint.path}: a {config.model.head} network has no loss on slots alone; take a recipe with "
            "qat_label_weight = 0"
        )
    return loss.compare_slots
