"""Networks, trained for the same processor time on the same data: parameters, work and quality.

    edgeseg data make street --out street --size 128 128
    python -m edgeseg.bench.equal_time --data street --out runs/heads
    python -m edgeseg.bench.equal_time --data street --out runs/backbones --heads kmax --backbones mobilenet_v2

A network that OUT has a finished run of is not trained again. Time is that of the process, not of the wall, so that a
busy machine does not decide.
"""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro

from edgeseg.bench.refusals import refusals
from edgeseg.config import Config, load_config
from edgeseg.data.sets import open_dataset
from edgeseg.display import say
from edgeseg.engine.checkpoint import load_checkpoint
from edgeseg.engine.evaluate import evaluate_metrics, torch_predictor
from edgeseg.engine.schedule import Clock
from edgeseg.engine.train import Trainer, make_fabric
from edgeseg.models import HEADS, count_macs, count_parameters
from edgeseg.tasks import MEASURE, TASKS


@dataclass(frozen=True)
class Args:
    """What to compare."""

    data: Path
    """Folder of a data set."""
    out: Path
    """Folder for runs and results."""
    config: str = "street"
    """Shipped config or TOML file."""
    cpu_minutes: float = 5.0
    """Processor time that each network is trained for."""
    backbones: tuple[str, ...] = ()
    """Registered ones, or timm:NAME; by default the config's."""
    heads: tuple[str, ...] = tuple(HEADS)
    """Registered heads, each on each backbone."""
    seed: int = 0
    """Of weights, order and augmentation."""
    threads: int = 1
    """Threads of each run."""


class ProcessorClock(Clock):
    """Counts the process's own time instead of the wall's."""

    now = staticmethod(time.process_time)


def main(args: Args) -> None:
    """Trains what is missing, then prints the table."""
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    base = load_config(args.config)
    schedule = replace(base.train, minutes=args.cpu_minutes, seed=args.seed, eval_every=0)
    base = replace(base, data=replace(base.data, root=args.data), train=schedule)
    rows = []
    for backbone, head in itertools.product(args.backbones or (base.model.backbone,), args.heads):
        run = args.out / f"{backbone.replace(':', '-')}+{head}"
        if not (run / "best.safetensors").exists():  # written at the end, there being one evaluation
            say(run.name)
            train(replace(base, model=replace(base.model, backbone=backbone, head=head)), run)
        rows.append({"backbone": backbone, "head": head, **score(run)})
    (args.out / "results.json").write_text(json.dumps(rows, indent=2) + "\n")
    print(table(rows))


def train(config: Config, out: Path) -> None:
    """One run, by processor time."""
    assert config.data.root is not None
    splits = [open_dataset(config.data.root, split, config.data.format) for split in ("train", "val")]
    trainer = Trainer(config, splits[0].categories, out, make_fabric(config))
    trainer.clock = ProcessorClock(config.train)
    trainer.fit(*splits)


def score(run: Path) -> dict[str, float]:
    """Cost and quality of a finished run, on the whole val split."""
    checkpoint = load_checkpoint(run)
    data, categories = checkpoint.config.data, checkpoint.categories
    assert data.root is not None
    network = checkpoint.model().deployable()
    val = open_dataset(data.root, "val", data.format)
    found: dict[str, Any] = {}
    for task in TASKS:
        predictor = torch_predictor(network, checkpoint.config.merge, categories, task=task)
        measures = () if task == "panoptic" else (MEASURE[task],)
        found[task] = evaluate_metrics(predictor, val, measures, size=data.image_size, categories=categories).to_dict()
    steps = [row for row in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if "seconds" in row]
    return {
        "params": count_parameters(network),
        "macs": count_macs(network, data.image_size),
        "steps": steps[-1]["step"],
        "ms_per_step": 1000 * steps[-1]["seconds"] / steps[-1]["step"],
        **{group: found["panoptic"][group]["pq"] for group in ("all", "things", "stuff")},
        "ap": found["instance"]["ap"]["ap"],
        "miou": found["semantic"]["miou"]["miou"],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: cost, steps and quality of each network."""
    lines = [
        "| backbone | head | M parameters | M MACs | steps | CPU ms a step | PQ | things | stuff | AP | mIoU |",
        "|---" * 11 + "|",
    ]
    for row in rows:
        cost = f"{row['params'] / 1e6:.2f} | {row['macs'] / 1e6:.0f} | {row['steps']} | {row['ms_per_step']:.0f}"
        quality = " | ".join(f"{100 * row[name]:.1f}" for name in ("all", "things", "stuff", "ap", "miou"))
        lines.append(f"| `{row['backbone']}` | `{row['head']}` | {cost} | {quality} |")
    return "\n".join(lines)


if __name__ == "__main__":
    with refusals():
        main(tyro.cli(Args))
