"""Quantization-aware fine-tuning: a network on an integer grid is pulled towards its float self and the labels."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import fx, nn

from edgeseg.engine.checkpoint import pack_optimizer, unpack_optimizer
from edgeseg.engine.memory import keep_freed_memory
from edgeseg.models.kmax import assigning_products
from edgeseg.quantize.activations import ActivationQuantizer
from edgeseg.quantize.calibrate import calibrate
from edgeseg.quantize.divergence import assignment_loss, distillation_loss, outputs_of
from edgeseg.quantize.kept import Average, Best, State
from edgeseg.quantize.modules import IntegerLayer, set_phase
from edgeseg.quantize.recipes import Recipe
from edgeseg.structures import Batch, CheckError, InputError, Slots

NUM_CHECKS = 6  # during fine-tuning

_LEAST_SIZE = 1e-3
"""Of a tensor, for its rate: biases may start at 0. Adafactor's."""

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


@dataclass(frozen=True)
class Snapshot:
    """All that an interrupted fine-tuning continues from.

    Attributes:
        step: Steps done.
        tensors: `weights`, `optimizer`, `average`, and `best` where one was chosen, by name.
        best: Its step, and what it was chosen by; None before the first choice.
    """

    step: int
    tensors: dict[str, State]
    best: tuple[int, float, float] | None


@dataclass(frozen=True)
class Saving:
    """How a fine-tuning outlives its process.

    Attributes:
        every: Steps from one snapshot to the next.
        save: Takes a snapshot.
        start: The snapshot to continue from; None = from the beginning.
    """

    every: int
    save: Callable[[Snapshot], None]
    start: Snapshot | None = None


def fine_tune(
    prepared: fx.GraphModule,
    teacher: nn.Module,
    recipe: Recipe,
    batches: Iterable[torch.Tensor | Batch],
    *,
    held_out: Sequence[torch.Tensor],
    label_loss: LabelLoss | None = None,
    saving: Saving | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> int:
    """Trains the weights behind the integer grid for `recipe.qat_steps` steps, in place.

    The norms are folded, so weights and biases move and nothing else, but steps where the recipe wants it; grids of
    activations stay as calibrated, except that a recipe may leave activations free at first and calibrate on the
    network that has become of it by then.

    Without labels the best weights are kept. Where 8 bits cost next to nothing the loss starts at its noise, and AdamW,
    whose steps do not shrink with the gradient, walks away from the teacher (docs/quantization.md). So the disagreement
    of the pictures on held-out images is taken before, between and at the end, and the weights of its minimum stay,
    those before the first step included. With labels the network may get better than its teacher, and the last weights
    stay. With a running average it is the average that is compared and kept.

    Args:
        prepared: Calibrated, unless the recipe starts with free activations or it is continued.
        teacher: The float model.
        recipe: Steps, rate, decay.
        batches: Images, (B, 3, H, W) float32 in 0..255, or labelled batches; at least the steps that are left.
        held_out: Batches of images that are not trained on as they are.
        label_loss: Compares slots with a batch's labels; weighed by `recipe.qat_label_weight`.
        saving: Takes snapshots, and gives the one to continue from: bit by bit as if there had been no break.
        on_progress: Called after every step.

    Returns:
        The step whose weights were kept; 0 = the calibrated ones.

    Raises:
        InputError: `batches` ends before the last step, or has no labels where the recipe wants them.
        CheckError: The loss is not finite; the message holds the step.
    """
    keep_freed_memory()
    tuning = Tuning(prepared, teacher, recipe, held_out=held_out, label_loss=label_loss)
    if saving and saving.start:
        tuning.restore(saving.start)
    queue = iter(batches)
    while tuning.step < recipe.qat_steps:
        batch = next(queue, None)
        if batch is None:
            raise InputError(
                f"quantization-aware training ran out of images at step {tuning.step} of {recipe.qat_steps}; "
                "give more batches"
            )
        loss = tuning.take(batch)
        if saving and tuning.step % saving.every == 0 and tuning.step < recipe.qat_steps:
            saving.save(tuning.snapshot())
        if on_progress is not None:
            on_progress(Progress(tuning.step, recipe.qat_steps, loss))
    return tuning.finish()


class Tuning:
    """A network in training, with all that changes along the way; the arguments are those of `fine_tune`."""

    def __init__(
        self,
        prepared: fx.GraphModule,
        teacher: nn.Module,
        recipe: Recipe,
        *,
        held_out: Sequence[torch.Tensor],
        label_loss: LabelLoss | None = None,
    ) -> None:
        self.prepared = prepared.to(memory_format=torch.channels_last)  # a step takes 8 % less
        self.recipe, self.held_out = recipe, held_out
        self.objective = _Objective(teacher, recipe, label_loss)
        self.join_step = int(recipe.qat_steps * recipe.qat_free_fraction)
        self.step = 0
        prepared.requires_grad_(True)
        self.optimizer = _optimizer(prepared, recipe)
        self.average = Average(prepared, recipe.qat_ema_decay)
        self.best: Best | None = None
        if self.join_step:
            set_phase(prepared, "free")

    def take(self, batch: torch.Tensor | Batch) -> float:
        """One step of the optimiser; returns the loss.

        Raises:
            InputError: The recipe wants labels that the batch has not.
            CheckError: The loss is not finite.
        """
        if self.step == self.join_step:
            self._join_activations()
        _set_blend(self.prepared, self._blend())
        for group in self.optimizer.param_groups:
            group["lr"] = group["size"] * self.recipe.qat_lr * _warm_cosine(self.step / self.recipe.qat_steps)
        value = self._loss(batch)
        if not bool(torch.isfinite(value)):
            raise CheckError(
                f"quantization-aware training: loss {value.item()} at step {self.step}; "
                f"lower qat_lr ({self.recipe.qat_lr})"
            )
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(value)
        self.optimizer.step()
        self.average.update()
        self.step += 1
        steps = self.recipe.qat_steps
        if self.best and (self.step % max(1, steps // NUM_CHECKS) == 0 or self.step == steps):
            with self.average.in_place():
                self.best.look(self.step)
        return value.item()

    def finish(self) -> int:
        """Leaves the weights that are kept; returns their step."""
        self.prepared.requires_grad_(False).to(memory_format=torch.contiguous_format)
        if self.best:
            self.best.restore()
        else:
            self.average.apply()
        for module in self.prepared.modules():
            if isinstance(module, ActivationQuantizer):
                module.absorb_gain()
        return self.best.step if self.best else self.step

    def snapshot(self) -> Snapshot:
        """Where it stands; the tensors are those in use, to be written or copied before the next step."""
        tensors = {
            "weights": self.prepared.state_dict(),
            "optimizer": pack_optimizer(self.optimizer),
            "average": self.average.state,
        }
        if self.best:
            tensors["best"] = self.best.state
        return Snapshot(self.step, tensors, (self.best.step, *self.best.lowest) if self.best else None)

    def restore(self, snapshot: Snapshot) -> None:
        """Continues from a snapshot of the same network, teacher and recipe."""
        self.step = snapshot.step
        self.prepared.load_state_dict(snapshot.tensors["weights"])
        unpack_optimizer(self.optimizer, snapshot.tensors["optimizer"])
        self.average.load(snapshot.tensors.get("average", {}))
        set_phase(self.prepared, "free" if self.join_step and self.step <= self.join_step else "train")
        if snapshot.best:
            self.best = Best(self.prepared, self.objective.teacher, self.held_out)
            self.best.step, self.best.lowest = snapshot.best[0], snapshot.best[1:]
            self.best.state = snapshot.tensors["best"]

    def _loss(self, batch: torch.Tensor | Batch) -> torch.Tensor:
        device = next(self.prepared.parameters()).device
        is_free = self.step < self.join_step or not self.recipe.activation_bits
        is_half = is_free and self.recipe.qat_precision == "bf16-mixed"
        with torch.autocast(device.type, torch.bfloat16, enabled=is_half):
            return self.objective(self.prepared, batch, device)

    def _join_activations(self) -> None:
        with self.average.in_place():
            if self.join_step:
                calibrate(self.prepared, self.held_out)
            if not self.recipe.qat_label_weight:
                self.best = Best(self.prepared, self.objective.teacher, self.held_out)
                self.best.look(self.step)

    def _blend(self) -> float:
        length = self.recipe.qat_steps * self.recipe.qat_gradual_fraction
        return min(1.0, self.step / length) if length else 1.0


class _Objective:
    """Divergence from the teacher, plus what the labels say, each by its weight."""

    def __init__(self, teacher: nn.Module, recipe: Recipe, label_loss: LabelLoss | None) -> None:
        self.teacher = copy.deepcopy(teacher).eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.recipe, self.label_loss = recipe, label_loss
        self.assigning = [f"{name}.norm" for name in assigning_products(teacher)]  # by their logits

    def __call__(self, student: nn.Module, batch: torch.Tensor | Batch, device: torch.device) -> torch.Tensor:
        image = batch.image.float() if isinstance(batch, Batch) else batch
        image = image.to(device, memory_format=torch.channels_last)
        with outputs_of(student, self.assigning) as found:
            slots = student(image)
        value: torch.Tensor = slots.class_logits.new_zeros(())
        if weight := self.recipe.qat_teacher_weight:
            with torch.no_grad(), outputs_of(self.teacher, self.assigning) as wanted:
                target = self.teacher(image)
            value = value + weight * (distillation_loss(slots, target) + assignment_loss(found, wanted))
        if weight := self.recipe.qat_label_weight:
            if self.label_loss is None or not isinstance(batch, Batch):
                raise InputError("the recipe's qat_label_weight is above 0, but the batches have no labels")
            value = value + weight * self.label_loss(slots, batch)
        return value


def _optimizer(prepared: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW with rates relative to the weights, as Adafactor has them (Shazeer & Stern 2018, part 8).

    AdamW moves every weight by about its rate, and folding norms leaves layers whose weights differ a thousandfold in
    size: an absolute rate that moves one of them rewrites another in a few steps. A learned step is a logarithm,
    relative as it is, and does not decay.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, value in prepared.named_parameters():
        is_step = name.endswith(("log_step", "log_gain"))
        key = (1.0, 0.0) if is_step else (_size(value), recipe.qat_weight_decay)
        groups.setdefault(key, []).append(value)
    return torch.optim.AdamW(
        [{"params": some, "size": size, "weight_decay": decay} for (size, decay), some in groups.items()],
        lr=recipe.qat_lr,
    )


def _size(value: torch.Tensor) -> float:
    """Root mean square to the nearest power of two, so that groups are few."""
    return 2.0 ** round(math.log2(max(_LEAST_SIZE, float(value.detach().square().mean().sqrt()))))


def _set_blend(prepared: nn.Module, blend: float) -> None:
    for module in prepared.modules():
        if isinstance(module, IntegerLayer):
            module.blend = blend


def _warm_cosine(fraction: float) -> float:
    """Linear to 1 over the first tenth, then a cosine to 0."""
    return min(1.0, 10 * fraction + 0.01) * 0.5 * (1 + math.cos(math.pi * fraction))
