"""More weight for the pixels of small things.

Source: Panoptic-DeepLab (Cheng et al., arXiv 1911.10194) and deeplab2 data/sample_generator.py: things of less than
4096 pixels of the network's input weigh 3 in the semantic cross entropy there.
"""

from __future__ import annotations

import torch

from edgeseg.losses.targets import Targets


def small_thing_weights(
    targets: Targets, is_thing: torch.Tensor, *, stride: int, max_area: int, weight: float
) -> torch.Tensor:
    """Weight of each pixel.

    Args:
        targets: Labels at some resolution.
        is_thing: (K + 1,) by category index, False for void.
        stride: Of that resolution.
        max_area: Things of fewer pixels of the network's input are small.
        weight: Theirs; everything else weighs 1.

    Returns:
        (B, P) float32.
    """
    small = is_thing[targets.labels] & (targets.areas * stride**2 < max_area)  # (B, M); padding reads void
    return torch.where(small.gather(1, targets.rows.clamp(min=0)) & targets.valid, weight, 1.0)
