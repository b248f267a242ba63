"""Two pictures of coloured boxes on two grounds, and a network small enough to learn them by heart in seconds."""

from __future__ import annotations

import functools

import torch
from torch import nn

import edgeseg.bench.spec_bundle  # noqa: F401  registers the backbone spec_small
from edgeseg.config import LossConfig, MergeConfig, ModelConfig
from edgeseg.losses.registry import build_loss
from edgeseg.models import SlotsModel, build_model
from edgeseg.structures import Batch, Category, Slots

SIZE = (64, 64)
COLORS = ((220, 50, 40), (40, 80, 220), (240, 200, 40), (60, 140, 60), (130, 190, 235))
NAMES = ("disc", "box", "lamp", "grass", "sky")
CATEGORIES = tuple(Category(i + 1, name, i < 3, COLORS[i]) for i, name in enumerate(NAMES))
IS_THING = tuple(category.is_thing for category in CATEGORIES)
MERGE = MergeConfig(min_area=16, upsample=1)
SMALL = {
    "backbone": "spec_small",
    "num_queries": 10,
    "query_dim": 32,
    "ffn_dim": 32,
    "num_heads": 2,
    "decoder_dims": (8, 8, 8, 8),
    "kmeans_strides": (8, 4),
}


def config(head: str, **changes: object) -> ModelConfig:
    return ModelConfig(head=head, **{**SMALL, **changes})  # type: ignore[arg-type]


def two_pictures() -> Batch:
    """Sky over grass; two boxes and a disc in the first, a box and a lamp in the second; a void strip in both."""
    boxes = (((8, 8, 24, 24, 1), (36, 8, 60, 28, 1), (28, 36, 52, 60, 0)), ((12, 28, 40, 44, 1), (40, 4, 56, 20, 2)))
    label_map = torch.zeros(2, *SIZE, dtype=torch.int16)
    label_map[:, 32:] = 1
    tables = []
    for picture, things in zip(label_map, boxes, strict=True):
        for row, (top, left, bottom, right, _) in enumerate(things, start=2):
            picture[top:bottom, left:right] = row
        tables.append(torch.tensor([4, 3, *(category for *_, category in things)]))
    palette = [torch.tensor([COLORS[index] for index in table.tolist()], dtype=torch.uint8) for table in tables]
    image = torch.stack([own[rows.long()] for own, rows in zip(palette, label_map, strict=True)]).permute(0, 3, 1, 2)
    label_map[:, :, 62:] = -1
    return Batch(image.contiguous(), label_map, tables, ["first", "second"])


def train(head: str, steps: int, *, seed: int = 0, lr: float = 1e-2, **changes: object) -> SlotsModel:
    """A network after some steps on the two pictures, in training mode; gradients of the last step stay."""
    torch.manual_seed(seed)
    model = build_model(config(head, **changes), IS_THING, SIZE)
    loss, batch = build_loss(head, LossConfig(discrimination_pixels=64), IS_THING), two_pictures()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, max(steps, 2))
    for step in range(steps):
        optimizer.zero_grad()
        generators = [torch.Generator().manual_seed(1000 * seed + 2 * step + image) for image in range(2)]
        loss(model.forward_training(batch.image.float()), batch, generators)["total"].backward()
        optimizer.step()
        schedule.step()
    return model


@functools.cache
def learnt(head: str, kmeans_update: str = "sum") -> SlotsModel:
    """A deployed network that knows the two pictures, its norms' statistics being theirs; do not change it."""
    model = train(head, {"panoptic_deeplab": 160}.get(head, 80), kmeans_update=kmeans_update)
    with torch.no_grad():
        for norm in (m for m in model.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))):
            norm.momentum = 0.5
        for _ in range(12):
            model(two_pictures().image.float())
    return model.deployable()


def answers(model: nn.Module) -> Slots:
    """To the two pictures."""
    with torch.no_grad():
        slots = model(two_pictures().image.float())
    return Slots(*slots)
