"""Backbones: published counts, published weights, what a size or a name is refused for, and that each can learn."""

from __future__ import annotations

import builtins
import urllib.error
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from edgeseg.config import LossConfig, ModelConfig
from edgeseg.losses.registry import build_loss
from edgeseg.models import BACKBONES, build_model, count_macs, count_parameters
from edgeseg.models.moat import WIDTHS, ChannelNorm, FrozenChannelNorm, PositionTable, WindowAttention, classifier
from edgeseg.models.mobilenet import minimalistic
from edgeseg.models.pretrained import load_pretrained
from edgeseg.models.registry import build_backbone
from edgeseg.models.timm_adapter import TESTED
from edgeseg.quantize.fold import fold
from edgeseg.structures import Batch, InputError

SIZE = (64, 96)
THINGS = (True, False, True)
TIMM = [f"timm:{name}" for name in TESTED]
ALL = [*BACKBONES, *TIMM]
VARIANTS = [
    *((name, {}) for name in ALL),
    ("tiny_moat_0", {"attention_window": 2}),
    ("tiny_moat_0", {"position_bias": True}),
    ("tiny_moat_0", {"attention_window": 2, "position_bias": True}),
]
BIG = ("tiny_moat_2", "tiny_moat_3")
"""As the smaller ones but wider; seconds each."""
ONE_OF_A_KIND = ("mobilenet_v3_small", "mobilenet_v2", "tiny_moat_0", "timm:efficientvit_b0")
MARKED = [pytest.param(*pair, marks=pytest.mark.slow) if pair[0] in BIG else pair for pair in VARIANTS]

PUBLISHED_MOAT = {  # deeplab2 g3doc/projects/moat_imagenet_pretrained_checkpoints.md: M parameters with, without bias
    "tiny_moat_0": (3.4, 3.3),
    "tiny_moat_1": (5.1, 5.1),
    "tiny_moat_2": (9.8, 9.7),
    "tiny_moat_3": (19.5, 19.5),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def needs_timm(name: str) -> None:
    if name.startswith("timm:"):
        pytest.importorskip("timm", reason="pip install 'edgeseg[timm]'")


@pytest.mark.parametrize("name", WIDTHS)
def test_tiny_moat_has_the_published_number_of_parameters(name: str) -> None:
    with_bias, without = (count_parameters(classifier(WIDTHS[name], position_bias=bias)) for bias in (True, False))
    assert (round(with_bias / 1e6, 1), round(without / 1e6, 1)) == PUBLISHED_MOAT[name]


@pytest.mark.parametrize("name, published", [("tiny_moat_0", 0.8), ("tiny_moat_1", 1.2)])
def test_tiny_moat_at_224_has_the_published_work(name: str, published: float) -> None:
    """G multiply-accumulates, as EMOv2 (arXiv 2412.06674) lists the two."""
    assert round(count_macs(classifier(WIDTHS[name], position_bias=False), (224, 224)) / 1e9, 1) == published


def test_torchvisions_networks_have_the_published_numbers_of_parameters() -> None:
    """torchvision.models' documentation; the exact counts of their weights."""
    assert count_parameters(torchvision.models.mobilenet_v2()) == 3_504_872
    assert count_parameters(torchvision.models.mobilenet_v3_small()) == 2_542_856
    assert count_parameters(torchvision.models.mobilenet_v3_large()) == 5_483_032


@pytest.mark.parametrize(
    "name, left_out",
    [
        ("mobilenet_v2", 320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000),
        ("mobilenet_v3_small", 96 * 576 + 2 * 576 + 576 * 1024 + 1024 + 1024 * 1000 + 1000),
        ("mobilenet_v3_large", 160 * 960 + 2 * 960 + 960 * 1280 + 1280 + 1280 * 1000 + 1000),
    ],
)
def test_only_the_last_convolution_and_the_classifier_are_left_out(name: str, left_out: int) -> None:
    whole = count_parameters(getattr(torchvision.models, name)())
    assert count_parameters(build_backbone(ModelConfig(backbone=name), SIZE)) == whole - left_out


@pytest.mark.parametrize(
    "name, taps",
    [
        ("mobilenet_v2", (3, 6, 13, 17)),
        ("mobilenet_v3_small", (1, 3, 8, 11)),
        ("mobilenet_v3_large", (3, 6, 12, 15)),
    ],
)
def test_torchvisions_published_weights_load_unchanged(name: str, taps: tuple[int, ...], tmp_path: Path) -> None:
    """A file as torchvision publishes it gives torchvision's own features at strides 4 to 32, bit by bit."""
    theirs = getattr(torchvision.models, name)(weights=None).eval()
    torch.save(theirs.state_dict(), tmp_path / "published.pth")
    model = build_model(ModelConfig(backbone=name), THINGS, SIZE).eval()
    load_pretrained(model, str(tmp_path / "published.pth"))
    x = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        pyramid = model.backbone(x)
        for index, block in enumerate(theirs.features):
            x = block(x)
            if index in taps:
                stage = taps.index(index)
                assert torch.equal(pyramid[stage], x)
                assert x.shape[2] == SIZE[0] // (4 << stage)


@pytest.mark.parametrize("name", TESTED)
def test_timms_published_weights_load_unchanged(name: str, tmp_path: Path) -> None:
    """A file of timm's classifier gives the maps that the classifier itself has at the last block of each stride."""
    timm = pytest.importorskip("timm", reason="pip install 'edgeseg[timm]'")
    theirs = timm.create_model(name).eval()
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    model = build_model(ModelConfig(backbone=f"timm:{name}"), THINGS, SIZE).eval()
    load_pretrained(model, str(tmp_path / "model.safetensors"))
    x = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        expected = theirs.forward_intermediates(x, intermediates_only=True)
        for ours in model.backbone(x):
            (same_stride,) = [m for m in expected if m.shape[2:] == ours.shape[2:]][-1:]
            torch.testing.assert_close(ours, same_stride, rtol=1e-5, atol=1e-6)  # attention multiplies in another order


@pytest.mark.parametrize("name, change", MARKED)
def test_every_backbone_answers_strides_4_to_32_and_the_same_when_deployed(
    name: str, change: dict[str, object]
) -> None:
    needs_timm(name)
    config = ModelConfig(backbone=name, num_queries=4, **change)
    model = build_model(config, THINGS, SIZE)
    image = torch.rand(2, 3, *SIZE) * 255
    with torch.no_grad():
        model(image)  # gives the norms statistics of their own
        model.eval()
        deployed, normal = model.deployable(), (image - 120) / 60
        expected, found = model.backbone(normal), deployed.backbone(normal)
        folded = fold(deployed.backbone, normal)(normal)
    for stage, (a, b, c) in enumerate(zip(expected, found, folded, strict=True)):
        assert a.shape == (2, model.backbone.channels[stage], SIZE[0] // (4 << stage), SIZE[1] // (4 << stage))
        for other in (b, c):
            assert float((a - other).norm() / a.norm()) < 1e-4  # norms are folded: rounding alone


@pytest.mark.parametrize("name", [n if n in ONE_OF_A_KIND else pytest.param(n, marks=pytest.mark.slow) for n in ALL])
def test_every_backbone_learns_and_does_so_alike_from_the_same_seed(name: str) -> None:
    """Two steps down the loss of one picture, twice."""
    needs_timm(name)
    label = torch.zeros(1, 64, 64, dtype=torch.int16)
    label[:, 20:50, 10:40] = 1
    image = torch.where(label[:, None] > 0, 220, 40).expand(1, 3, 64, 64).to(torch.uint8)
    batch = Batch(image, label, [torch.tensor([1, 0])], [7])

    def train() -> list[float]:
        torch.manual_seed(3)
        model = build_model(ModelConfig(backbone=name, num_queries=4), THINGS, (64, 64))
        loss = build_loss("kmax", LossConfig(), THINGS)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        losses = []
        for _ in range(3):
            model.train()
            answer = model.forward_training(torch.cat([image, 255 - image]).float())
            pair = replace(batch, image=torch.cat([image, 255 - image]), label_map=label.expand(2, -1, -1))
            pair = replace(pair, categories=batch.categories * 2, image_ids=[7, 8])
            total = loss(answer, pair, [torch.Generator().manual_seed(i) for i in range(2)])["total"]
            optimizer.zero_grad()
            total.backward()
            assert all(p.grad is not None and p.grad.isfinite().all() for p in model.backbone.parameters())
            optimizer.step()
            losses.append(float(total))
        return losses

    first = train()
    assert first[2] < first[0]
    assert train() == first


def test_windows_see_their_own_cells_and_no_others() -> None:
    attention = WindowAttention(32, (4, 6), (2, 3), table_side=0).eval()
    x = torch.randn(1, 32, 4, 6)
    y = x.clone()
    y[:, :, 0, 0] += 1
    with torch.no_grad():
        changed = (attention(x) != attention(y)).any(1)[0]
    assert changed[:2, :3].all()
    assert not changed[2:].any()
    assert not changed[:, 3:].any()


@pytest.mark.parametrize("cells", [(4, 6), (2, 3)])
def test_attention_is_that_of_a_plain_implementation_with_its_position_table(cells: tuple[int, int]) -> None:
    """torch's own attention, window by window; the bias of cell i towards cell j is the table's entry at j - i."""
    attention = WindowAttention(64, (4, 6), cells, table_side=7).eval()
    x = torch.randn(2, 64, 4, 6)
    expected = torch.empty_like(x)
    bias = attention.bias
    assert isinstance(bias, PositionTable)
    sides = tuple(2 * n - 1 for n in cells)
    with torch.no_grad():
        table = nn.functional.interpolate(bias.table, sides, mode="bilinear", align_corners=False)[0]
        places = [(i, j) for i in range(cells[0]) for j in range(cells[1])]
        logits = torch.stack(
            [
                torch.stack([table[:, k[0] - q[0] + cells[0] - 1, k[1] - q[1] + cells[1] - 1] for k in places], 1)
                for q in places
            ],
            1,
        )  # (heads, queries, keys)
        normal = nn.functional.layer_norm(x.permute(0, 2, 3, 1), (64,), eps=1e-5).permute(0, 3, 1, 2)
        for top in range(0, 4, cells[0]):
            for left in range(0, 6, cells[1]):
                window = (slice(None), slice(None), slice(top, top + cells[0]), slice(left, left + cells[1]))
                q, k, v = (
                    to(normal)[window].flatten(2).unflatten(1, (2, 32)).transpose(2, 3)
                    for to in (attention.to_q, attention.to_k, attention.to_v)
                )
                mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=logits)
                expected[window] = mixed.transpose(2, 3).flatten(1, 2).unflatten(2, cells)
        expected = x + attention.out(expected)
        torch.testing.assert_close(attention(x), expected, rtol=1e-5, atol=1e-5)


def test_deployed_channel_norm_is_torchs_layer_norm() -> None:
    norm = ChannelNorm(12, eps=1e-5)
    nn.init.uniform_(norm.weight)
    nn.init.uniform_(norm.bias)
    x = torch.randn(2, 12, 3, 5) * 4 + 2
    torch.testing.assert_close(FrozenChannelNorm(norm)(x), norm(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "size, window, message",
    [
        ((256, 320), 16, r"multiples of 256, such as \[256, 256\]"),
        ((64, 64), 3, "even number of cells"),
        ((100, 64), 0, "multiples of 32"),
    ],
)
def test_sizes_that_windows_do_not_tile_are_refused_with_some_that_they_do(
    size: tuple[int, int], window: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        build_model(ModelConfig(backbone="tiny_moat_0", attention_window=window), THINGS, size)


@pytest.mark.parametrize("change", [{"attention_window": 4}, {"position_bias": True}])
def test_attention_options_of_a_backbone_without_attention_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match="belong to tiny_moat; mobilenet_v2 has neither"):
        build_model(replace(ModelConfig(backbone="mobilenet_v2"), **change), THINGS, SIZE)


@pytest.mark.parametrize(
    "name, message",
    [
        ("mobilenet_v4", "did you mean 'mobilenet_v2'"),
        ("timm:efficientnet_lit0", "did you mean 'efficientnet_lite0'"),
        ("timm:vit_tiny_patch16_224", "strides"),
    ],
)
def test_names_that_are_no_backbone_are_refused(name: str, message: str) -> None:
    needs_timm(name)
    with pytest.raises(InputError, match=message):
        build_model(ModelConfig(backbone=name), THINGS, SIZE)


def test_missing_timm_is_said_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    really = builtins.__import__

    def without_timm(name: str, *args: object) -> object:
        if name == "timm":
            raise ImportError(name)
        return really(name, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_timm)
    with pytest.raises(InputError, match=r"pip install 'edgeseg\[timm\]'"):
        build_model(ModelConfig(backbone="timm:efficientnet_lite0"), THINGS, SIZE)


def test_weights_of_another_backbone_are_refused_with_the_first_differences(tmp_path: Path) -> None:
    state = build_backbone(ModelConfig(backbone="mobilenet_v3_large"), SIZE).state_dict()
    torch.save(state, tmp_path / "large.pth")
    model = build_model(ModelConfig(backbone="mobilenet_v3_small"), THINGS, SIZE)
    with pytest.raises(InputError) as refused:
        load_pretrained(model, str(tmp_path / "large.pth"))
    said = str(refused.value)
    assert said.startswith(f"{tmp_path / 'large.pth'} is of another backbone: ")
    assert "features.1.block.1.fc1.weight is missing" in said  # the first block of Large has no squeeze-and-excite
    assert said.count(";") == 2


def test_tensors_of_another_shape_are_listed_with_both_shapes(tmp_path: Path) -> None:
    wide = build_backbone(ModelConfig(backbone="mobilenet_v2"), SIZE).state_dict()
    wide["features.0.0.weight"] = torch.zeros(48, 3, 3, 3)
    save_file(wide, tmp_path / "wide.safetensors")
    with pytest.raises(
        InputError, match=r"1 tensors differ, first features.0.0.weight is \(48, 3, 3, 3\), \(32, 3, 3, 3\) wanted"
    ):
        load_pretrained(
            build_model(ModelConfig(backbone="mobilenet_v2"), THINGS, SIZE), str(tmp_path / "wide.safetensors")
        )


def test_a_pickle_that_is_not_tensors_is_refused_and_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(tmp_path / "ran"),)

    torch.save({"features.0.0.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="no readable tensors"):
        load_pretrained(build_model(ModelConfig(), THINGS, SIZE), str(tmp_path / "evil.pth"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name, url, file",
    [
        ("mobilenet_v2", "https://download.pytorch.org/models/mobilenet_v2-7ebf99e0.pth", "mobilenet_v2-7ebf99e0.pth"),
        (
            "timm:repvit_m0_9",
            "https://huggingface.co/timm/repvit_m0_9.dist_300e_in1k/resolve/main/model.safetensors",
            "repvit_m0_9.safetensors",
        ),
    ],
)
def test_without_a_network_it_is_said_what_to_download_and_where_to_put_it(
    name: str, url: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_timm(name)

    def unreachable(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    model = build_model(ModelConfig(backbone=name), THINGS, SIZE)
    with pytest.raises(InputError) as refused:
        load_pretrained(model, "hub")
    there = tmp_path / "hub" / "checkpoints" / file
    for part in (url, "no route to host", f"put it at {there}", "--pretrained FILE"):
        assert part in str(refused.value)


def test_published_weights_put_where_it_was_said_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    theirs = torchvision.models.mobilenet_v2(weights=None)
    torch.save(theirs.state_dict(), folder / "mobilenet_v2-7ebf99e0.pth")
    model = build_model(ModelConfig(backbone="mobilenet_v2"), THINGS, SIZE)
    load_pretrained(model, "hub")
    assert torch.equal(model.backbone.state_dict()["features.0.0.weight"], theirs.state_dict()["features.0.0.weight"])


def test_published_weights_want_the_normalisation_that_they_were_trained_with() -> None:
    config = replace(ModelConfig(backbone="mobilenet_v2"), mean=(127.5, 127.5, 127.5))
    with pytest.raises(InputError, match=r"--model\.mean 123\.675 116\.28 103\.53 --model\.std 58\.395"):
        load_pretrained(build_model(config, THINGS, SIZE), "hub")


@pytest.mark.parametrize("name", ["tiny_moat_0", "mobilenet_v3_small_minimalistic"])
def test_networks_that_nobody_publishes_weights_of_say_so(name: str) -> None:
    with pytest.raises(InputError, match="nobody publishes PyTorch weights"):
        load_pretrained(build_model(ModelConfig(backbone=name), THINGS, SIZE), "hub")


def test_minimalistic_networks_have_the_published_counts_and_nothing_that_int8_engines_run_badly() -> None:
    """tensorflow/models, slim/nets/mobilenet/README.md: Large 209 M MACs and 3.9 M parameters, Small 2.0 M."""
    large, small = minimalistic("mobilenet_v3_large"), minimalistic("mobilenet_v3_small")
    assert count_macs(large, (224, 224)) == pytest.approx(209e6, rel=0.003)
    assert count_parameters(large) == pytest.approx(3.9e6, rel=0.01)
    assert count_parameters(small) == pytest.approx(2.0e6, rel=0.03)
    for name in ("mobilenet_v3_small_minimalistic", "mobilenet_v3_large_minimalistic"):
        modules = list(build_backbone(ModelConfig(backbone=name), SIZE).modules())
        assert not [m for m in modules if isinstance(m, (nn.Hardswish, nn.Hardsigmoid, nn.AdaptiveAvgPool2d))]
        assert {m.kernel_size for m in modules if isinstance(m, nn.Conv2d)} == {(1, 1), (3, 3)}


def test_macs_of_torchvisions_mobilenet_are_the_published_ones() -> None:
    """MobileNetV3-Large at 224: 217 M multiply-accumulates (Howard et al. 2019, table 3)."""
    assert count_macs(torchvision.models.mobilenet_v3_large(), (224, 224)) == pytest.approx(217e6, rel=0.01)
