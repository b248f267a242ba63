"""Every loss equals an independent slow one to 1e-9 in double precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from edgeseg.config import LossConfig
from edgeseg.losses.registry import LOSSES, build_loss
from edgeseg.structures import Batch, CentreMaps, DenseMaps, Prediction, Slots
from tests.losses import slow_losses

IS_THING = (True, False, True, False)
K, D, SIDE = len(IS_THING), 5, 32


def with_void() -> Batch:
    """Void corners, a crowd's hole, things of one category, and a segment that no cell sees."""
    label_map = torch.zeros(2, SIDE, SIDE, dtype=torch.int16)
    label_map[0, :20, 16:], label_map[0, 16:, :16], label_map[0, 0, 0] = 1, 2, 3
    label_map[0, 24:, 20:] = -1
    label_map[1, 16:] = 1
    label_map[1, 16:, 16:] = -1
    return Batch(torch.zeros(2, 3, SIDE, SIDE), label_map, [torch.tensor([1, 0, 0, 2]), torch.tensor([3, 2])], [0, 1])


def with_an_empty_image() -> Batch:
    """Nothing but void, and a table without rows."""
    batch = with_void()
    batch.label_map[0] = -1
    return Batch(batch.image, batch.label_map, [torch.zeros(0, dtype=torch.int64), batch.categories[1]], [0, 1])


def crowded() -> Batch:
    """Six segments for the four slots of the predictions."""
    label_map = torch.zeros(2, SIDE, SIDE, dtype=torch.int16)
    for row in range(1, 6):
        label_map[:, 4 * row : 4 * row + 8, 5 * row :] = row
    return Batch(torch.zeros(2, 3, SIDE, SIDE), label_map, [torch.tensor([1, 0, 0, 2, 3, 2])] * 2, [0, 1])


def draw(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def mask_decoder(generator: torch.Generator, num_slots: int = 4) -> list[Prediction]:
    """The final depth at stride 4, one at stride 8, one at stride 16 that is enlarged."""
    depths = []
    for side, has_semantic in ((8, False), (4, True), (2, True)):
        slots = Slots(draw(generator, 2, num_slots, K + 1), 2 * draw(generator, 2, num_slots, side, side))
        semantic = draw(generator, 2, K + 1, side, side) if has_semantic else None
        depths.append(Prediction(slots, draw(generator, 2, D, side, side), semantic))
    return depths


def dense(generator: torch.Generator) -> DenseMaps:
    things = sum(IS_THING)
    return DenseMaps(*(draw(generator, 2, channels, 8, 8) for channels in (things, K - things, 1, 2)))


def centre_maps(generator: torch.Generator) -> CentreMaps:
    features, classes = draw(generator, 2, 64, D), draw(generator, K, D)
    pixels = draw(generator, 2, D, 8, 8)

    def masks_at(cells: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        rows = torch.stack([own[at] for own, at in zip(features, cells, strict=True)]) * (categories @ classes)
        return torch.einsum("bmd,bdhw->bmhw", rows, pixels)

    return CentreMaps(2 * draw(generator, 2, K, 8, 8) - 2, masks_at)


OUTPUT = {
    "kmax": mask_decoder,
    "kmax_deeplab": mask_decoder,
    "pem": mask_decoder,
    "panoptic_deeplab": dense,
    "maskconver": centre_maps,
    "lraspp": lambda generator: draw(generator, 2, K, 8, 8),
    "deeplab_v3plus": lambda generator: draw(generator, 2, K, 8, 8),
}


def slow(head: str, output: Any, batch: Batch, config: LossConfig) -> dict[str, float]:
    if head in ("kmax", "kmax_deeplab", "pem"):
        return slow_losses.slow_kmax(output, batch, config, IS_THING, generators())
    if head == "panoptic_deeplab":
        return slow_losses.slow_panoptic_deeplab(output, batch, config, IS_THING)
    if head == "maskconver":
        return slow_losses.slow_maskconver(output, batch, config, IS_THING)
    return slow_losses.slow_semantic(output, batch, config, IS_THING)


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(7 + image) for image in range(2)]


def agree(found: dict[str, torch.Tensor], wanted: dict[str, float]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-9, abs=1e-9), name


@pytest.mark.parametrize("batch", [with_void, with_an_empty_image, crowded], ids=lambda make: make.__name__)
@pytest.mark.parametrize("head", LOSSES)
def test_loss_equals_the_papers_equations_in_loops(head: str, batch: Any) -> None:
    config = LossConfig(
        remask=True, reclass=True, discrimination_pixels=20, small_thing_weight=3.0, small_thing_area=300
    )
    output = OUTPUT[head](torch.Generator().manual_seed(1))
    agree(build_loss(head, config, IS_THING)(output, batch(), generators()), slow(head, output, batch(), config))


@pytest.mark.parametrize(
    "switches",
    [
        {"remask": False},
        {"reclass": False},
        {"reclass_eta": 0.7, "min_weight": 1e-5},
        {"mask_activation": "sigmoid"},
        {"mask_activation": "sigmoid", "remask": False, "reclass": False},
        {"remask_layers": 1},
        {"remask_gate": "softmax", "mask_activation": "sigmoid"},
    ],
)
def test_kmax_loss_equals_it_with_every_relaxation_on_and_off(switches: dict[str, Any]) -> None:
    config = LossConfig(**{"remask": True, "reclass": True, **switches})
    output = mask_decoder(torch.Generator().manual_seed(2), num_slots=5)
    agree(
        build_loss("kmax", config, IS_THING)(output, with_void(), generators()),
        slow("kmax", output, with_void(), config),
    )


@pytest.mark.parametrize("head", LOSSES)
def test_every_loss_is_the_mean_of_its_images(head: str) -> None:
    """So averaging gradients over processes equals one process with the whole batch."""
    whole = with_void()
    output = OUTPUT[head](torch.Generator().manual_seed(3))
    loss = build_loss(head, LossConfig(), IS_THING)
    alone = []
    for image in range(2):
        pick = slice(image, image + 1)
        part = Batch(whole.image[pick], whole.label_map[pick], whole.categories[pick], [image])
        alone.append(loss(picked(output, pick), part, generators()[pick]))
    for name, value in loss(output, whole, generators()).items():
        torch.testing.assert_close(value, (alone[0][name] + alone[1][name]) / 2)


def picked(output: Any, image: slice) -> Any:
    """The part of an output that belongs to one image."""
    if isinstance(output, torch.Tensor):
        return output[image]
    if isinstance(output, CentreMaps):
        num = len(output.heat)

        def masks_at(cells: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
            return output.masks_at(cells.expand(num, -1), categories.expand(num, -1, -1))[image]

        return CentreMaps(output.heat[image], masks_at)
    if isinstance(output, Sequence) and not hasattr(output, "_fields"):
        return [picked(one, image) for one in output]
    return None if output is None else type(output)(*(picked(part, image) for part in output))
