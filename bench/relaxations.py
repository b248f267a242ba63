"""ReMaX against plain kMaX: the same network, data, steps and seeds, with and without the relaxations.

    python -m edgeseg.bench.relaxations --data street --out runs/relaxations --steps 1500

Writes OUT/results.jsonl, a line per run as it ends; runs that are in it already are not repeated.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from edgeseg.config import Config, load_config
from edgeseg.data.sets import open_dataset
from edgeseg.display import say
from edgeseg.engine.train import Trainer, make_fabric

VARIANTS = {
    "kMaX": {"remask": False, "reclass": False},
    "ReMask": {"remask": True, "reclass": False},
    "ReClass": {"remask": False, "reclass": True},
    "ReMaX": {"remask": True, "reclass": True},
}
GROUPS = ("all", "things", "stuff")


@dataclass(frozen=True)
class Args:
    """What to compare."""

    data: Path
    """COCO panoptic folder."""
    out: Path
    """Folder for runs and results."""
    config: str = "street"
    """Shipped config or TOML file."""
    steps: int = 1500
    """Optimiser steps of every run."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of weights, order and augmentation."""
    variants: tuple[str, ...] = ("kMaX", "ReMaX")
    """Of kMaX, ReMask, ReClass, ReMaX."""
    threads: int = 2
    """Threads of each run."""


def main(args: Args) -> None:
    """Trains what is missing, then prints the table."""
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    results = args.out / "results.jsonl"
    rows = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    done = {(row["variant"], row["seed"]) for row in rows}
    base = load_config(args.config)
    for seed in args.seeds:  # variants of one seed follow each other, so that a slow hour hits all alike
        for variant in args.variants:
            if (variant, seed) in done:
                continue
            loss = replace(base.loss, **VARIANTS[variant])
            train = replace(base.train, steps=args.steps, seed=seed, eval_every=0)
            config = replace(base, data=replace(base.data, root=args.data), loss=loss, train=train)
            say(f"{variant}, seed {seed}")
            rows.append(
                {"variant": variant, "seed": seed, "steps": args.steps, **_run(config, args.out, variant, seed)}
            )
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    print(table(rows))


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: PQ of every run in percent, mean and standard deviation of each variant, and the paired difference."""
    seeds = sorted({row["seed"] for row in rows})
    lines = [
        "| variant | " + " | ".join(f"seed {seed}" for seed in seeds) + " | PQ mean ± sd | things | stuff |",
        "|---" * (len(seeds) + 4) + "|",
    ]
    score: dict[str, list[float]] = {}
    for variant in dict.fromkeys(row["variant"] for row in rows):
        mine = {row["seed"]: row for row in rows if row["variant"] == variant}
        groups = {group: [100 * mine[seed][group] for seed in seeds if seed in mine] for group in GROUPS}
        score[variant] = groups["all"]
        spread = np.std(groups["all"], ddof=1) if len(groups["all"]) > 1 else float("nan")
        each = " | ".join(f"{value:.1f}" for value in groups["all"])
        means = f"{np.mean(groups['things']):.1f} | {np.mean(groups['stuff']):.1f}"
        lines.append(f"| {variant} | {each} | {np.mean(groups['all']):.1f} ± {spread:.1f} | {means} |")
    if "kMaX" in score:
        for variant, values in score.items():
            if variant != "kMaX" and len(values) == len(score["kMaX"]):
                gain = np.subtract(values, score["kMaX"])
                each = ", ".join(f"{value:+.1f}" for value in gain)
                lines.append(f"\n{variant} - kMaX, seed by seed: {each}; mean {gain.mean():+.1f} PQ points.")
    return "\n".join(lines)


def _run(config: Config, out: Path, variant: str, seed: int) -> dict[str, float]:
    assert config.data.root is not None
    train, val = (open_dataset(config.data.root, split, config.data.format) for split in ("train", "val"))
    trainer = Trainer(config, train.categories, out / f"{variant}-{seed}", make_fabric(config))
    metrics = trainer.fit(train, val)
    return {group: metrics[group]["pq"] for group in GROUPS} | {"seconds": round(trainer.clock.seconds, 1)}


if __name__ == "__main__":
    main(tyro.cli(Args))
