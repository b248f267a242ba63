"""Training steps in turns on random images: images a second with the plain loss, milliseconds by precision and
format, and with freed memory kept or given back.

python -m edgeseg.bench.train_speed [CONFIG]
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import torch

from edgeseg.bench.plain_loss import plain_loss
from edgeseg.bench.refusals import refusals
from edgeseg.config import Config, load_config
from edgeseg.engine.memory import keep_freed_memory
from edgeseg.losses.registry import build_loss
from edgeseg.models import SlotsModel, build_model
from edgeseg.structures import Batch, Prediction, Slots

ROUNDS, STEPS = 3, 8
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
IS_THING = [True] * 8 + [False] * 8

Loss = Callable[..., torch.Tensor]
"""(predictions, batch, one generator per image) -> () total."""


def main(config_name: str = "street", num_segments: int = 16) -> None:
    """Prints the medians."""
    config = load_config(config_name)
    size, count = config.data.image_size, config.data.batch_size
    batch = labelled_batch(size, count, num_segments=num_segments)
    model = build_model(config.model, IS_THING, size).train()
    threads = torch.get_num_threads()
    print(f"{config_name}: {size[0]} x {size[1]}, batch {count}, {num_segments} segments, {threads} threads")
    compare_losses(model, batch, config)
    compare_formats(model, batch, config)
    compare_memory(model, batch, config)


def labelled_batch(size: tuple[int, int], count: int, *, num_segments: int) -> Batch:
    """Random images, each with a grid of segments whose categories go round.

    Args:
        size: (height, width).
        count: Images.
        num_segments: A square number of them in each image.
    """
    side = round(num_segments**0.5)
    down, across = (torch.arange(length) * side // length for length in size)
    rows = (down[:, None] * side + across[None]).to(torch.int16)
    categories = torch.arange(side * side) % len(IS_THING)
    image = torch.randint(0, 256, (count, 3, *size)).float()
    return Batch(image, rows.expand(count, -1, -1).clone(), [categories] * count, list(range(count)))


def compare_losses(model: SlotsModel, batch: Batch, config: Config) -> None:
    """A whole step, and the loss with its gradient alone, with the plain loss and with ours."""
    whole = build_loss(config.model.head, config.loss, IS_THING)
    losses: dict[str, Loss] = {
        "plain": partial(plain_loss, config=config.loss),
        "vectorised": lambda *args: whole(*args)["total"],
    }
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    pixels = batch.image.contiguous(memory_format=torch.channels_last)
    answer = [_leaves(prediction) for prediction in model.forward_training(pixels)]
    steps: dict[str, list[float]] = {name: [] for name in losses}
    alone: dict[str, list[float]] = {name: [] for name in losses}
    for _ in range(ROUNDS):
        for name, loss in losses.items():
            steps[name] += _timed(lambda: loss(model.forward_training(pixels), batch, _generators(batch)), model)  # noqa: B023
            alone[name] += _timed(lambda: loss(answer, batch, _generators(batch)), model)  # noqa: B023
    step, only = ({name: statistics.median(samples) for name, samples in x.items()} for x in (steps, alone))
    for name in losses:
        print(
            f"{name:<12} {1000 * step[name]:8.1f} ms a step, {len(pixels) / step[name]:6.1f} images/s; "
            f"loss and its gradient {1000 * only[name]:8.1f} ms"
        )
    ratios = [x["plain"] / x["vectorised"] for x in (step, only)]
    print(f"{ratios[0]:.1f} times as many images a second; the loss alone {ratios[1]:.1f} times as fast")


def compare_formats(model: SlotsModel, batch: Batch, config: Config) -> None:
    """A whole step by precision and memory format."""
    loss = build_loss(config.model.head, config.loss, IS_THING)
    times: dict[tuple[str, str], list[float]] = {(p, f): [] for p in ("float32", "bf16") for f in FORMATS}

    def total(pixels: torch.Tensor, precision: str) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            terms: dict[str, torch.Tensor] = loss(model.forward_training(pixels), batch, _generators(batch))
        return terms["total"]

    for _ in range(ROUNDS):
        for (precision, layout), samples in times.items():
            model.to(memory_format=FORMATS[layout])  # type: ignore[call-overload]
            pixels = batch.image.contiguous(memory_format=FORMATS[layout])
            samples += _timed(partial(total, pixels, precision), model)
    for (precision, layout), samples in times.items():
        print(f"{precision:<8} {layout:<14} {1000 * statistics.median(samples):7.1f} ms")


def compare_memory(model: SlotsModel, batch: Batch, config: Config) -> None:
    """A whole step in processes of their own, in turns: what they set is set for good."""
    loss = build_loss(config.model.head, config.loss, IS_THING)
    samples: dict[bool, list[float]] = {False: [], True: []}
    context = multiprocessing.get_context("spawn")
    for _ in range(ROUNDS):
        for keeps, found in samples.items():
            with context.Pool(1, torch.set_num_threads, (torch.get_num_threads(),)) as pool:
                found += pool.apply(_steps, (model, loss, batch, keeps))
    for keeps, found in samples.items():
        print(f"freed memory {'kept' if keeps else 'given back':<11} {1000 * statistics.median(found):7.1f} ms")


def _steps(model: SlotsModel, loss: torch.nn.Module, batch: Batch, keeps: bool) -> list[float]:
    if keeps:
        keep_freed_memory()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    pixels = batch.image.contiguous(memory_format=torch.channels_last)
    return _timed(lambda: loss(model.forward_training(pixels), batch, _generators(batch))["total"], model)


def _timed(total: Callable[[], torch.Tensor], model: SlotsModel) -> list[float]:
    """Seconds of each step, two to warm up left out: the clock's, or with one thread the CPU's."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    samples = []
    for step in range(STEPS):
        began = clock()
        torch.autograd.backward(total())
        model.zero_grad(set_to_none=True)
        if step > 1:
            samples.append(clock() - began)
    return samples


def _generators(batch: Batch) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(index) for index in range(len(batch.image_ids))]


def _leaves(prediction: Prediction) -> Prediction:
    """The same values, whose gradient ends here."""
    slots = Slots(*(tensor.detach().requires_grad_() for tensor in prediction.slots))
    semantic = prediction.semantic_logits
    return Prediction(
        slots,
        prediction.embedding.detach().requires_grad_(),
        None if semantic is None else semantic.detach().requires_grad_(),
    )


if __name__ == "__main__":
    with refusals():
        main(sys.argv[1] if len(sys.argv) > 1 else "street")
