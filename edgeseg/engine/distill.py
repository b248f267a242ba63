"""A trained network that another one learns from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from edgeseg.config import LossConfig
from edgeseg.engine.checkpoint import load_checkpoint
from edgeseg.engine.evaluate import require_same_categories
from edgeseg.losses.distillation import distillation_terms
from edgeseg.models import SlotsModel
from edgeseg.structures import Batch, Category, InputError, Prediction, Slots


class Teacher(nn.Module):
    """A network whose answers a student is compared with; it does not change.

    Args:
        model: The trained network.
        image_size: Its (height, width); the student's images are brought to it.
        config: Weights of the terms.
    """

    def __init__(self, model: SlotsModel, image_size: tuple[int, int], config: LossConfig) -> None:
        super().__init__()
        self.model, self.image_size, self.config = model.deployable(), image_size, config

    def train(self, mode: bool = True) -> Teacher:
        """Stays in eval mode, whatever its owner does."""
        return super().train(False)

    def forward(self, answer: object, image: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        """Weighted terms by which the student's answer differs from the teacher's.

        Args:
            answer: What the student's `forward_training` gives.
            image: (B, 3, H, W) float32 RGB in 0..255.
            batch: Labels.

        Raises:
            InputError: The student's head learns from something else than slots.
        """
        return distillation_terms(final_slots(answer), self.answer(image), batch, self.config)

    @torch.no_grad()
    def answer(self, image: torch.Tensor) -> Slots:
        """The teacher's slots for the student's images."""
        if image.shape[2:] != self.image_size:
            image = F.interpolate(image, self.image_size, mode="bilinear", align_corners=False, antialias=True)
        slots: Slots = self.model(image.contiguous(memory_format=torch.channels_last))
        return slots


def load_teacher(
    path: Path, categories: Sequence[Category], image_size: tuple[int, int], config: LossConfig
) -> Teacher:
    """Opens a checkpoint to learn from.

    Args:
        path: Float checkpoint, a run's folder, or the name of a shipped one.
        categories: The student's.
        image_size: The student's (height, width).
        config: Weights of the terms.

    Raises:
        InputError: No float checkpoint, other categories, an image size of another shape, or a student whose masks are
            no softmax over slots, by which the two are compared.
    """
    if config.mask_activation != "softmax":
        raise InputError(
            f"a teacher needs masks by softmax, and loss.mask_activation is {config.mask_activation!r}; set "
            "--loss.mask-activation softmax, or leave --teacher out"
        )
    checkpoint = load_checkpoint(path)
    require_same_categories(checkpoint.categories, categories, f"the data for teacher {path}")
    size = checkpoint.config.data.image_size
    if size[0] * image_size[1] != size[1] * image_size[0]:
        raise InputError(
            f"teacher {path} takes images of {size[0]} x {size[1]} (height x width), the student {image_size[0]} x "
            f"{image_size[1]}; sides in the same ratio are wanted: set --data.image-size"
        )
    return Teacher(checkpoint.model(), size, config)


def final_slots(answer: object) -> Slots:
    """The slots of the last depth of what a mask decoder answers in training.

    Raises:
        InputError: The head answers something else.
    """
    if isinstance(answer, list) and answer and isinstance(answer[0], Prediction):
        return answer[0].slots
    raise InputError(
        "a teacher needs a student whose head answers slots in training (kmax, pem); choose --model.head, or leave "
        "--teacher out"
    )
