"""kMaX-DeepLab as published: counts of every part, axial attention against loops, what deployment drops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgeseg.config import ModelConfig, load_config
from edgeseg.models import SlotsModel, build_model, count_macs, count_parameters
from edgeseg.models.axial_decoder import AxialAttention, AxialPair
from edgeseg.structures import InputError

Count = NDArray[np.int64]
"""(2,) parameters and multiply-accumulates."""

SIZE = (800, 1216)
"""The published 801 x 1201 in multiples of 32."""
COLUMNS, NUM_QUERIES, WIDTHS, LAYERS_AT = 134, 128, (512, 256, 128, 64), (0, 0, 1, 1, 2, 2)


def maps(size: tuple[int, int]) -> list[tuple[int, int]]:
    """(height, width) at strides 2, 4, 8, 16, 32."""
    return [(-(-size[0] // stride), -(-size[1] // stride)) for stride in (2, 4, 8, 16, 32)]


def layer(cin: int, cout: int, cells: int, kernel: int = 1, groups: int = 1) -> Count:
    """Convolution or linear without bias, and its batch norm."""
    weights = cin * cout * kernel**2 // groups
    return np.array([weights + 2 * cout, weights * cells])


def resnet50(size: tuple[int, int]) -> Count:
    half, *strides = maps(size)
    total, cin, before = layer(3, 64, half[0] * half[1], 7), 64, strides[0]
    for blocks, width, (h, w) in zip((3, 4, 6, 3), (64, 128, 256, 512), strides, strict=True):
        for block in range(blocks):
            total += layer(cin, width, before[0] * before[1]) + layer(width, width, h * w, 3)
            total += layer(width, 4 * width, h * w) + (layer(cin, 4 * width, h * w) if block == 0 else 0)
            cin, before = 4 * width, (h, w)
    return total


def pixel_decoder(size: tuple[int, int]) -> Count:
    backbone, total = (2048, 1024, 512, 256), np.array([2 * (2048 + 1024 + 512 + 256), 0])
    coarse, before = 2048, 0
    for stage, (d, cin, blocks, (h, w)) in enumerate(
        zip(WIDTHS, backbone, (1, 5, 1, 1), maps(size)[:0:-1], strict=True)
    ):
        cells = h * w
        if stage:
            total += layer(coarse, d, before) + layer(cin, d, cells)
        for block in range(blocks):
            outside = (d if stage else cin) if block == 0 else 4 * d
            total += layer(outside, 4 * d, cells) if outside != 4 * d else 0
            inside = 2 * d if stage < 2 else d
            total += layer(outside, inside, cells) + layer(inside, 4 * d, cells)
            if stage > 1:
                total += layer(d, d, cells, 3)
                continue
            for length, lines in ((h, w), (w, h)):  # 3 tables of 509 distances, 3 logit norms, 2 value norms
                total += layer(2 * d, 4 * d, cells)
                total += [509 * 4 * d // 8 + 3 * 2 * 8 + 2 * 2 * 2 * d, lines * length**2 * (3 * d + 2 * 2 * d)]
        coarse, before = 4 * d, cells
    return total


def predictor(channels: int, cells: int) -> Count:
    """Without the classes."""
    pixel = layer(channels, channels, cells, 5, channels) + layer(channels, 256, cells) + layer(256, 128, cells)
    return pixel + layer(256, 128, NUM_QUERIES) + [128 + 2, 128 * NUM_QUERIES * cells]


def classes() -> Count:
    return np.array([257 * COLUMNS, 256 * COLUMNS * NUM_QUERIES])


def transformer_layer(stage: int, size: tuple[int, int]) -> Count:
    """Without the classes."""
    h, w = maps(size)[4 - stage]
    n, cells = NUM_QUERIES, h * w
    total = layer(256, 256, n) + layer(4 * WIDTHS[stage], 256, cells) + layer(256, 256, cells) + predictor(256, cells)
    total += np.array([2 * 256, 256 * n * cells]) + layer(256, 256, n)  # the update
    total += layer(256, 512, n) + layer(256, 256, n) + np.array([2 * 8 + 2 * 256, n * n * (128 + 256)])  # the attention
    return total + layer(256, 2048, n) + layer(2048, 256, n)


def final(size: tuple[int, int]) -> Count:
    h, w = maps(size)[1]
    return 2 * layer(256, 256, NUM_QUERIES) + predictor(256, h * w) + classes()


@pytest.fixture(scope="module")
def published() -> SlotsModel:
    """Shapes only."""
    pytest.importorskip("timm", reason="pip install 'edgeseg[timm]'")
    with torch.device("meta"):
        return build_model(load_config("kmax-r50").model, (True,) * 80 + (False,) * 53, SIZE)


def test_the_hand_count_is_the_published_one() -> None:
    """56.58 M parameters and 171.3 GMAC at 801 x 1201 with the classes of every layer (the paper: 57 M, 168 G)."""
    size = (801, 1201)
    layers = sum((transformer_layer(stage, size) + classes() for stage in LAYERS_AT), np.array([128 * 256, 0]))
    parameters, macs = resnet50(size) + pixel_decoder(size) + layers + final(size)
    assert parameters == 56_580_120
    assert macs == 171_269_343_680


def test_every_part_counts_what_the_hand_count_does(published: SlotsModel) -> None:
    deployed = published.deployable()
    with FlopCounterMode(display=False) as counter, torch.device("meta"), torch.no_grad():
        deployed(torch.zeros(1, 3, *SIZE))
    flops = {name: sum(parts.values()) for name, parts in counter.get_flop_counts().items()}

    def count(*names: str) -> list[int]:
        modules = [deployed.get_submodule(name) for name in names]
        return [sum(map(count_parameters, modules)), sum(flops[f"SlotsModel.{name}"] for name in names) // 2]

    assert count("backbone") == resnet50(SIZE).tolist()
    assert count("head.decoder") == pixel_decoder(SIZE).tolist()
    for index, stage in enumerate(LAYERS_AT):
        assert count(f"head.layers.{index}") == transformer_layer(stage, SIZE).tolist()
    assert count("head.class_in", "head.classify", "head.mask_in", "head.predictor") == final(SIZE).tolist()
    with torch.device("meta"):
        assert count_macs(deployed, SIZE) == pytest.approx(168.74e9, rel=1e-4)


def test_the_semantic_branch_and_the_layers_classes_vanish_at_deployment(published: SlotsModel) -> None:
    """The branch has 15.9 M parameters; what stays, with the classes of the layers, is the published count."""
    branches, deployed = published.head.training_branches, count_parameters(published.deployable())
    assert isinstance(branches, nn.Module)
    assert count_parameters(branches.semantic) == 15_856_742
    assert count_parameters(branches.classify) == 6 * classes()[0]
    assert count_parameters(published) - deployed == 15_856_742 + 6 * classes()[0]
    assert deployed + 6 * classes()[0] == 56_580_120


def normed(norm: nn.Module, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(C, ...) through a batch norm in eval mode."""
    weight, bias, mean, var = (value.detach().numpy() for name, value in norm.state_dict().items() if "num" not in name)
    return ((x.T - mean) / np.sqrt(var + norm.eps) * weight + bias).T  # type: ignore[arg-type, operator, no-any-return]


def line_by_loops(attention: AxialAttention, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(C, L) -> (2 dim, L) of 8 heads, place by place."""
    d, length = attention.dim, x.shape[1]
    conv, norm = attention.qkv
    qkv = normed(norm, conv.weight.detach().numpy()[:, :, 0, 0] @ x)
    q, k, v = (part.reshape(8, -1, length) for part in np.split(qkv, [d, 2 * d]))
    r, s, t = (module.table.detach().numpy() for module in (attention.r, attention.s, attention.t))
    logits = np.zeros((3, 8, length, length))
    for head, a, b in np.ndindex(8, length, length):
        far = b - a + 254
        logits[:, head, a, b] = q[head, :, a] @ k[head, :, b], q[head, :, a] @ r[far], k[head, :, b] @ s[far]
    total = sum(normed(own, part) for own, part in zip(attention.logit_norms, logits, strict=True))
    found = np.zeros((2, 8, 2 * d // 8, length))
    for head, a in np.ndindex(8, length):
        share = np.exp(total[head, a]) / np.exp(total[head, a]).sum()
        for b in range(length):
            found[0, head, :, a] += share[b] * v[head, :, b]
            found[1, head, :, a] += share[b] * t[b - a + 254]
    seen, place = (normed(*pair) for pair in zip(attention.value_norms, found.reshape(2, 2 * d, length), strict=True))
    return seen + place


def test_axial_attention_is_the_loop_over_places_along_columns_and_then_rows() -> None:
    torch.manual_seed(0)
    pair = AxialPair(6, 16, (3, 5)).double().eval()
    for norm in (m for m in pair.modules() if isinstance(m, nn.BatchNorm2d)):
        for values, low in ((norm.weight, 0.5), (norm.running_var, 0.5), (norm.bias, -1.0), (norm.running_mean, -1.0)):
            nn.init.uniform_(values, low, low + 1.0)  # type: ignore[arg-type]
    x = torch.randn(2, 6, 3, 5, dtype=torch.float64)
    middle = np.stack([[line_by_loops(pair.columns, image[:, :, i]) for i in range(5)] for image in x.numpy()])
    middle = middle.transpose(0, 2, 3, 1)  # (2, 32, 3, 5)
    wanted = np.stack([[line_by_loops(pair.rows, image[:, i]) for i in range(3)] for image in middle])
    with torch.no_grad():
        np.testing.assert_allclose(pair(x).numpy(), wanted.transpose(0, 2, 1, 3), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "change, size, message",
    [
        ({"decoder_dims": (48, 12, 8, 8)}, (64, 64), "multiples of 8"),
        ({"query_dim": 12}, (64, 64), "multiple of 2 num_heads = 8"),
        ({}, (64, 4096), "sides up to 4080"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(change: dict[str, object], size: tuple[int, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_model(replace(ModelConfig(head="kmax_deeplab"), **change), (True, False), size)  # type: ignore[arg-type]
