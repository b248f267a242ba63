"""Heads whose originals are installed: the same weights give the same logits."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.segmentation import deeplabv3

from edgeseg.config import ModelConfig
from edgeseg.models import count_parameters
from edgeseg.models.deeplab_v3plus import ASPP
from edgeseg.models.lraspp import LRASPPHead
from edgeseg.models.pem import PrototypeLayer


def lively(module: nn.Module) -> nn.Module:
    """In eval mode, with statistics that a fold can get wrong."""
    torch.manual_seed(0)
    for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
        for values in (norm.weight, norm.running_var):
            nn.init.uniform_(values, 0.5, 1.5)
        for values in (norm.bias, norm.running_mean):
            nn.init.normal_(values, std=0.3)
    return module.eval()


def test_lraspp_has_torchvisions_names_shapes_and_logits() -> None:
    """lraspp_mobilenet_v3_large: 3,221,538 parameters (torchvision's table), of which its classifier is this head."""
    theirs = lively(torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None))
    assert count_parameters(theirs) == 3_221_538
    ours = LRASPPHead(ModelConfig(query_dim=128), (24, 40, 112, 960), (True,) * 21, (64, 96)).eval()
    assert count_parameters(ours) == count_parameters(theirs.classifier)
    ours.load_state_dict(theirs.classifier.state_dict())
    low, high = torch.randn(2, 40, 8, 12), torch.randn(2, 960, 2, 3)
    with torch.no_grad():
        wanted = F.interpolate(theirs.classifier({"low": low, "high": high}), scale_factor=2.0, mode="bilinear")
        found = ours.segment((torch.empty(0), low, torch.empty(0), high))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_aspp_is_torchvisions_with_its_pooled_branch_added_instead_of_concatenated() -> None:
    theirs, dim = lively(deeplabv3.ASPP(10, [3, 6, 9], 6)), 6
    ours = ASPP(10, dim, (3, 6, 9)).eval()
    state = theirs.state_dict()
    mine = {name: value for name, value in state.items() if name.startswith("convs") and "convs.4" not in name}
    pool = fuse_conv_bn_eval(theirs.convs[4][1], theirs.convs[4][2])
    norm = theirs.project[1]
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).reshape(-1, 1, 1, 1)
    mine |= {f"project.1.{name}": value for name, value in norm.state_dict().items()}
    mine |= {"project.0.weight": state["project.0.weight"][:, : 4 * dim]}
    mine |= {"pooled.1.weight": pool.weight, "pooled.1.bias": pool.bias}
    mine |= {"pooled.3.weight": state["project.0.weight"][:, 4 * dim :] * scale, "pooled.3.bias": torch.zeros(dim)}
    ours.load_state_dict(mine)
    x = torch.randn(2, 10, 9, 7)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("has_mask", [True, False])
def test_a_prototype_is_the_pixel_most_like_the_query_in_its_mask_or_anywhere(has_mask: bool) -> None:
    """PEM's rule in loops: per head, argmax of the products over the mask; over all pixels, where the mask is empty."""
    torch.manual_seed(0)
    config = ModelConfig(num_queries=3, query_dim=8, num_heads=2, ffn_dim=8)
    layer = PrototypeLayer(4, (2, 5), config)
    pixels, keys = F.normalize(torch.randn(2, 8, 10), dim=1), F.normalize(torch.randn(6, 8), dim=1)
    own = (torch.rand(2, 3, 10) < 0.4).float() * float(has_mask)
    found = layer.join(layer.pick(pixels, keys, own)).reshape(2, 3, 8)
    for image, query, head in ((b, n, h) for b in range(2) for n in range(3) for h in range(2)):
        part = slice(4 * head, 4 * head + 4)
        inside = own[image, query].nonzero().flatten().tolist() or range(10)
        products = [float(pixels[image, part, pixel] @ keys[3 * image + query, part]) for pixel in inside]
        best = inside[products.index(max(products))]
        torch.testing.assert_close(found[image, query, part], pixels[image, part, best])
