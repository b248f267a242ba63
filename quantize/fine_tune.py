"""Quantization-aware fine-tuning: a network on an integer grid is pulled towards its float self and the labels."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import fx, nn

from edgeseg.quantize.calibrate import calibrate
from edgeseg.quantize.modules import set_phase
from edgeseg.quantize.recipes import Recipe
from edgeseg.structures import Batch, CheckError, InputError, Slots

NUM_CHECKS = 6  # during fine-tuning
NUM_HELD_OUT = 4  # batches of calibration images for each check

LabelLoss = Callable[[Slots, Batch], torch.Tensor]
"""(slots, labelled batch) -> () float32."""


@dataclass(frozen=True)
class Progress:
    """Where fine-tuning stands.

    Attributes:
        step: Steps done.
        steps: Steps in all.
        loss: Loss of the last step.
    """

    step: int
    steps: int
    loss: float


def distillation_loss(student: Slots, teacher: Slots) -> torch.Tensor:
    """KL divergence from the teacher: over slots at each pixel, plus over categories in each slot.

    Both terms are means, over pixels and over slots, in nats. The pixel term is the distribution the panoptic merge
    takes its argmax of, so what it pulls together is the picture.
    """
    pixels = _kl(student.mask_logits, teacher.mask_logits)
    slots = _kl(student.class_logits.transpose(1, 2), teacher.class_logits.transpose(1, 2))
    return pixels + slots


def fine_tune(
    prepared: fx.GraphModule,
    teacher: nn.Module,
    recipe: Recipe,
    batches: Iterable[torch.Tensor | Batch],
    *,
    held_out: Sequence[torch.Tensor],
    label_loss: LabelLoss | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> int:
    """Trains the weights behind the integer grid for `recipe.qat_steps` steps, in place.

    The norms are folded, so weights and biases move and nothing else; grids of activations stay as calibrated, except
    that a recipe may leave activations free at first and calibrate on the network that has become of it by then.

    Without labels the best weights are kept. Where 8 bits cost next to nothing the loss starts at its noise, and AdamW,
    whose steps do not shrink with the gradient, walks away from the teacher (docs/quantization.md). So the disagreement
    of the pictures on held-out images is taken before, between and at the end, and the weights of its minimum stay,
    those before the first step included. With labels the network may get better than its teacher, and the last weights
    stay.

    Args:
        prepared: Calibrated, unless the recipe starts with free activations.
        teacher: The float model.
        recipe: Steps, rate, decay.
        batches: Images, (B, 3, H, W) float32 in 0..255, or labelled batches; at least `recipe.qat_steps`.
        held_out: Batches of images that are not trained on as they are.
        label_loss: Compares slots with a batch's labels; weighed by `recipe.qat_label_weight`.
        on_progress: Called after every step.

    Returns:
        The step whose weights were kept; 0 = the calibrated ones.

    Raises:
        InputError: `batches` ends before the last step, or has no labels where the recipe wants them.
        CheckError: The loss is not finite; the message holds the step.
    """
    objective = _Objective(teacher, recipe, label_loss)
    prepared.requires_grad_(True)
    device = next(prepared.parameters()).device
    optimizer = torch.optim.AdamW(prepared.parameters(), lr=recipe.qat_lr, weight_decay=recipe.qat_weight_decay)
    steps = recipe.qat_steps
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _warm_cosine(step / steps))
    queue = iter(batches)
    check_every = max(1, steps // NUM_CHECKS)
    join_step = int(steps * recipe.qat_free_fraction)
    if join_step:
        set_phase(prepared, "free")
    best: _Best | None = None
    for step in range(steps):
        if step == join_step:
            if join_step:
                calibrate(prepared, held_out)
            best = None if recipe.qat_label_weight else _Best(prepared, objective.teacher, held_out, step)
        batch = next(queue, None)
        if batch is None:
            raise InputError(
                f"quantization-aware training ran out of images at step {step} of {steps}; give more batches"
            )
        value = objective(prepared, batch, device)
        if not bool(torch.isfinite(value)):
            raise CheckError(
                f"quantization-aware training: loss {value.item()} at step {step}; lower qat_lr ({recipe.qat_lr})"
            )
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(value)
        optimizer.step()
        schedule.step()
        if best and ((step + 1) % check_every == 0 or step + 1 == steps):
            best.look(step + 1)
        if on_progress is not None:
            on_progress(Progress(step + 1, steps, value.item()))
    prepared.requires_grad_(False)
    if best is None:
        return steps
    best.restore()
    return best.step


class _Objective:
    """Divergence from the teacher, plus what the labels say."""

    def __init__(self, teacher: nn.Module, recipe: Recipe, label_loss: LabelLoss | None) -> None:
        self.teacher = copy.deepcopy(teacher).eval().requires_grad_(False)
        self.label_weight, self.label_loss = recipe.qat_label_weight, label_loss

    def __call__(self, student: nn.Module, batch: torch.Tensor | Batch, device: torch.device) -> torch.Tensor:
        image = (batch.image.float() if isinstance(batch, Batch) else batch).to(device)
        with torch.no_grad():
            target = self.teacher(image)
        slots = student(image)
        value = distillation_loss(slots, target)
        if self.label_weight:
            if self.label_loss is None or not isinstance(batch, Batch):
                raise InputError("the recipe's qat_label_weight is above 0, but the batches have no labels")
            value = value + self.label_weight * self.label_loss(slots, batch)
        return value


@torch.no_grad()
def disagreement(student: Slots, teacher: Slots) -> float:
    """Share of pixels whose best slot, or its best category, is not the teacher's; what the panoptic merge shows."""
    same_category = student.class_logits.argmax(2) == teacher.class_logits.argmax(2)  # (B, N)
    best, wanted = student.mask_logits.flatten(2).argmax(1), teacher.mask_logits.flatten(2).argmax(1)  # (B, P)
    return 1.0 - float(((best == wanted) & same_category.gather(1, wanted)).float().mean())


class _Best:
    """The weights whose pictures differ least from the teacher's on held-out images."""

    def __init__(self, prepared: nn.Module, teacher: nn.Module, held_out: Sequence[torch.Tensor], step: int) -> None:
        self.prepared = prepared
        device = next(prepared.parameters()).device
        self.batches = [batch.to(device) for batch in held_out[:NUM_HELD_OUT]]
        with torch.no_grad():
            self.targets: list[Slots] = [teacher(batch) for batch in self.batches]
        self.lowest = (math.inf, math.inf)
        self.look(step)

    @torch.no_grad()
    def look(self, step: int) -> None:
        answers = [(self.prepared(batch), target) for batch, target in zip(self.batches, self.targets, strict=True)]
        differing = sum(disagreement(answer, target) for answer, target in answers)
        value = (
            differing,
            sum(float(distillation_loss(answer, target)) for answer, target in answers),
        )  # of equals the closer
        if value < self.lowest:
            self.step, self.lowest = step, value
            self.state = {name: tensor.clone() for name, tensor in self.prepared.state_dict().items()}

    def restore(self) -> None:
        self.prepared.load_state_dict(self.state)


def _warm_cosine(fraction: float) -> float:
    """Linear to 1 over the first tenth, then a cosine to 0."""
    return min(1.0, 10 * fraction + 0.01) * 0.5 * (1 + math.cos(math.pi * fraction))


def _kl(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean over all but axis 1 of KL(teacher || student) along axis 1."""
    log_p, log_q = teacher.log_softmax(1), student.log_softmax(1)
    return (log_p.exp() * (log_p - log_q)).sum(1).mean()
