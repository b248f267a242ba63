"""What a step of quantization-aware training costs against a step of the float training, in turns on one thread.

    python -m edgeseg.bench.qat_speed

Both take the same batch of random images and labels. Times are the processor's, so that a busy machine shows less.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import tyro
from torch import nn

from edgeseg.bench.refusals import refusals
from edgeseg.config import load_config
from edgeseg.losses.kmax import KMaxLoss
from edgeseg.losses.registry import build_loss
from edgeseg.models import build_model
from edgeseg.quantize import RECIPES, Recipe, calibrate, prepare
from edgeseg.quantize.fine_tune import Tuning
from edgeseg.structures import Batch

WARM_UP = 2  # steps of each that are not counted


@dataclass(frozen=True)
class Args:
    """What to time."""

    config: str = "street"
    """Shipped config or TOML file of a network with a k-means head."""
    rounds: int = 10
    """Steps of each kind, one after the other."""
    recipes: tuple[str, ...] = ("int8", "int8-full", "ternary")
    """Recipes; of one that leaves activations free at first both parts are timed, and their mean."""


def main(args: Args) -> None:
    """Prints the median of each, and its ratio to the float step."""
    torch.set_num_threads(1)
    config = load_config(args.config)
    size, count = config.data.image_size, config.data.batch_size
    rows = torch.arange(16, dtype=torch.int16).reshape(1, 4, 4).expand(count, -1, -1)
    label_map = rows.repeat_interleave(size[0] // 4, 1).repeat_interleave(size[1] // 4, 2)
    image = torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8)
    batch = Batch(image, label_map, [torch.arange(16)] * count, list(range(count)))
    is_thing = [True] * 8 + [False] * 8
    model = build_model(config.model, is_thing, size).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    loss = build_loss(config.model.head, config.loss, is_thing)
    assert isinstance(loss, KMaxLoss)
    pixels = image.float().contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def float_step() -> None:
        generators = [torch.Generator().manual_seed(index) for index in range(count)]
        total = loss(model.train().forward_training(pixels), batch, generators)["total"]
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()

    float_step()  # norms that have seen an image
    steps: dict[str, Callable[[], object]] = {"float32": float_step}
    for name in args.recipes:
        recipe = RECIPES[name]
        steps[name] = _integer_step(model.eval().deployable(), replace(recipe, qat_free_fraction=0.0), batch, loss)
        if recipe.qat_free_fraction:
            free = replace(recipe, qat_free_fraction=0.999)
            steps[f"{name}, free"] = _integer_step(model.eval().deployable(), free, batch, loss)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(args.rounds):
        for name, step in steps.items():
            began = time.process_time()
            step()
            seconds[name].append(time.process_time() - began)
    middle = {name: statistics.median(values[WARM_UP:]) for name, values in seconds.items()}
    for name, value in middle.items():
        print(f"{name:<16} {1000 * value:7.1f} ms  {value / middle['float32']:.2f} x")
    for name in args.recipes:
        if share := RECIPES[name].qat_free_fraction:
            mean = share * middle[f"{name}, free"] + (1 - share) * middle[name]
            print(f"{name}, mean of its steps: {mean / middle['float32']:.2f} x")


def _integer_step(teacher: nn.Module, recipe: Recipe, batch: Batch, loss: KMaxLoss) -> Callable[[], object]:
    """A step at the beginning of a long training, far from its six checks."""
    images = batch.image.float()
    prepared = prepare(teacher, recipe, images[:1])
    calibrate(prepared, [images])
    recipe = replace(recipe, qat_steps=10**6)
    tuning = Tuning(prepared, teacher, recipe, held_out=[images], label_loss=loss.compare_slots)
    return lambda: tuning.take(batch)


if __name__ == "__main__":
    with refusals():
        main(tyro.cli(Args))
