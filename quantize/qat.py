"""Calibration and quantization-aware fine-tuning."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import fx, nn

from edgeseg.quantize.modules import ActivationQuantizer, QuantConv2d, set_phase
from edgeseg.quantize.operators import kind_of
from edgeseg.quantize.prepare import prepare
from edgeseg.quantize.recipes import Recipe
from edgeseg.structures import CheckError, InputError, Slots

NUM_CHECKS = 6  # during fine-tuning
NUM_HELD_OUT = 4  # batches of calibration images for each check

Loss = Callable[[Slots, Slots], torch.Tensor]
"""(student's slots, float teacher's slots) -> () float32."""


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


def quantize(
    model: nn.Module,
    recipe: Recipe,
    *,
    calibration: Iterable[torch.Tensor],
    batches: Iterable[torch.Tensor] = (),
    on_progress: Callable[[Progress], None] | None = None,
) -> fx.GraphModule:
    """A float model to its quantized twin: fold, calibrate, and fine-tune if the recipe has steps.

    The float model teaches, so images are all that is needed; labels are not.

    Args:
        model: Float `SlotsModel.deployable()`; not changed. The work happens on its device.
        recipe: What becomes integer and for how long it is trained.
        calibration: Batches of (B, 3, H, W) float32 images, 0..255; 32 to 64 images suffice. All of one size.
        batches: Training images like it, used when `recipe.qat_steps` > 0; may be endless.
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
    calibrate(prepared, calibration)
    if recipe.qat_steps:
        prepared.meta["kept_step"] = fine_tune(
            prepared, model, recipe, batches, held_out=calibration, on_progress=on_progress
        )
    return prepared


@torch.no_grad()
def calibrate(prepared: fx.GraphModule, batches: Iterable[torch.Tensor]) -> None:
    """Sets every grid from what flows through the float graph, in place; ends in phase `train`.

    Args:
        prepared: Result of `prepare`.
        batches: (B, 3, H, W) float32 images, 0..255.
    """
    set_phase(prepared, "observe")
    device = next(prepared.parameters()).device
    for batch in batches:
        prepared(batch.to(device))
    for module in prepared.modules():
        if isinstance(module, ActivationQuantizer):
            module.freeze()
    set_phase(prepared, "train")


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
    batches: Iterable[torch.Tensor],
    *,
    held_out: Sequence[torch.Tensor],
    loss: Loss = distillation_loss,
    on_progress: Callable[[Progress], None] | None = None,
) -> int:
    """Trains the weights behind the integer grid for `recipe.qat_steps` steps, in place, and keeps the best of them.

    Grids of activations stay as calibrated and norms are folded, so nothing but weights and biases moves. Where 8 bits
    cost next to nothing the loss starts at its noise, and AdamW, whose steps do not shrink with the gradient, walks
    away from the teacher: on nuclei 300 steps at 1e-4 cost 1.8 PQ points at an equal loss. So the disagreement of the
    pictures on held-out images is taken before, between and at the end, and the weights of its minimum stay, those
    before the first step included.

    Args:
        prepared: Calibrated.
        teacher: The float model.
        recipe: Steps, rate, decay.
        batches: (B, 3, H, W) float32 images, 0..255, at least `recipe.qat_steps`.
        held_out: Batches that are not trained on as they are.
        loss: What is trained.
        on_progress: Called after every step.

    Returns:
        The step whose weights were kept; 0 = the calibrated ones.

    Raises:
        InputError: `batches` ends before the last step.
        CheckError: The loss is not finite; the message holds the step.
    """
    teacher = copy.deepcopy(teacher).eval().requires_grad_(False)
    prepared.requires_grad_(True)
    device = next(prepared.parameters()).device
    optimizer = torch.optim.AdamW(prepared.parameters(), lr=recipe.qat_lr, weight_decay=recipe.qat_weight_decay)
    steps = recipe.qat_steps
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _warm_cosine(step / steps))
    images = iter(batches)
    check_every = max(1, steps // NUM_CHECKS)
    best = _Best(prepared, teacher, loss, held_out)
    for step in range(steps):
        batch = next(images, None)
        if batch is None:
            raise InputError(
                f"quantization-aware training ran out of images at step {step} of {steps}; give more batches"
            )
        batch = batch.to(device)
        with torch.no_grad():
            target = teacher(batch)
        value = loss(prepared(batch), target)
        if not bool(torch.isfinite(value)):
            raise CheckError(
                f"quantization-aware training: loss {value.item()} at step {step}; lower qat_lr ({recipe.qat_lr})"
            )
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(value)
        optimizer.step()
        schedule.step()
        if (step + 1) % check_every == 0 or step + 1 == steps:
            best.look(step + 1)
        if on_progress is not None:
            on_progress(Progress(step + 1, steps, value.item()))
    best.restore()
    prepared.requires_grad_(False)
    return best.step


@torch.no_grad()
def disagreement(student: Slots, teacher: Slots) -> float:
    """Share of pixels whose best slot, or its best category, is not the teacher's; what the panoptic merge shows."""
    same_category = student.class_logits.argmax(2) == teacher.class_logits.argmax(2)  # (B, N)
    best, wanted = student.mask_logits.flatten(2).argmax(1), teacher.mask_logits.flatten(2).argmax(1)  # (B, P)
    return 1.0 - float(((best == wanted) & same_category.gather(1, wanted)).float().mean())


class _Best:
    """The weights whose pictures differ least from the teacher's on held-out images."""

    def __init__(self, prepared: nn.Module, teacher: nn.Module, loss: Loss, held_out: Sequence[torch.Tensor]) -> None:
        self.prepared, self.loss = prepared, loss
        device = next(prepared.parameters()).device
        self.batches = [batch.to(device) for batch in held_out[:NUM_HELD_OUT]]
        with torch.no_grad():
            self.targets: list[Slots] = [teacher(batch) for batch in self.batches]
        self.lowest = (math.inf, math.inf)
        self.look(0)

    @torch.no_grad()
    def look(self, step: int) -> None:
        answers = [(self.prepared(batch), target) for batch, target in zip(self.batches, self.targets, strict=True)]
        differing = sum(disagreement(answer, target) for answer, target in answers)
        value = differing, sum(float(self.loss(answer, target)) for answer, target in answers)  # of equals the closer
        if value < self.lowest:
            self.step, self.lowest = step, value
            self.state = {name: tensor.clone() for name, tensor in self.prepared.state_dict().items()}

    def restore(self) -> None:
        self.prepared.load_state_dict(self.state)


def _warm_cosine(fraction: float) -> float:
    """Linear to 1 over the first tenth, then a cosine to 0."""
    return min(1.0, 10 * fraction + 0.01) * 0.5 * (1 + math.cos(math.pi * fraction))


def deploy(prepared: fx.GraphModule) -> fx.GraphModule:
    """A copy on the CPU that emits `quantized_decomposed` operators: what `torch.export` gets to see.

    Its convolutions take `set_weight_storage("float_qdq")` for runtimes that want weights unfolded.
    """
    deployed = copy.deepcopy(prepared).cpu().eval().requires_grad_(False)
    set_phase(deployed, "deploy")
    _drop_redundant_relus(deployed)
    return deployed


def count_integer_weights(prepared: nn.Module) -> tuple[int, int]:
    """Number of weights on an integer grid, and of all parameters."""
    integer = sum(module.weight.numel() for module in prepared.modules() if isinstance(module, QuantConv2d))
    return integer, sum(parameter.numel() for parameter in prepared.parameters())


def _drop_redundant_relus(deployed: fx.GraphModule) -> None:
    """Removes ReLUs whose output goes onto a grid that starts at 0.0: rounding saturates there by itself.

    The values stay equal bit by bit, and runtimes see quantize(conv(dequantize)), which is one integer operator.
    """
    for node in list(deployed.graph.nodes):
        users = list(node.users)
        if kind_of(node, deployed) != "relu" or len(users) != 1 or users[0].op != "call_module":
            continue
        quantizer = deployed.get_submodule(str(users[0].target))
        if isinstance(quantizer, ActivationQuantizer) and int(quantizer.zero_point) == quantizer.low:
            node.replace_all_uses_with(node.all_input_nodes[0])
            deployed.graph.erase_node(node)
    deployed.recompile()


def _kl(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean over all but axis 1 of KL(teacher || student) along axis 1."""
    log_p, log_q = teacher.log_softmax(1), student.log_softmax(1)
    return (log_p.exp() * (log_p - log_q)).sum(1).mean()
