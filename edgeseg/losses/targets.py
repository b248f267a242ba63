"""Label maps as the losses need them, at any stride."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edgeseg.structures import IGNORE


@dataclass(frozen=True)
class Targets:
    """A batch's labels at one resolution, P = h w pixels.

    Attributes:
        rows: (B, P) int64 row of the image's segment table, -1 = ignored.
        valid: (B, P) bool, False where ignored.
        labels: (B, M) int64 category index of each row, -1 beyond an image's table.
        areas: (B, M) float32 pixels of each row at this resolution.
    """

    rows: torch.Tensor
    valid: torch.Tensor
    labels: torch.Tensor
    areas: torch.Tensor

    def categories(self, num_categories: int) -> torch.Tensor:
        """(B, P) int64 category index of each pixel, `num_categories` where ignored."""
        picked = self.labels.gather(1, self.rows.clamp(min=0))
        return torch.where(self.valid, picked, num_categories)


def pad_labels(categories: list[torch.Tensor]) -> torch.Tensor:
    """Per-image category lists -> (B, M) int64 padded with -1, M at least 1."""
    width = max(1, *(len(c) for c in categories))
    labels = torch.full((len(categories), width), IGNORE, dtype=torch.int64, device=categories[0].device)
    for row, entries in zip(labels, categories, strict=True):
        row[: len(entries)] = entries
    return labels


def targets_at(label_map: torch.Tensor, labels: torch.Tensor, size: tuple[int, int]) -> Targets:
    """Takes the label under the centre of each cell of a coarser grid.

    Args:
        label_map: (B, H, W) integer rows, -1 = ignored.
        labels: (B, M) from `pad_labels`.
        size: (h, w), where H = s h and W = s w.
    """
    stride = label_map.shape[1] // size[0]
    start = stride // 2
    rows = label_map[:, start::stride, start::stride].flatten(1).long()
    valid = rows != IGNORE
    areas = torch.zeros(labels.shape, device=labels.device).scatter_add_(1, rows.clamp(min=0), valid.float())
    return Targets(rows, valid, labels, areas)


def cell_centres(size: tuple[int, int], device: torch.device, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """(1, 2, h w) (down, right) of each cell's centre, in cells."""
    rows, columns = torch.meshgrid(*(torch.arange(side, device=device, dtype=dtype) for side in size), indexing="ij")
    return (torch.stack([rows, columns]).flatten(1) + 0.5)[None]


def widened(x: torch.Tensor) -> torch.Tensor:
    """At least float32: sums over pixels do not fit half precision. Double stays double."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
