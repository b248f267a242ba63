"""The verb that makes a network integer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from edgeseg.cli_args import Flat, Output, Result, parse, words
from edgeseg.structures import InputError


@dataclass(frozen=True)
class QuantizeArgs:
    """Quantizes a trained network; the result stands beside the checkpoint, named after the recipe."""

    source: tyro.conf.Positional[Path]
    """Float checkpoint or run folder."""
    recipe: str = "int8"
    """int8-ptq (calibrated only), int8, int8-full (linears too), w8 (weights only), int4, ternary, ternary-w, or a
    .toml file (docs/quantization.md)."""
    data: Path | None = None
    """Folder of a data set to calibrate and train on; the one it was trained on by default."""
    format: str | None = None
    """Layout of that folder (docs/data.md); by default what it is recognised as, or what training was told."""
    steps: int | None = None
    """Training steps instead of the recipe's."""
    seed: int | None = None
    """Of the order of images and their augmentation; by default the float training's, whose order is continued."""
    out: Path | None = None
    """File to write; RUN/RECIPE.safetensors by default."""
    runtimes: tuple[str, ...] = ()
    """That the result is meant for; a recipe that one can't hold is refused. By default executorch, litert, coreml and
    onnx."""
    resume: bool = False
    """Continue a training that was interrupted; its state stands beside the result, RECIPE.partial."""
    force: bool = False
    """Calibrate on fewer than 32 images too, or on noise."""
    analyse: bool = False
    """Write nothing; show what each layer's weights lose by the recipe."""
    images: int = 0
    """With --analyse: val images that each layer is scored on (PQ); 0 = divergence and SQNR only."""
    budget: str | None = None
    """With --analyse: bytes that the weights may take (500KB); writes RECIPE-mixed.toml, 8 bits where they matter."""
    max_pq_drop: float | None = None
    """With --analyse: points of PQ that may be lost before training; writes RECIPE-mixed.toml."""
    plot: Path | None = None
    """With --analyse: SVG file to write, SQNR and PQ lost (or divergence) of each layer."""
    output: Flat = field(default_factory=Output)


def quantize(argv: Sequence[str]) -> Result:
    """Quantize a checkpoint: edgeseg quantize RUN --recipe int8"""
    args = parse(QuantizeArgs, argv, "quantize")
    if args.analyse:
        return _analyse(args)
    if args.budget is not None or args.max_pq_drop is not None or args.images or args.plot:
        raise InputError("--budget, --max-pq-drop, --images and --plot go with --analyse")
    from edgeseg.quantize.forms import ALWAYS_MADE
    from edgeseg.quantize.run import quantize_checkpoint

    return quantize_checkpoint(
        args.source,
        args.recipe,
        args.data,
        args.steps,
        args.out,
        data_format=args.format,
        seed=args.seed,
        runtimes=words(args.runtimes) or ALWAYS_MADE,
        resume=args.resume,
        force=args.force,
        quiet=args.output.quiet,
    )


def _analyse(args: QuantizeArgs) -> Result:
    if args.budget is not None and args.max_pq_drop is not None:
        raise InputError("--budget and --max-pq-drop exclude each other; give one")
    if args.resume or args.runtimes or args.seed is not None:
        raise InputError("--resume, --runtimes and --seed do not go with --analyse, which trains nothing")
    from edgeseg.quantize.analysis import analyse_checkpoint

    return analyse_checkpoint(
        args.source,
        args.recipe,
        args.data,
        args.out,
        data_format=args.format,
        images=args.images,
        budget=None if args.budget is None else to_bytes(args.budget),
        max_pq_drop=args.max_pq_drop,
        plot=args.plot,
        force=args.force,
        quiet=args.output.quiet,
    )


def to_bytes(text: str) -> int:
    """500KB, 0.5MB or 500000, in powers of ten.

    Raises:
        InputError: Another form.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(B|KB|MB)?", text.strip(), re.IGNORECASE)
    if not found:
        raise InputError(f"--budget {text}: a size like 500KB or 0.5MB is wanted")
    return int(float(found[1]) * {"": 1, "B": 1, "KB": 1_000, "MB": 1_000_000}[(found[2] or "").upper()])
