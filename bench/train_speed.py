"""Milliseconds of a training step by precision and memory format, in turns on random images.

python -m edgeseg.bench.train_speed
"""

from __future__ import annotations

import statistics
import time

import torch

from edgeseg.config import load_config
from edgeseg.losses.registry import build_loss
from edgeseg.models import build_model
from edgeseg.structures import Batch

ROUNDS, STEPS = 3, 8
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def main(config_name: str = "street") -> None:
    """Prints the median of each combination."""
    config = load_config(config_name)
    size, count = config.data.image_size, config.data.batch_size
    rows = torch.arange(16, dtype=torch.int16).reshape(1, 4, 4).expand(count, -1, -1)
    label_map = rows.repeat_interleave(size[0] // 4, 1).repeat_interleave(size[1] // 4, 2)
    image = torch.randint(0, 256, (count, 3, *size)).float()
    batch = Batch(image, label_map, [torch.arange(16)] * count, list(range(count)))
    is_thing = [True] * 8 + [False] * 8
    model = build_model(config.model, is_thing, size).train()
    loss = build_loss(config.model.head, config.loss, is_thing)
    times: dict[tuple[str, str], list[float]] = {(p, f): [] for p in ("float32", "bf16") for f in FORMATS}
    for _ in range(ROUNDS):
        for (precision, layout), samples in times.items():
            model.to(memory_format=FORMATS[layout])  # type: ignore[call-overload]
            pixels = image.contiguous(memory_format=FORMATS[layout])
            for step in range(STEPS):
                began = time.perf_counter()
                generators = [torch.Generator().manual_seed(i) for i in range(count)]
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
                    total = loss(model.forward_training(pixels), batch, generators)["total"]
                total.backward()
                model.zero_grad(set_to_none=True)
                if step > 1:  # two to warm up
                    samples.append(1000 * (time.perf_counter() - began))
    for (precision, layout), samples in times.items():
        print(f"{precision:<8} {layout:<14} {statistics.median(samples):7.1f} ms")


if __name__ == "__main__":
    main()
