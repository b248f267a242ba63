"""A float network to its quantized twin."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import fx, nn

from edgeseg.quantize.calibrate import calibrate
from edgeseg.quantize.fine_tune import LabelLoss, Progress, fine_tune
from edgeseg.quantize.modules import IntegerLayer
from edgeseg.quantize.prepare import prepare
from edgeseg.quantize.recipes import Recipe
from edgeseg.structures import Batch, InputError


def quantize(
    model: nn.Module,
    recipe: Recipe,
    *,
    calibration: Iterable[torch.Tensor],
    batches: Iterable[torch.Tensor | Batch] = (),
    label_loss: LabelLoss | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> fx.GraphModule:
    """A float model to its quantized twin: fold, calibrate, and fine-tune if the recipe has steps.

    The float model teaches, so images are all that is needed, unless the recipe wants labels too.

    Args:
        model: Float `SlotsModel.deployable()`; not changed. The work happens on its device.
        recipe: What becomes integer and for how long it is trained.
        calibration: Batches of (B, 3, H, W) float32 images, 0..255; 32 to 64 images suffice. All of one size.
        batches: Training images like it, or labelled batches, used when `recipe.qat_steps` > 0; may be endless.
        label_loss: See `fine_tune`.
        on_progress: Called after every step.

    Returns:
        A graph in phase `train`: evaluates like the deployed one and holds the state to save. After training its
        `meta["kept_step"]` is the step whose weights were kept, 0 = the calibrated ones.
        `deploy` makes the graph for export.

    Raises:
        InputError: Nothing to calibrate on, too few batches, or a model that can't be traced.
        CheckError: The loss stopped being finite, or nothing became integer.
    """
    calibration = list(calibration)
    if not calibration:
        raise InputError("quantization got no calibration images; give at least one batch")
    device = next(model.parameters()).device
    prepared = prepare(model, recipe, calibration[0][:1].cpu()).to(device)
    if not (recipe.qat_steps and recipe.qat_free_fraction):
        calibrate(prepared, calibration)
    if recipe.qat_steps:
        prepared.meta["kept_step"] = fine_tune(
            prepared, model, recipe, batches, held_out=calibration, label_loss=label_loss, on_progress=on_progress
        )
    return prepared


def count_integer_weights(prepared: nn.Module) -> tuple[int, int]:
    """Number of weights on an integer grid, and of all parameters."""
    integer = sum(module.weight.numel() for module in prepared.modules() if isinstance(module, IntegerLayer))
    return integer, sum(parameter.numel() for parameter in prepared.parameters())
