"""What semantic heads share: a map of category logits becomes slots, one for each category."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch.nn import functional as F

from edgeseg.models.layers import NOT_THIS_CLASS
from edgeseg.models.registry import Head
from edgeseg.structures import VOID_SLOT, InputError, Slots


class SemanticHead(Head):
    """Slot k is category k, always there, and its mask is the category's logits.

    So the panoptic merge gives every category's region: right for stuff, one segment for all things of a category.

    Args:
        num_categories: K; the number of slots too, whatever num_queries says.

    Raises:
        InputError: More categories than the 8-bit slot map has slots.
    """

    class_logits: torch.Tensor

    def __init__(self, num_categories: int) -> None:
        super().__init__()
        self.num_slots = num_categories
        if num_categories >= VOID_SLOT:
            raise InputError(
                f"a semantic head has a slot for each of {num_categories} categories, and {VOID_SLOT - 1} fit the "
                "8-bit slot map; choose model.head kmax"
            )
        own = F.one_hot(torch.arange(num_categories), num_categories + 1).float()
        self.register_buffer("class_logits", ((1 - own) * NOT_THIS_CLASS)[None], persistent=False)  # (1, K, K + 1)

    @abstractmethod
    def segment(self, pyramid: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """(B, K, h, w) category logits at stride 4 from the maps of strides 4, 8, 16, 32."""

    def forward(self, pyramid: tuple[torch.Tensor, ...]) -> Slots:
        """Slots at stride 4 from the backbone's maps."""
        logits = self.segment(pyramid)
        return Slots(logits[:, :, 0, :1] * 0.0 + self.class_logits, logits)  # once per image, in a form that traces

    def forward_training(self, pyramid: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """(B, K, h, w) logits, which the loss compares."""
        return self.segment(pyramid)

    def beyond_slots(self, categories: torch.Tensor) -> int:
        """See Head: segments of one category share its slot."""
        return len(categories) - len(set(categories.tolist()))

    def strip(self) -> None:
        """Nothing here is for training only."""
