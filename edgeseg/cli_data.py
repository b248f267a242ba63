"""The verbs of `edgeseg data`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from edgeseg.cli_args import Flat, Output, Result, Verb, parse


@dataclass(frozen=True)
class DataMakeArgs:
    """Makes the embedded data set: procedural street scenes in COCO panoptic format."""

    kind: tyro.conf.Positional[Literal["street"]]
    """What to draw."""
    out: Path
    """Folder to make."""
    train: int = 2000
    """Images to learn from."""
    val: int = 200
    """Images to evaluate on."""
    size: tuple[int, int] = (256, 256)
    """Height and width in pixels."""
    seed: int = 0
    """The same seed draws the same scenes."""
    num_workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Processes; the files do not depend on it."""
    output: Flat = field(default_factory=Output)


def make(argv: Sequence[str]) -> Result:
    """Draw the embedded street scenes: edgeseg data make street --out FOLDER"""
    args = parse(DataMakeArgs, argv, "data make")
    from edgeseg.data.street import make_street
    from edgeseg.display import progress

    with progress("drawing", args.train + args.val, quiet=args.output.quiet) as advance:
        make_street(
            args.out,
            train=args.train,
            val=args.val,
            size=args.size,
            seed=args.seed,
            num_workers=args.num_workers,
            on_progress=lambda done, of: advance(1),
        )
    return {"out": str(args.out), "train": args.train, "val": args.val}


DATA_VERBS: dict[str, Verb] = {
    "make": make,
}
