"""The verbs around training: `edgeseg ablate` and `edgeseg pseudo-label`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from edgeseg.cli_args import Flat, Output, Result, parse
from edgeseg.structures import InputError


@dataclass(frozen=True)
class AblateArgs:
    """Trains a grid of config changes with several seeds and tabulates PQ; what is done is not done again."""

    file: tyro.conf.Positional[Path]
    """TOML file of axes, seeds and changes (docs/ablations.md)."""
    out: Path = Path("runs/ablation")
    """Folder for one run a cell, results.jsonl and table.md."""
    data: Path | None = None
    """Data set, where the file names none."""
    jobs: int = 1
    """Cells at a time."""
    threads: int | None = None
    """Of each cell; the cores divided by the jobs by default."""
    list: bool = False
    """Show the cells, their state and how long they will take, and train nothing."""
    output: Flat = field(default_factory=Output)


def ablate(argv: Sequence[str]) -> Result:
    """Train a grid of config changes x seeds: edgeseg ablate FILE.toml --data FOLDER"""
    args = parse(AblateArgs, argv, "ablate")
    if args.jobs < 1 or (args.threads is not None and args.threads < 1):
        raise InputError(f"--jobs {args.jobs} --threads {args.threads}: both count from 1")
    from edgeseg.engine.ablation_file import read_ablation

    cells = read_ablation(args.file, data=args.data).cells()

    from edgeseg.engine.ablate import estimate_seconds, finished, markdown, run_ablation, write_results

    if args.list:
        rows: list[dict[str, object]] = []
        for cell in cells:
            begun = (args.out / cell.folder).exists()
            state = "done" if finished(cell, args.out) else "begun" if begun else "to do"
            rows.append({"name": cell.name, "same_as": cell.same_as, "seed": cell.seed, "state": state})
        left = sum(row["state"] != "done" for row in rows)
        seconds, known_from = estimate_seconds(cells, args.out)
        return {
            "cells": rows,
            "seconds_per_cell": seconds,
            "known_from": known_from,
            "seconds_left": left * seconds / args.jobs,
        }
    threads = args.threads or max(1, (os.cpu_count() or 1) // args.jobs)
    done = run_ablation(cells, args.out, jobs=args.jobs, threads=threads, quiet=args.output.quiet)
    results = write_results(cells, args.out)
    return {
        "out": str(args.out),
        "cells": len(cells),
        "finished": len(results),
        "interrupted": not done,
        "results": results,
        "table": markdown(results),
    }


@dataclass(frozen=True)
class PseudoLabelArgs:
    """Labels photos with a trained network, for training: what it is not sure of stays void."""

    checkpoint: tyro.conf.Positional[Path]
    """The teacher: float checkpoint, run folder, or the name of a shipped one."""
    photos: tyro.conf.Positional[Path]
    """Folder of photos, at any depth."""
    out: Path
    """COCO panoptic folder to make; the photos are its train split."""
    labelled: Path | None = None
    """COCO panoptic folder with real labels: its train split joins the new one, its val split is taken over."""
    thing_threshold: float = 0.6
    """Smallest class probability of a thing; below, its pixels are void."""
    stuff_threshold: float = 0.5
    """Smallest class probability of stuff."""
    pixel_threshold: float = 0.5
    """Smallest probability that a pixel belongs to its segment."""
    category_threshold: float = 0.9
    """Smallest probability of a pixel's category, mean over the photo and its mirror images (those that the teacher was
    trained with); 0 looks at the photo alone."""
    min_area: int = 16
    """Pixels of the network's input that a segment must keep."""
    min_labelled: float = 0.0
    """Share of a photo that must not be void; photos below it are left out."""
    copy: bool = False
    """Copy files; by default they are hard links where the disk allows."""
    output: Flat = field(default_factory=Output)


def pseudo_label(argv: Sequence[str]) -> Result:
    """Label photos with a trained network: edgeseg pseudo-label CHECKPOINT PHOTOS --out FOLDER"""
    args = parse(PseudoLabelArgs, argv, "pseudo-label")
    from edgeseg.display import progress
    from edgeseg.engine.checkpoint import load_checkpoint
    from edgeseg.engine.pseudo_label import Thresholds, find_photos, write_pseudo_labels

    thresholds = Thresholds(
        args.thing_threshold,
        args.stuff_threshold,
        args.pixel_threshold,
        args.category_threshold,
        args.min_area,
        args.min_labelled,
    )
    checkpoint = load_checkpoint(args.checkpoint)
    with progress("labelling", len(find_photos(args.photos)), quiet=args.output.quiet) as advance:
        return write_pseudo_labels(
            checkpoint,
            args.photos,
            args.out,
            thresholds,
            labelled=args.labelled,
            copy=args.copy,
            on_progress=advance,
        )
