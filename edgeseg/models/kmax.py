"""The k-means mask decoder of kMaX-DeepLab in phone widths.

Source: deeplab2 model/transformer_decoder/kmax.py and bytedance/kmax-deeplab; what differs here: batch norm and ReLU
throughout, one layer per stride, a position map on the pixels, mask embeddings that are not L2-normalised in the graph
(the batch norm on the mask logits sets their scale), and an assignment that lowers to delegated operators only.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from edgeseg.config import ModelConfig
from edgeseg.models.layers import ConvNorm, FrozenPosition, LinearNorm, PositionEmbedding
from edgeseg.models.pixel_decoder import PixelDecoder
from edgeseg.models.registry import Head, register_head
from edgeseg.structures import Prediction, Slots


class MaskProduct(nn.Module):
    """Mask logits: the product of query and pixel embeddings under one batch norm.

    Args:
        pixel: Pixel features to their embedding, (B, Cp, h, w) -> (B, D, h, w).
        query: Queries to theirs, (B N, Cq) -> (B N, D).
        num_queries: N.
    """

    def __init__(self, pixel: nn.Module, query: nn.Module, num_queries: int) -> None:
        super().__init__()
        self.num_queries, self.pixel, self.query = num_queries, pixel, query
        self.norm = nn.BatchNorm2d(1)
        nn.init.constant_(self.norm.weight, 0.1)

    def forward(self, pixels: torch.Tensor, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, Cp, h, w) and (B N, Cq) -> mask logits (B, N, h w), pixel embedding (B, D, h, w)."""
        embedding = self.pixel(pixels)
        rows = self.query(queries).reshape(-1, self.num_queries, embedding.shape[1])  # (B, N, D)
        logits = torch.bmm(rows, embedding.flatten(2))
        return self.norm(logits.unsqueeze(1)).squeeze(1), embedding


class ClusterHead(MaskProduct):
    """The product in phone widths.

    Args:
        pixel_channels: Channels of the pixel features.
        config: Widths.
    """

    def __init__(self, pixel_channels: int, config: ModelConfig) -> None:
        pixel = nn.Sequential(
            ConvNorm(pixel_channels, pixel_channels, config.mask_kernel, groups=pixel_channels),
            ConvNorm(pixel_channels, config.query_dim, relu=False),
        )
        super().__init__(pixel, LinearNorm(config.query_dim, config.query_dim), config.num_queries)


class KMeansStep(NamedTuple):
    """What one k-means layer gives.

    Attributes:
        queries: (B N, D), updated.
        entering: (B N, D) embedding of the queries before the update, which the layer's classes are read from.
        logits: (B, N, h w) mask logits.
        embedding: (B, D, h, w) of the pixels.
    """

    queries: torch.Tensor
    entering: torch.Tensor
    logits: torch.Tensor
    embedding: torch.Tensor


class QueryRows(nn.Module):
    """What k-means layers do with queries that are rows of one matrix, (B N, D).

    Args:
        config: Widths.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_queries, self.num_heads = config.num_queries, config.num_heads
        self.pool = nn.MaxPool2d((config.num_queries, 1), stride=(config.num_queries, 1))

    def assign(self, logits: torch.Tensor) -> torch.Tensor:
        """(B, N, P) logits -> 1 where a slot is the pixel's best, else 0 (every best one, where several tie)."""
        best = self.pool(logits.unsqueeze(1)).squeeze(1)  # (B, 1, P)
        return torch.relu(1.0 - torch.ceil(best - logits))

    def split(self, rows: torch.Tensor) -> torch.Tensor:
        """(B N, D) -> (B heads, N, D / heads)."""
        width = rows.shape[1] // self.num_heads
        rows = rows.reshape(-1, self.num_queries, self.num_heads, width).transpose(1, 2)
        return rows.reshape(-1, self.num_queries, width)

    def join(self, parts: torch.Tensor) -> torch.Tensor:
        """(B heads, N, D / heads) -> (B N, D)."""
        width = parts.shape[2]
        rows = parts.reshape(-1, self.num_heads, self.num_queries, width).transpose(1, 2)
        return rows.reshape(-1, self.num_heads * width)


def assigning_products(model: nn.Module) -> list[str]:
    """Names of the mask products that layers assign pixels by; no gradient of the slots passes an assignment."""
    return [
        f"{name}.{part}"
        for name, layer in model.named_modules()
        if isinstance(layer, QueryRows)
        for part, child in layer.named_children()
        if isinstance(child, MaskProduct)
    ]


class KMeansLayer(QueryRows):
    """One k-means cross-attention, self-attention and feed-forward step over the queries.

    Args:
        pixel_channels: Channels of the decoded map that is clustered.
        size: (height, width) of that map.
        config: Widths.
    """

    def __init__(self, pixel_channels: int, size: tuple[int, int], config: ModelConfig) -> None:
        super().__init__(config)
        dim = config.query_dim
        self.size, self.takes_mean = size, config.kmeans_update == "mean"
        self.pixel_in = ConvNorm(pixel_channels, dim, relu=False)
        self.position: PositionEmbedding | FrozenPosition = PositionEmbedding(dim, size)
        self.query_in = LinearNorm(dim, dim, relu=True)
        self.cluster = ClusterHead(dim, config)
        self.value: nn.Sequential = ConvNorm(dim, dim, relu=False)
        self.update_norm = nn.BatchNorm1d(dim)
        self.update_out = LinearNorm(dim, dim)
        self.to_q, self.to_k, self.to_v = (LinearNorm(dim, dim) for _ in range(3))
        self.attention_out = LinearNorm(dim, dim)
        self.ffn = nn.Sequential(LinearNorm(dim, config.ffn_dim, relu=True), LinearNorm(config.ffn_dim, dim))
        self.relu = nn.ReLU()

    def forward(self, pixels: torch.Tensor, queries: torch.Tensor) -> KMeansStep:
        """Updates the queries from one map.

        Args:
            pixels: (B, Cp, h, w).
            queries: (B N, D).
        """
        p = self.relu(self.position(self.pixel_in(pixels)))
        q = self.query_in(queries)
        logits, embedding = self.cluster(p, q)
        queries = queries + self.update(p, q, logits)
        queries = self.relu(queries + self.attention_out(self.attend(q)))
        return KMeansStep(self.relu(queries + self.ffn(queries)), q, logits, embedding)

    def update(self, p: torch.Tensor, q: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """What the pixels tell a query: sum or mean of the values of those that it is the best for.

        Args:
            p: (B, D, h, w) pixel features.
            q: (B N, D) embedding of the queries.
            logits: (B, N, h w) mask logits.

        Returns:
            (B N, D).
        """
        mine = self.assign(logits.detach())
        update = torch.bmm(mine, self.value(p).flatten(2).transpose(1, 2))  # (B, N, D)
        if self.takes_mean:
            update = update / self.count(mine).clamp(min=1.0)
        result: torch.Tensor = self.update_out(self.update_norm(update.flatten(0, 1)))
        return result

    def count(self, mine: torch.Tensor) -> torch.Tensor:
        """(B, N, P) zeros and ones -> (B, N, 1) ones of each, by operators that are delegated; the same everywhere.

        Runtimes round a mean differently: only the whole number behind it is one.
        """
        shares = mine.reshape(-1, self.num_queries, *self.size).mean((2, 3), keepdim=True)
        return torch.ceil(shares * float(math.prod(self.size)) - 0.5).reshape(-1, self.num_queries, 1)

    def attend(self, q: torch.Tensor) -> torch.Tensor:
        """Self-attention among an image's queries, (B N, D) -> (B N, D)."""
        scale = 1.0 / math.sqrt(q.shape[1] // self.num_heads)
        weights = torch.bmm(self.split(self.to_q(q)), self.split(self.to_k(q)).transpose(1, 2)) * scale
        return torch.relu(self.join(torch.bmm(weights.softmax(-1), self.split(self.to_v(q)))))


class TrainingBranches(nn.Module):
    """What only the losses of one k-means layer look at; dropped at export.

    Args:
        config: Widths.
        num_categories: K.
    """

    def __init__(self, config: ModelConfig, num_categories: int) -> None:
        super().__init__()
        self.classify = class_layer(config.query_dim, num_categories)
        self.semantic = nn.Sequential(
            ConvNorm(config.query_dim, config.query_dim, 3, groups=config.query_dim),
            ConvNorm(config.query_dim, config.query_dim),
            nn.Conv2d(config.query_dim, num_categories + 1, 1),
        )


class QueryHead(Head):
    """A head whose slots are learned queries that k-means layers update, one after the other.

    A subclass makes these parts, and says how a last prediction comes about.
    """

    num_columns: int
    """K + 1, the last is void."""
    decoder: nn.Module
    levels: tuple[int, ...]
    """Index of the decoded map that each layer clusters."""
    queries: nn.Parameter
    layers: nn.ModuleList

    def forward(self, pyramid: tuple[torch.Tensor, ...]) -> Slots:
        """Slots at stride 4 from the backbone's maps."""
        maps = self.decoder(pyramid)
        queries = self.start(pyramid[0])
        for level, layer in zip(self.levels, self.layers, strict=True):
            queries = layer(maps[level], queries).queries
        return self.predict(maps[3], queries).slots

    def start(self, like: torch.Tensor) -> torch.Tensor:
        """The learned queries once per image of the batch, (B N, D)."""
        return self.queries.unsqueeze(0).expand(like.shape[0], -1, -1).flatten(0, 1)

    @abstractmethod
    def predict(self, pixels: torch.Tensor, queries: torch.Tensor) -> Prediction:
        """The final slots from the stride-4 map and the last queries."""

    def to_slots(self, rows: torch.Tensor) -> torch.Tensor:
        """(B N, K + 1) -> (B, N, K + 1)."""
        return rows.reshape(-1, self.num_slots, self.num_columns)


class KMaxHead(QueryHead):
    """Pixel decoder, k-means layers and the final predictor.

    Args:
        config: Widths, queries, strides.
        channels: Backbone channels at strides 4, 8, 16, 32.
        is_thing: (K,); the class logits have K + 1 columns, the last is void.
        image_size: (height, width) of the network's input.
    """

    layer: type[KMeansLayer] = KMeansLayer

    def __init__(
        self,
        config: ModelConfig,
        channels: tuple[int, int, int, int],
        is_thing: Sequence[bool],
        image_size: tuple[int, int],
    ) -> None:
        super().__init__()
        num_categories = len(is_thing)
        dim = config.query_dim
        self.num_slots, self.num_columns = config.num_queries, num_categories + 1
        self.size = (image_size[0] // 4, image_size[1] // 4)
        self.decoder = PixelDecoder(channels, config.decoder_dims)
        self.levels = tuple((32, 16, 8, 4).index(stride) for stride in config.kmeans_strides)
        self.queries = nn.Parameter(torch.randn(config.num_queries, dim))
        self.layers = nn.ModuleList(
            self.layer(4 * config.decoder_dims[level], (image_size[0] // stride, image_size[1] // stride), config)
            for level, stride in zip(self.levels, config.kmeans_strides, strict=True)
        )
        self.class_in = LinearNorm(dim, dim, relu=True)
        self.classify = class_layer(dim, num_categories)
        self.mask_in = LinearNorm(dim, dim, relu=True)
        self.position: PositionEmbedding | FrozenPosition = PositionEmbedding(4 * config.decoder_dims[3], self.size)
        self.cluster = ClusterHead(4 * config.decoder_dims[3], config)
        self.training_branches: nn.ModuleList | None = nn.ModuleList(
            TrainingBranches(config, num_categories) for _ in self.layers
        )

    def forward_training(self, pyramid: tuple[torch.Tensor, ...]) -> list[Prediction]:
        """The final prediction first, then those of the k-means layers."""
        if self.training_branches is None:
            raise RuntimeError("this head was stripped for deployment; train the checkpoint's own model instead")
        maps = self.decoder(pyramid)
        queries = self.start(pyramid[0])
        predictions = []
        for level, layer, branch in zip(self.levels, self.layers, self.training_branches, strict=True):
            assert isinstance(branch, TrainingBranches)
            step: KMeansStep = layer(maps[level], queries)
            queries = step.queries
            slots = Slots(
                self.to_slots(branch.classify(step.entering)),
                step.logits.reshape(*step.logits.shape[:2], *maps[level].shape[-2:]),
            )
            predictions.append(Prediction(slots, step.embedding, branch.semantic(step.embedding)))
        return [self.predict(maps[3], queries), *predictions]

    def predict(self, pixels: torch.Tensor, queries: torch.Tensor) -> Prediction:
        """The final slots from the stride-4 map and the last queries."""
        class_logits = self.to_slots(self.classify(self.class_in(queries)))
        logits, embedding = self.cluster(torch.relu(self.position(pixels)), self.mask_in(queries))
        mask_logits = logits.reshape(-1, self.num_slots, *self.size)
        return Prediction(Slots(class_logits, mask_logits), embedding, None)

    def strip(self) -> None:
        """Drops the training-only branches and freezes what is constant, in place."""
        self.training_branches = None
        owners: list[KMaxHead | KMeansLayer] = [
            self,
            *(layer for layer in self.layers if isinstance(layer, KMeansLayer)),
        ]
        for owner in owners:
            if isinstance(owner.position, PositionEmbedding):
                owner.position = owner.position.freeze()


def class_layer(dim: int, num_categories: int) -> nn.Linear:
    """Linear to K + 1 logits that starts at 90 % void (deeplab2's prior)."""
    layer = nn.Linear(dim, num_categories + 1)
    nn.init.trunc_normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
    with torch.no_grad():
        layer.bias[-1] = math.log(0.9 * num_categories / 0.1)
    return layer


register_head("kmax")(KMaxHead)
