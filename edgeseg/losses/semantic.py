"""The semantic heads' loss: cross entropy over categories at every labelled cell."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from edgeseg.config import LossConfig
from edgeseg.losses.kmax import mean_where, size_of
from edgeseg.losses.small_things import small_thing_weights
from edgeseg.losses.targets import pad_labels, targets_at, widened
from edgeseg.structures import Batch


class SemanticLoss(nn.Module):
    """Mean over images of the mean over an image's labelled cells; small things may weigh more.

    Args:
        config: Weights.
        is_thing: (K,) by contiguous category index.
    """

    is_thing: torch.Tensor

    def __init__(self, config: LossConfig, is_thing: Sequence[bool]) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("is_thing", torch.tensor([*is_thing, False]), persistent=False)  # the last is void

    def forward(
        self, logits: torch.Tensor, batch: Batch, generators: Sequence[torch.Generator]
    ) -> dict[str, torch.Tensor]:
        """Compares (B, K, h, w) logits with the labels; nothing here is random.

        Returns:
            The weighted term as "semantic" and as "total".
        """
        size, num_categories = size_of(logits), logits.shape[1]
        targets = targets_at(batch.label_map, pad_labels(batch.categories), size)
        weights = small_thing_weights(
            targets,
            self.is_thing,
            stride=batch.label_map.shape[1] // size[0],
            max_area=self.config.small_thing_area,
            weight=self.config.small_thing_weight,
        )
        wanted = targets.categories(num_categories).clamp(max=num_categories - 1)  # ignored cells do not count below
        error = F.cross_entropy(widened(logits).flatten(2), wanted, reduction="none")
        term = self.config.semantic_weight * mean_where(weights * error, targets.valid)
        return {"semantic": term, "total": term}
