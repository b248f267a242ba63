"""The deployed graph: a slots model between a camera's bytes and a slot map."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeseg.config import MergeConfig
from edgeseg.export.runtimes import MergeMode
from edgeseg.models.layers import largest
from edgeseg.structures import VOID_SLOT

_FAR_BELOW = -1e30  # added to a slot's mask logits so that it wins no pixel
_MOST = 256  # slots or categories that can be told apart


class DeployedGraph(nn.Module):
    """A slots model with the image's layout, the normalisation and, if wanted, the panoptic merge inside.

    Fixed shapes, batch 1. Outputs in the order of `OUTPUT_NAMES[merge]`; with the merge in the graph:
    slot_map (1, h u, w u) uint8, 255 = void; slot_category (1, N) int32, -1 = empty; slot_score (1, N) float32;
    with the merge in the app: mask_logits (1, N, h, w) and class_logits (1, N, K + 1), float32.

    Args:
        model: float32 (1, 3, H, W) RGB in 0..255 -> Slots.
        merge: Where the merge runs.
        config: Thresholds, frozen into the graph.
        is_thing: One claim per category.
    """

    def __init__(self, model: nn.Module, *, merge: MergeMode, config: MergeConfig, is_thing: Sequence[bool]) -> None:
        super().__init__()
        self.model = model
        self.merge_mode: MergeMode = merge
        self.merge = SlotMerge(config, is_thing) if merge == "graph" else None

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Args: image: (1, H, W, 3) uint8 RGB."""
        return self.from_pixels(image.to(torch.float32).permute(0, 3, 1, 2))

    def from_pixels(self, image: Tensor) -> tuple[Tensor, ...]:
        """The graph after its input was made float32 (1, 3, H, W), where a runtime does that by itself."""
        class_logits, mask_logits = self.model(image)
        if self.merge is None:
            return mask_logits, class_logits
        merged: tuple[Tensor, ...] = self.merge(class_logits, mask_logits)
        return merged


class SlotMerge(nn.Module):
    """The panoptic merge (docs/merge.md) from operators that every runtime's accelerator library takes.

    Equal to `edgeseg.merge.merge_slots`, ties to the lowest index included. No argmax, compare, gather or where: the
    largest is a tree of `maximum`; `floor(x - largest)` is 0 for winners and at most -1 elsewhere; minus index / 256 it
    orders winners by their index. All values that count are integers below 2**24, exact in float32.

    Attributes:
        by_argmax: Uses those operators after all, where `Runtime.has_fast_argmax`; the answers are the same.
    """

    by_argmax = False
    threshold: Tensor
    index: Tensor

    def __init__(self, config: MergeConfig, is_thing: Sequence[bool]) -> None:
        super().__init__()
        self.upsample = config.upsample
        thresholds = [config.thing_threshold if thing else config.stuff_threshold for thing in is_thing]
        self.register_buffer("threshold", torch.tensor(thresholds, dtype=torch.float32).view(1, -1, 1))
        self.register_buffer("index", torch.arange(_MOST, dtype=torch.float32).view(1, -1, 1))
        # An area counts pixels of the slot map, min_area pixels of the network's input.
        self.least_area = float(max(1, math.ceil(config.min_area * config.upsample**2 / 16)))

    def forward(self, class_logits: Tensor, mask_logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See DeployedGraph; class_logits (1, N, K + 1), mask_logits (1, N, h, w)."""
        if self.by_argmax:
            return self._merge_by_argmax(class_logits, mask_logits)
        category, score, kept = self._judge_slots(class_logits)  # (1, N, 1) each
        slot = self._winning_slot(mask_logits, kept)  # (1, 1, P)
        alive, void = self._drop_small(slot, kept)
        slot_map = slot + void * (float(VOID_SLOT) - slot)
        return (
            self._as_map(slot_map, mask_logits).to(torch.uint8),
            (category * alive + (alive - 1.0)).squeeze(2).to(torch.int32),
            (score * alive).squeeze(2),
        )

    def _merge_by_argmax(self, class_logits: Tensor, mask_logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        score, category = class_logits[0].softmax(1)[:, :-1].max(1)  # (N,)
        kept = score >= self.threshold.flatten().index_select(0, category)
        logits = self._kept_logits(mask_logits, kept.to(torch.float32).view(1, -1, 1))
        slot = logits.transpose(1, 2).argmax(2)[0]  # (P,)
        area = torch.zeros_like(score).scatter_add(0, slot, torch.ones_like(slot, dtype=torch.float32))
        alive = kept & (area >= self.least_area)
        value = torch.where(alive, torch.arange(len(score)), VOID_SLOT).to(torch.uint8)  # of a slot's pixels
        return (
            self._as_map(value.index_select(0, slot), mask_logits),
            torch.where(alive, category, -1).to(torch.int32)[None],
            torch.where(alive, score, 0.0)[None],
        )

    def _as_map(self, pixels: Tensor, mask_logits: Tensor) -> Tensor:
        """P entries -> (1, h u, w u)."""
        return pixels.view(1, *(side * self.upsample for side in mask_logits.shape[2:]))

    def _judge_slots(self, class_logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        probability = class_logits.softmax(2)[:, :, :-1].permute(0, 2, 1)  # (1, K, N)
        score = largest(probability, probability.shape[1])
        category = self._lowest_winner(probability, score)
        is_category = _is_equal(category, self.index[:, : probability.shape[1]])  # (1, K, N)
        excess = (
            largest(is_category * self.threshold, is_category.shape[1]) - score
        )  # above 0 where the score is too low
        kept = 1.0 - F.relu(excess.ceil())
        return category.permute(0, 2, 1), score.permute(0, 2, 1), kept.permute(0, 2, 1)

    def _winning_slot(self, mask_logits: Tensor, kept: Tensor) -> Tensor:
        logits = self._kept_logits(mask_logits, kept)
        return self._lowest_winner(logits, largest(logits, logits.shape[1]))

    def _kept_logits(self, mask_logits: Tensor, kept: Tensor) -> Tensor:
        """(1, N, P), far below all others where `kept` (1, N, 1) is 0."""
        logits = mask_logits + (1.0 - kept).unsqueeze(3) * _FAR_BELOW
        if self.upsample > 1:
            logits = F.interpolate(logits, scale_factor=float(self.upsample), mode="bilinear", align_corners=False)
        return logits.flatten(2)

    def _drop_small(self, slot: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Which slots live (1, N, 1), and which pixels are void (1, 1, P), both 0 or 1.

        A slot's index is two digits, so that counting the pixels of each is one small product. Their base is the least
        power of two that is enough: exact to divide by.
        """
        num = kept.shape[1]
        base = 2 ** (((num - 1).bit_length() + 1) // 2)
        num_high = math.ceil(num / base)
        high = (slot / float(base)).floor()
        is_high = _is_equal(high, self.index[:, :num_high])  # (1, num_high, P)
        is_low = _is_equal(slot - high * float(base), self.index[:, :base])
        area = torch.bmm(is_high, is_low.permute(0, 2, 1)).view(1, -1, 1)[:, :num]  # (1, N, 1)
        too_small = F.relu(((self.least_area - area) * 2.0**-24).ceil())
        alive = kept * (1.0 - too_small)
        table = F.pad(alive, (0, 0, 0, num_high * base - num)).view(1, num_high, base)
        alive_pixel = largest(is_high * torch.bmm(table, is_low), num_high)  # one entry at most is not 0
        return alive, 1.0 - alive_pixel

    def _lowest_winner(self, x: Tensor, highest: Tensor) -> Tensor:
        """(1, N, P) and its maximum -> (1, 1, P) float index of the first entry that reaches it; N <= 256."""
        num, base = x.shape[1], float(_MOST)
        return largest((x - highest).floor() - self.index[:, :num] / base, num) * -base


def _is_equal(x: Tensor, y: Tensor) -> Tensor:
    """1 where two integers are equal, else 0."""
    return F.relu(1.0 - (x - y).abs())
