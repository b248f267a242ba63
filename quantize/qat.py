"""A float network to its quantized twin."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import fx, nn

from edgeseg.quantize.activations import LEAST_SCALE, ActivationQuantizer
from edgeseg.quantize.calibrate import calibrate
from edgeseg.quantize.fine_tune import LabelLoss, Progress, Saving, fine_tune
from edgeseg.quantize.modules import IntegerLayer
from edgeseg.quantize.prepare import prepare
from edgeseg.quantize.recipes import Recipe
from edgeseg.structures import Batch, CheckError, InputError


def quantize(
    model: nn.Module,
    recipe: Recipe,
    *,
    calibration: Iterable[torch.Tensor],
    batches: Iterable[torch.Tensor | Batch] = (),
    label_loss: LabelLoss | None = None,
    saving: Saving | None = None,
    is_trained: bool = False,
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
        saving: See `fine_tune`; a continued training takes the batches from where it stopped.
        is_trained: See `check_grids`.
        on_progress: Called after every step.

    Returns:
        A graph in phase `train`: evaluates like the deployed one and holds the state to save. After training its
        `meta["kept_step"]` is the step whose weights were kept, 0 = the calibrated ones.
        `deploy` makes the graph for export.

    Raises:
        InputError: Nothing to calibrate on, too few batches, or a model that can't be traced.
        CheckError: The loss stopped being finite, nothing became integer, or a layer's grid is not usable.
    """
    calibration = list(calibration)
    if not calibration:
        raise InputError("quantization got no calibration images; give at least one batch")
    device = next(model.parameters()).device
    prepared = prepare(model, recipe, calibration[0][:1].cpu()).to(device)
    check_grids(prepared, is_trained=is_trained)
    is_continued = saving is not None and saving.start is not None
    if not is_continued and not (recipe.qat_steps and recipe.qat_free_fraction):
        calibrate(prepared, calibration)
    if recipe.qat_steps:
        check_grids(prepared, is_trained=is_trained)
        prepared.meta["kept_step"] = fine_tune(
            prepared,
            model,
            recipe,
            batches,
            held_out=calibration,
            label_loss=label_loss,
            saving=saving,
            on_progress=on_progress,
        )
    check_grids(prepared, is_trained=is_trained)
    return prepared


def check_grids(prepared: nn.Module, *, is_trained: bool = True) -> None:
    """Stops where integers could stand for nothing.

    Args:
        prepared: Result of `prepare`, calibrated or not.
        is_trained: Nothing may be 0 throughout, either; in a network before its training much is.

    Raises:
        CheckError: Weights or steps are not finite, or a whole layer rounds to 0, or its output does; it is named.
    """
    for name, module in prepared.named_modules():
        if isinstance(module, IntegerLayer):
            step = module.weight_scale().detach()
            if not bool(torch.isfinite(step).all() and torch.isfinite(module.weight).all()):
                raise CheckError(f"layer {name}: weights or their steps are not finite; train again at a lower rate")
            if is_trained and not bool(module.grid.rounded(module.weight.detach(), step).any()):
                raise CheckError(f"layer {name}: all its weights round to 0; train on, or spare it with float_modules")
        if isinstance(module, ActivationQuantizer):
            scale, place = module.current_scale().item(), name.removeprefix("grid_")
            if not math.isfinite(scale):
                raise CheckError(f"{name}: the step of what leaves {place} is {scale}; train again at a lower rate")
            if is_trained and 0 < scale <= LEAST_SCALE:
                raise CheckError(
                    f"{name}: what leaves {place} is 0 on all calibration images; train on, or give others"
                )


def count_integer_weights(prepared: nn.Module) -> tuple[int, int]:
    """Number of weights on an integer grid, and of all parameters."""
    integer = sum(module.weight.numel() for module in prepared.modules() if isinstance(module, IntegerLayer))
    return integer, sum(parameter.numel() for parameter in prepared.parameters())
