"""Small networks and images that the quantization tests share."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from edgeseg.structures import Batch, Slots

SIZE = (32, 32)


class Chain(nn.Module):
    """Convolutions, depthwise ones, a residual sum: what integer engines compute exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8))
        self.pointwise = nn.Conv2d(8, 8, 1)
        self.relu = nn.ReLU()
        self.last = nn.Conv2d(8, 4, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.stem(image)
        return self.last(self.relu(self.pointwise(self.depthwise(x)) + x))


class TinySlots(nn.Module):
    """A network in the manner of the real one: hard-swish, resize, position map, queries, products."""

    def __init__(self, num_queries: int = 4, num_categories: int = 2) -> None:
        super().__init__()
        self.num_queries = num_queries
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=4, padding=1, bias=False), nn.BatchNorm2d(16), nn.Hardswish()
        )
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 16, 1), nn.Hardsigmoid())
        self.down = nn.Sequential(nn.Conv2d(16, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16))
        self.lateral = nn.Conv2d(16, 16, 1)
        self.register_buffer("position", 0.2 * torch.randn(1, 16, SIZE[0] // 4, SIZE[1] // 4))
        self.embed = nn.Conv2d(16, 8, 1)
        self.queries = nn.Linear(16, num_queries * 8)
        self.classify = nn.Linear(8, num_categories + 1)
        self.norm = nn.BatchNorm2d(1)

    def forward(self, image: torch.Tensor) -> Slots:
        x = self.stem((image - 127.5) / 64.0)
        x = x * self.gate(x)
        coarse = self.down(x)
        fine = F.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
        pixels = self.embed(torch.relu(self.lateral(x) + fine) + self.position)
        rows = self.queries(coarse.mean((2, 3))).reshape(-1, self.num_queries, 8)
        logits = self.norm(torch.bmm(rows, pixels.flatten(2)).unsqueeze(1)).squeeze(1)
        return Slots(self.classify(rows), logits.reshape(-1, self.num_queries, SIZE[0] // 4, SIZE[1] // 4))


def images(count: int, *, seed: int) -> torch.Tensor:
    """(count, 3, 32, 32) float32 0..255: two rectangles of random colour on noise."""
    generator = torch.Generator().manual_seed(seed)
    batch = torch.rand(count, 3, *SIZE, generator=generator) * 40
    for image in batch:
        for _ in range(2):
            y, x, h, w = (int(v) for v in torch.randint(4, 16, (4,), generator=generator))
            image[:, y : y + h, x : x + w] += 200 * torch.rand(3, 1, 1, generator=generator)
    return batch


def labelled(pixels: torch.Tensor) -> Batch:
    """Images with one segment of category 0 that covers each of them."""
    count = len(pixels)
    label_map = torch.zeros(count, *SIZE, dtype=torch.int16)
    return Batch(pixels.clamp(0, 255).to(torch.uint8), label_map, [torch.tensor([0])] * count, list(range(count)))


def warmed(model: nn.Module, *, seed: int = 0) -> nn.Module:
    """The model in eval mode after its batch norms saw some images, with affine parts away from their defaults."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    model.train()
    with torch.no_grad():
        for _ in range(5):
            model(images(8, seed=seed))
    return model.eval()
