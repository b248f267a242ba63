"""What quantization costs in panoptic quality: float minus quantized at equal total training, over seeds.

    python -m edgeseg.bench.quantization_cost --data nuclei --out runs/cost --starts remax-t-nuclei --seeds 0 1 2

Every start, a trained float network, is quantized by each recipe with each seed. What it is compared with is the same
float network, trained for the recipe's steps more by the same optimiser, rate, images and labels, its weights left
float. Where a recipe takes no labels that is the float network itself: its divergence from itself has no
gradient. Recipes with the same number of steps share it, so they must share their rate.
Writes OUT/results.jsonl, a line per score as it comes; those in it are not repeated, and a quantization that was
interrupted is continued. Networks trained with several seeds are several starts.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro

from edgeseg.bench.refusals import refusals
from edgeseg.data.loader import Samples
from edgeseg.display import say
from edgeseg.engine.checkpoint import Checkpoint, load_checkpoint
from edgeseg.engine.evaluate import Predictor, evaluate, torch_predictor
from edgeseg.export.run import export_run, open_bundle_source
from edgeseg.quantize import find_recipe
from edgeseg.quantize.fine_tune import fine_tune
from edgeseg.quantize.fold import fold
from edgeseg.quantize.images import open_splits, training_batches
from edgeseg.quantize.partial import partial_path
from edgeseg.quantize.recipes import Recipe
from edgeseg.quantize.run import label_loss_of, quantize_checkpoint, with_seed
from edgeseg.structures import InputError

FLOAT = "float32"
TORCH = "torch"


@dataclass(frozen=True)
class Args:
    """What to compare."""

    data: Path
    """COCO panoptic folder."""
    out: Path
    """Folder for networks, bundles and results."""
    starts: tuple[str, ...]
    """Float checkpoints: files, run folders or shipped names."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of order and augmentation."""
    recipes: tuple[str, ...] = ("int8", "int8-full", "ternary")
    """Names or TOML files."""
    qat_steps: int | None = None
    """Of the ternary recipes, instead of their own."""
    runtimes: tuple[str, ...] = ()
    """That every quantized network is exported to, verified in and scored in, beside torch."""
    threads: int = 2
    """Of torch."""


@dataclass(frozen=True)
class Row:
    """One score.

    Attributes:
        start: The float network's name.
        seed: Of what came after it; 0 where nothing did.
        network: `float32` or the recipe's name.
        steps: After the float network's own.
        runtime: That computed it.
        pq: Panoptic quality on the whole val split, 0..1.
    """

    start: str
    seed: int
    network: str
    steps: int
    runtime: str
    pq: float


def main(args: Args) -> None:
    """Trains, quantizes and scores what is missing, then prints the table."""
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    results = Results(args.out / "results.jsonl")
    recipes = [_with_steps(find_recipe(name), args.qat_steps) for name in args.recipes]
    rates = {(recipe.qat_steps, recipe.qat_lr) for recipe in recipes if recipe.qat_label_weight}
    if len(rates) > len({steps for steps, _ in rates}):
        raise InputError("recipes with the same number of steps must have the same qat_lr; give another --qat-steps")
    for seed in args.seeds:
        for start in args.starts:
            _run(args, start, seed, dict(zip(args.recipes, recipes, strict=True)), results)
    print(table(results.rows))


class Results:
    """The lines of a file, which grows by one at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = [Row(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []

    def add(self, row: Row) -> None:
        """Writes a line down at once."""
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row)) + "\n")

    def has(self, *key: object) -> bool:
        """Whether there is one of this start, seed, network, steps and runtime."""
        return any((row.start, row.seed, row.network, row.steps, row.runtime) == key for row in self.rows)


def table(rows: list[Row]) -> str:
    """Markdown: PQ in percent, and float minus quantized at equal training, in points, start by start and seed by seed.

    Both are rows of the same start; a quantized network without labels stands against its float start.
    """
    floats = {(row.start, row.seed, row.steps): 100 * row.pq for row in rows if row.network == FLOAT}
    lines = ["| network | steps more | computed by | PQ mean ± sd | float - it, one by one | mean |", "|" + "---|" * 6]
    for network, steps, runtime in dict.fromkeys((row.network, row.steps, row.runtime) for row in rows):
        mine = [row for row in rows if (row.network, row.steps, row.runtime) == (network, steps, runtime)]
        values = [100 * row.pq for row in mine]
        spread = f"{np.std(values, ddof=1):.1f}" if len(values) > 1 else "one"
        cells = ["", ""]
        if network != FLOAT:
            controls = [floats.get((row.start, row.seed, steps), floats.get((row.start, 0, 0))) for row in mine]
            costs = [a - b for a, b in zip(controls, values, strict=True) if a is not None]
            cells = [", ".join(f"{cost:+.2f}" for cost in costs), f"{np.mean(costs):+.2f}" if costs else ""]
        lines.append(f"| {network} | {steps} | {runtime} | {np.mean(values):.2f} ± {spread} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _run(args: Args, start: str, seed: int, recipes: dict[str, Recipe], results: Results) -> None:
    """All that is missing of one start and seed."""
    checkpoint = with_seed(load_checkpoint(Path(start)), seed)
    name = Path(start).stem
    train, val = open_splits(checkpoint, args.data, None)
    if not results.has(name, 0, FLOAT, 0, TORCH):
        predictor = torch_predictor(checkpoint.model().deployable(), checkpoint.config.merge, checkpoint.categories)
        results.add(Row(name, 0, FLOAT, 0, TORCH, _score(predictor, val, checkpoint)))
    for given, recipe in recipes.items():
        steps, path = recipe.qat_steps, args.out / f"{name}-seed{seed}" / f"{recipe.name}.safetensors"
        learns_labels = recipe.qat_label_weight and label_loss_of(checkpoint) is not None
        if learns_labels and not results.has(name, seed, FLOAT, steps, TORCH):
            say(f"{name}, seed {seed}: {FLOAT}, {steps} steps more")
            predictor = _continued(checkpoint, recipe, train)
            results.add(Row(name, seed, FLOAT, steps, TORCH, _score(predictor, val, checkpoint)))
        if not results.has(name, seed, recipe.name, steps, TORCH):
            say(f"{name}, seed {seed}: {recipe.name}, {steps} steps")
            path.parent.mkdir(exist_ok=True)
            resume = partial_path(path).exists()
            made = quantize_checkpoint(Path(start), given, args.data, steps, path, seed=seed, resume=resume)
            results.add(Row(name, seed, recipe.name, steps, TORCH, made["metrics"]["all"]["pq"]))
        bundle = path.with_suffix(".edgeseg")
        for runtime in args.runtimes:
            if not results.has(name, seed, recipe.name, steps, runtime):
                say(f"{name}, seed {seed}: {recipe.name} in {runtime}")
                if not bundle.exists():
                    export_run(path, bundle, runtimes=args.runtimes, merges=("app",), data=args.data)
                source = open_bundle_source(bundle, runtime, recipe.name)
                results.add(Row(name, seed, recipe.name, steps, runtime, _score(source.predictor, val, checkpoint)))


def _continued(checkpoint: Checkpoint, recipe: Recipe, train: Samples) -> Predictor:
    """The float network after the recipe's training, without its rounding."""
    model = checkpoint.model().deployable()
    network = fold(model, torch.zeros(1, 3, *checkpoint.config.data.image_size))
    fine_tune(
        network,
        model,
        replace(recipe, activation_bits=0, learned_activation_steps=False, qat_free_fraction=0, qat_gradual_fraction=0),
        training_batches(checkpoint, train, first=0, steps=recipe.qat_steps),
        held_out=(),
        label_loss=label_loss_of(checkpoint),
    )
    return torch_predictor(network, checkpoint.config.merge, checkpoint.categories)


def _score(predictor: Predictor, val: Samples, checkpoint: Checkpoint) -> float:
    config = checkpoint.config
    return evaluate(predictor, val, size=config.data.image_size, categories=checkpoint.categories).all.pq


def _with_steps(recipe: Recipe, steps: int | None) -> Recipe:
    return replace(recipe, qat_steps=steps) if steps is not None and recipe.ternary else recipe


if __name__ == "__main__":
    with refusals():
        main(tyro.cli(Args))
