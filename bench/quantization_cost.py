"""What quantization costs in panoptic quality: float minus quantized at equal total training, over seeds.

    python -m edgeseg.bench.quantization_cost --data street --out runs/quantization-cost --steps 2000

A float network is trained for STEPS and quantized by each recipe; beside it another one, of the same seed, is trained
for STEPS plus the recipe's. Writes OUT/results.jsonl, a line per network as it ends; those in it are not repeated, and
a quantization that was interrupted is continued.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro

from edgeseg.config import Config, load_config
from edgeseg.data.sets import open_dataset
from edgeseg.display import say
from edgeseg.engine.train import Trainer, make_fabric
from edgeseg.quantize import find_recipe
from edgeseg.quantize.partial import partial_path
from edgeseg.quantize.run import quantize_checkpoint

FLOAT = "float32"


@dataclass(frozen=True)
class Args:
    """What to compare."""

    data: Path
    """COCO panoptic folder."""
    out: Path
    """Folder for runs and results."""
    config: str = "street"
    """Shipped config or TOML file."""
    steps: int = 2000
    """Steps of the float network that is quantized."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of weights, order and augmentation."""
    recipes: tuple[str, ...] = ("int8", "int8-full", "ternary")
    """Names or TOML files."""
    qat_steps: int | None = None
    """Of every recipe, instead of its own."""
    threads: int = 2
    """Threads of each run."""


@dataclass(frozen=True)
class Row:
    """One network's score.

    Attributes:
        seed: Of its float training.
        network: `float32` or the recipe's name.
        steps: Of all training.
        pq: Panoptic quality on the whole val split, 0..1.
    """

    seed: int
    network: str
    steps: int
    pq: float


def main(args: Args) -> None:
    """Trains and quantizes what is missing, then prints the table."""
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    results = args.out / "results.jsonl"
    rows = [Row(**json.loads(line)) for line in results.read_text().splitlines()] if results.exists() else []
    base = load_config(args.config)
    base = replace(base, data=replace(base.data, root=args.data))
    extra = {name: _qat_steps(name, args.qat_steps) for name in args.recipes}

    def note(row: Row) -> None:
        rows.append(row)
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(vars(row)) + "\n")

    done = {(row.seed, row.network, row.steps) for row in rows}
    for seed in args.seeds:  # networks of one seed follow each other, so that a break leaves whole seeds
        for steps in dict.fromkeys([args.steps, *(args.steps + more for more in extra.values())]):
            if (seed, FLOAT, steps) not in done:
                say(f"float32, {steps} steps, seed {seed}")
                note(Row(seed, FLOAT, steps, _train(base, args.out / f"seed{seed}-{steps}", seed, steps)))
        for name, more in extra.items():
            recipe = find_recipe(name).name
            if (seed, recipe, args.steps + more) not in done:
                say(f"{recipe}, {more} steps, seed {seed}")
                out = args.out / f"seed{seed}-{args.steps}" / f"{recipe}.safetensors"
                resume = partial_path(out).exists()
                result = quantize_checkpoint(out.parent / "last.safetensors", name, None, more, out, resume=resume)
                note(Row(seed, recipe, args.steps + more, result["metrics"]["all"]["pq"]))
    print(table(rows))


def table(rows: list[Row]) -> str:
    """Markdown: PQ in percent, and float minus quantized seed by seed at equal total steps, in points."""
    floats = {(row.seed, row.steps): 100 * row.pq for row in rows if row.network == FLOAT}
    lines = ["| network | steps in all | PQ mean ± sd | float - it, seed by seed | mean |", "|---|---|---|---|---|"]
    for network, steps in dict.fromkeys((row.network, row.steps) for row in rows):
        scores = {row.seed: 100 * row.pq for row in rows if (row.network, row.steps) == (network, steps)}
        values = list(scores.values())
        spread = f"{np.std(values, ddof=1):.1f}" if len(values) > 1 else "one seed"
        cells = ["", ""]
        if network != FLOAT:
            costs = [floats[seed, steps] - pq for seed, pq in scores.items() if (seed, steps) in floats]
            cells = [", ".join(f"{cost:+.1f}" for cost in costs), f"{np.mean(costs):+.1f}" if costs else ""]
        lines.append(f"| {network} | {steps} | {np.mean(values):.1f} ± {spread} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _qat_steps(name: str, steps: int | None) -> int:
    return find_recipe(name).qat_steps if steps is None else steps


def _train(base: Config, out: Path, seed: int, steps: int) -> float:
    train = replace(base.train, steps=steps, minutes=None, seed=seed, eval_every=0)
    config = replace(base, train=train)
    assert config.data.root is not None
    samples, val = (open_dataset(config.data.root, split, config.data.format) for split in ("train", "val"))
    trainer = Trainer(config, samples.categories, out, make_fabric(config))
    if (out / "last.safetensors").exists():
        trainer.resume()
    return float(trainer.fit(samples, val)["all"]["pq"])


if __name__ == "__main__":
    main(tyro.cli(Args))
