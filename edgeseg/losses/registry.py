"""Which loss trains which head."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from edgeseg.config import LossConfig, nearest
from edgeseg.losses.kmax import KMaxLoss
from edgeseg.losses.maskconver import MaskConverLoss
from edgeseg.losses.panoptic_deeplab import CentreOffsetLoss
from edgeseg.losses.semantic import SemanticLoss
from edgeseg.structures import InputError

LOSSES: dict[str, Callable[[LossConfig, Sequence[bool]], nn.Module]] = {
    "kmax": KMaxLoss,
    "kmax_deeplab": KMaxLoss,
    "pem": KMaxLoss,
    "panoptic_deeplab": CentreOffsetLoss,
    "maskconver": MaskConverLoss,
    "lraspp": SemanticLoss,
    "deeplab_v3plus": SemanticLoss,
}
"""By the head's registered name: what `forward_training` answers is what the loss takes."""


def build_loss(head: str, config: LossConfig, is_thing: Sequence[bool]) -> nn.Module:
    """The loss of a head: (its training output, batch, one generator per image) -> weighted terms and "total".

    Raises:
        InputError: No such head.
    """
    if head not in LOSSES:
        raise InputError(
            f"no loss for a head named {head!r}{nearest(head, list(LOSSES))}; known are {', '.join(LOSSES)}"
        )
    return LOSSES[head](config, is_thing)
