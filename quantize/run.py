"""A float checkpoint to a quantized one, and either to something that predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from edgeseg.config import config_from_dict, config_to_dict
from edgeseg.display import progress, say
from edgeseg.engine.checkpoint import Checkpoint, beside, load_checkpoint, load_weights, save_checkpoint
from edgeseg.engine.evaluate import evaluate, torch_predictor
from edgeseg.engine.source import Source
from edgeseg.losses.kmax import KMaxLoss
from edgeseg.losses.registry import build_loss
from edgeseg.models import build_model
from edgeseg.quantize.deploy import deploy
from edgeseg.quantize.fine_tune import LabelLoss, Progress
from edgeseg.quantize.forms import ALWAYS_MADE, refuse_unheld
from edgeseg.quantize.images import calibration_batches, data_root, open_splits, training_batches
from edgeseg.quantize.integer_reference import integer_reference
from edgeseg.quantize.modules import set_phase
from edgeseg.quantize.partial import open_partial, partial_path
from edgeseg.quantize.prepare import prepare
from edgeseg.quantize.qat import count_integer_weights, quantize
from edgeseg.quantize.recipes import RECIPES, Recipe, find_recipe
from edgeseg.structures import InputError, TaskName


def quantize_checkpoint(
    source: Path,
    recipe_name: str,
    data: Path | None,
    steps: int | None,
    out: Path | None,
    *,
    data_format: str | None = None,
    seed: int | None = None,
    runtimes: Sequence[str] = ALWAYS_MADE,
    resume: bool = False,
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
        seed: Of order and augmentation; None = the float training's, whose order is continued.
        runtimes: That the result is meant for.
        resume: Continue what was interrupted; the result is that of a run without a break, bit by bit.
        force: Calibrate on fewer than 32 images too, or on noise.
        quiet: Show no progress.

    Returns:
        out, recipe, integer share of the weights, steps and which of them was kept, metrics on the val split.

    Raises:
        InputError: Unknown recipe, one that a runtime can't hold, no data, too little of it, noise, or data of other
            categories; a checkpoint that is quantized already; something else to resume.
        CheckError: The loss was not finite, or nothing became integer.
    """
    recipe = find_recipe(recipe_name)
    if steps is not None:
        recipe = replace(recipe, qat_steps=steps)
    refuse_unheld(recipe, runtimes)
    checkpoint = with_seed(load_checkpoint(source), seed)
    path = out or beside(checkpoint, f"{recipe.name}.safetensors")
    label_loss = label_loss_of(checkpoint) if recipe.qat_label_weight else None
    if recipe.qat_label_weight and label_loss is None:
        head = checkpoint.config.model.head
        say(
            f"a {head} network has no loss on slots alone: trained towards its float answers, not its labels",
            quiet=quiet,
        )
        recipe = replace(recipe, qat_label_weight=0.0)
    config = checkpoint.config
    model = checkpoint.model().deployable()
    root = data_root(checkpoint, data)
    train, val = open_splits(checkpoint, data, data_format)
    calibration = calibration_batches(train, config.data.image_size, root, force=force)
    saving = open_partial(path, checkpoint, recipe, root, resume=resume)
    first = saving.start.step if saving.start else 0

    with progress(f"training {recipe.name}", max(1, recipe.qat_steps - first), quiet=quiet) as advance:

        def show(state: Progress) -> None:
            advance(1)

        prepared = quantize(
            model,
            recipe,
            calibration=calibration,
            batches=training_batches(checkpoint, train, first=first, steps=recipe.qat_steps),
            label_loss=label_loss,
            saving=saving,
            is_trained=True,
            on_progress=show,
        )
    with progress(f"evaluating {recipe.name}", len(val), quiet=quiet) as advance:
        result = evaluate(
            torch_predictor(integer_reference(deploy(prepared)), config.merge, checkpoint.categories),
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
    partial_path(path).unlink(missing_ok=True)
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


def open_checkpoint_source(path: Path, precision: str | None, task: TaskName = "panoptic") -> Source:
    """A float or quantized checkpoint through torch.

    Args:
        path: Checkpoint file or run folder.
        precision: "float32" or a recipe's name: which checkpoint of a run folder; None = the float one.
        task: What is asked of it.

    Raises:
        InputError: No such checkpoint, or a damaged one.
    """
    if precision not in (None, "float32") and path.is_dir():
        path = path / f"{find_recipe(str(precision)).name}.safetensors"
    checkpoint = load_checkpoint(path)
    model: nn.Module
    if "recipe" in checkpoint.extra:
        prepared, recipe = load_quantized(checkpoint)
        model, found = integer_reference(deploy(prepared)), recipe.name
    else:
        model, found = checkpoint.model().deployable(), "float32"
    if precision not in (None, found):
        raise InputError(f"{checkpoint.path} is {found}, not {precision}; known are float32, {', '.join(RECIPES)}")
    config = checkpoint.config
    predictor = torch_predictor(model, config.merge, checkpoint.categories, task=task)
    name = f"{checkpoint.path} ({found}, torch)"
    data = config.data
    return Source(name, predictor, data.image_size, checkpoint.categories, data.root, data.format)


def with_seed(checkpoint: Checkpoint, seed: int | None) -> Checkpoint:
    """The checkpoint with another seed for the training to come; None = its own."""
    if seed is None:
        return checkpoint
    config = checkpoint.config
    return replace(checkpoint, config=replace(config, train=replace(config.train, seed=seed)))


def label_loss_of(checkpoint: Checkpoint) -> LabelLoss | None:
    """What the labels say about the final slots, as in the float training but without its training-only branches.

    None where the head's loss looks at more than slots.
    """
    config = checkpoint.config
    loss = build_loss(config.model.head, config.loss, [category.is_thing for category in checkpoint.categories])
    return loss.compare_slots if isinstance(loss, KMaxLoss) else None
