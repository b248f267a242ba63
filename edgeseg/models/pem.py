"""PEM's prototype-based cross-attention in phone widths: a query reads one pixel of its mask, not all.

Source: Cavagnero et al., "PEM: Prototype-based Efficient MaskFormer for Image Segmentation", CVPR 2024 (arXiv
2402.19422), section 3.2; NiccoloCavagnero/PEM pem/modeling/transformer_decoder/pem_transformer_decoder.py. What differs
here: everything around the cross-attention is `kmax`'s (slim pixel decoder without deformable convolutions, norms that
fold away, losses with masks by softmax over slots), so that the two heads differ in how pixels reach the queries; a
mask is where the slot is the best one, not where a logit is positive; and the prototype is picked without argmax and
gather.
"""

from __future__ import annotations

import torch
from torch import nn

from edgeseg.config import ModelConfig
from edgeseg.models.kmax import KMaxHead, KMeansLayer
from edgeseg.models.layers import ConvNorm, LinearNorm, unit
from edgeseg.models.registry import register_head

OUTSIDE = 4.0  # subtracted from a similarity, which is -1 to 1, of pixels that are not the query's own


class PrototypeLayer(KMeansLayer):
    """A decoder layer whose queries are updated by the pixel that is most like them, for each attention head.

    Args:
        pixel_channels: Channels of the decoded map.
        size: (height, width) of that map.
        config: Widths.
    """

    def __init__(self, pixel_channels: int, size: tuple[int, int], config: ModelConfig) -> None:
        super().__init__(pixel_channels, size, config)
        dim, self.num_pixels = config.query_dim, size[0] * size[1]
        self.value = nn.Sequential(ConvNorm(dim, dim, 3, groups=dim, relu=False), nn.Conv2d(dim, dim, 1))
        self.key = LinearNorm(dim, dim)
        self.mix = nn.Linear(dim, dim, bias=False)  # `update_norm` follows: its scale is the paper's alpha

    def update(self, p: torch.Tensor, q: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """See `KMeansLayer.update`; the paper's equations 3 to 6."""
        pixels, keys = unit(self.value(p).flatten(2)), unit(self.key(q))  # (B, D, P), (B N, D)
        prototypes = self.join(self.pick(pixels, keys, self.assign(logits.detach())))  # (B N, D)
        result: torch.Tensor = self.update_out(self.update_norm(self.mix(prototypes * keys)) + prototypes)
        return result

    def pick(self, pixels: torch.Tensor, keys: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """The pixel most like a query among its own, or among all where it has none; the mean of those that tie.

        Args:
            pixels: (B, D, P) unit vectors.
            keys: (B N, D) unit vectors.
            own: (B, N, P) 1 where a pixel is a query's own, else 0.

        Returns:
            (B heads, N, D / heads).
        """
        rows = self.split(keys)  # (B heads, N, D / heads)
        parts = pixels.reshape(-1, rows.shape[2], self.num_pixels)  # (B heads, D / heads, P)
        likeness = torch.bmm(rows.detach(), parts.detach())  # (B heads, N, P)
        by_head = likeness.reshape(-1, self.num_heads, self.num_queries, self.num_pixels)
        by_head = by_head + (OUTSIDE * (own - 1.0)).unsqueeze(1)
        likeness = by_head.reshape(-1, self.num_queries, self.num_pixels)
        picked = torch.relu(1.0 - torch.ceil(likeness.amax(2, keepdim=True) - likeness))
        return torch.bmm(picked / picked.sum(2, keepdim=True), parts.transpose(1, 2))


class PEMHead(KMaxHead):
    """`kmax` with prototype layers; see there."""

    layer = PrototypeLayer


register_head("pem")(PEMHead)
