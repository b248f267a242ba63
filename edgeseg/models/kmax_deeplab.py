"""kMaX-DeepLab as published; `kmax` is the same idea in phone widths.

Source: Yu et al., "k-means Mask Transformer", ECCV 2022 (arXiv 2207.04044); deeplab2 model/kmax_deeplab.py,
model/transformer_decoder/kmax.py and bytedance/kmax-deeplab modeling/transformer_decoder/kmax_transformer_decoder.py.
The published widths are those of configs/kmax-r50.toml. What differs here, beside the pixel decoder's differences
(axial_decoder.py): no drop path; a pixel goes to every query that ties for it; and the semantic branch is compared at
the strides of the k-means layers, not at stride 4, so that ReMask relaxes the layers' masks and leaves the final ones
as they are at inference.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from edgeseg.config import ModelConfig
from edgeseg.models.axial_decoder import AxialDecoder
from edgeseg.models.deeplab_v3plus import DeepLabV3PlusHead
from edgeseg.models.kmax import KMeansStep, MaskProduct, QueryHead, QueryRows, class_layer
from edgeseg.models.layers import ConvNorm, LinearNorm, unit
from edgeseg.models.registry import register_head
from edgeseg.structures import InputError, Prediction, Slots

NORM_EPS = 1e-3  # of every batch norm, as published


class Unit(nn.Module):
    """Each cell's vector to length 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, D, h, w) to the same shape."""
        return unit(x)


class Predictor(MaskProduct):
    """The product with unit pixel embeddings of half the queries' width.

    Args:
        pixel_channels: Channels of the pixel features.
        config: Widths.
    """

    def __init__(self, pixel_channels: int, config: ModelConfig) -> None:
        dim = config.query_dim
        pixel = nn.Sequential(
            ConvNorm(pixel_channels, pixel_channels, config.mask_kernel, groups=pixel_channels, relu=False),
            nn.GELU(),
            ConvNorm(pixel_channels, dim, relu=False),
            nn.GELU(),
            nn.Conv2d(dim, dim // 2, 1),
            nn.BatchNorm2d(dim // 2),
            Unit(),
        )
        super().__init__(pixel, LinearNorm(dim, dim // 2), config.num_queries)


class TransformerLayer(QueryRows):
    """One k-means cross-attention, self-attention and feed-forward step over the queries.

    Args:
        pixel_channels: Channels of the decoded map that is clustered.
        config: Widths.
    """

    def __init__(self, pixel_channels: int, config: ModelConfig) -> None:
        super().__init__(config)
        dim = config.query_dim
        self.pixel_in = nn.Sequential(nn.GELU(), ConvNorm(pixel_channels, dim, relu=False), nn.GELU())
        self.query_in = nn.Sequential(LinearNorm(dim, dim), nn.GELU())
        self.predictor = Predictor(dim, config)
        self.value = ConvNorm(dim, dim, relu=False)
        self.update_norm = nn.BatchNorm1d(dim)
        self.update_out = LinearNorm(dim, dim, gamma=0.0)
        self.to_q, self.to_k = LinearNorm(dim, dim // 2), LinearNorm(dim, dim // 2)
        self.to_v = LinearNorm(dim, dim)
        self.logit_norm = nn.BatchNorm2d(config.num_heads)
        self.attention_norm = nn.BatchNorm1d(dim)
        self.attention_out = LinearNorm(dim, dim, gamma=0.0)
        self.ffn = nn.Sequential(LinearNorm(dim, config.ffn_dim), nn.GELU(), LinearNorm(config.ffn_dim, dim, gamma=0.0))

    def forward(self, pixels: torch.Tensor, queries: torch.Tensor) -> KMeansStep:
        """Updates the queries from one map.

        Args:
            pixels: (B, Cp, h, w).
            queries: (B N, D).
        """
        p, q = self.pixel_in(pixels), self.query_in(queries)
        logits, embedding = self.predictor(p, q)
        update = torch.bmm(self.assign(logits.detach()), self.value(p).flatten(2).transpose(1, 2))  # (B, N, D)
        queries = queries + self.update_out(self.update_norm(update.flatten(0, 1)))
        queries = F.gelu(queries + self.attention_out(self.attend(q)))
        return KMeansStep(F.gelu(queries + self.ffn(queries)), q, logits, embedding)

    def attend(self, q: torch.Tensor) -> torch.Tensor:
        """Self-attention among an image's queries, (B N, D) -> (B N, D); a batch norm scales its logits."""
        logits = torch.bmm(self.split(self.to_q(q)), self.split(self.to_k(q)).transpose(1, 2))  # (B heads, N, N)
        logits = self.logit_norm(logits.reshape(-1, self.num_heads, self.num_queries, self.num_queries))
        weights = logits.reshape(-1, self.num_queries, self.num_queries).softmax(-1)  # three axes: AxialAttention
        return F.gelu(self.attention_norm(self.join(torch.bmm(weights, self.split(self.to_v(q))))))


class SemanticBranch(DeepLabV3PlusHead):
    """DeepLabV3+ on the backbone's maps with the published rates."""

    rates = (6, 12, 18)


class TrainingBranches(nn.Module):
    """What only the losses look at; dropped at export.

    Args:
        config: Widths.
        channels: Backbone channels at strides 4, 8, 16, 32.
        is_thing: (K,).
        image_size: (height, width) of the network's input.
    """

    def __init__(
        self,
        config: ModelConfig,
        channels: tuple[int, int, int, int],
        is_thing: Sequence[bool],
        image_size: tuple[int, int],
    ) -> None:
        super().__init__()
        self.classify = nn.ModuleList(class_layer(config.query_dim, len(is_thing)) for _ in config.kmeans_strides)
        self.semantic = SemanticBranch(config, channels, (*is_thing, False), image_size)  # the last is void


class KMaxDeepLabHead(QueryHead):
    """Pixel decoder with axial attention, k-means layers and the final predictor.

    Args:
        config: Widths, queries, strides.
        channels: Backbone channels at strides 4, 8, 16, 32.
        is_thing: (K,); the class logits have K + 1 columns, the last is void.
        image_size: (height, width) of the network's input.

    Raises:
        InputError: Keys of half the queries' width that the heads do not divide; see AxialDecoder too.
    """

    def __init__(
        self,
        config: ModelConfig,
        channels: tuple[int, int, int, int],
        is_thing: Sequence[bool],
        image_size: tuple[int, int],
    ) -> None:
        super().__init__()
        dim, self.num_columns = config.query_dim, len(is_thing) + 1
        if dim % (2 * config.num_heads):
            raise InputError(
                f"query_dim = {dim}: head kmax_deeplab wants a multiple of 2 num_heads = {2 * config.num_heads}"
            )
        self.num_slots, self.size = config.num_queries, (image_size[0] // 4, image_size[1] // 4)
        self.decoder = AxialDecoder(channels, config.decoder_dims, image_size)
        self.levels = tuple((32, 16, 8, 4).index(stride) for stride in config.kmeans_strides)
        self.queries = nn.Parameter(torch.randn(config.num_queries, dim))
        self.layers = nn.ModuleList(TransformerLayer(4 * config.decoder_dims[level], config) for level in self.levels)
        self.class_in = nn.Sequential(LinearNorm(dim, dim), nn.GELU())
        self.classify = class_layer(dim, len(is_thing))
        self.mask_in = nn.Sequential(LinearNorm(dim, dim), nn.GELU())
        self.predictor = Predictor(4 * config.decoder_dims[3], config)
        self.training_branches: TrainingBranches | None = TrainingBranches(config, channels, is_thing, image_size)
        for norm in (m for m in self.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))):
            norm.eps = NORM_EPS

    def forward_training(self, pyramid: tuple[torch.Tensor, ...]) -> list[Prediction]:
        """The final prediction first, then those of the k-means layers."""
        if self.training_branches is None:
            raise RuntimeError("this head was stripped for deployment; train the checkpoint's own model instead")
        maps, queries = self.decoder(pyramid), self.start(pyramid[0])
        semantic, predictions = self.training_branches.semantic.segment(pyramid), []
        for level, layer, classify in zip(self.levels, self.layers, self.training_branches.classify, strict=True):
            step: KMeansStep = layer(maps[level], queries)
            queries, size = step.queries, maps[level].shape[-2:]
            slots = Slots(self.to_slots(classify(step.entering)), step.logits.reshape(*step.logits.shape[:2], *size))
            own = F.interpolate(semantic, size=size, mode="bilinear", align_corners=False)
            predictions.append(Prediction(slots, step.embedding, own))
        return [self.predict(maps[3], queries), *predictions]

    def predict(self, pixels: torch.Tensor, queries: torch.Tensor) -> Prediction:
        """The final slots from the stride-4 map and the last queries."""
        class_logits = self.to_slots(self.classify(self.class_in(queries)))
        logits, embedding = self.predictor(pixels, self.mask_in(queries))
        return Prediction(Slots(class_logits, logits.reshape(-1, self.num_slots, *self.size)), embedding, None)

    def strip(self) -> None:
        """Drops the training-only branches, in place."""
        self.training_branches = None


register_head("kmax_deeplab")(KMaxDeepLabHead)
