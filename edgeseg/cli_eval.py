"""The verbs that let a network look at pictures: `edgeseg eval` and `edgeseg predict`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from edgeseg.cli_args import PROGRAM, Flat, Output, Result, parse
from edgeseg.structures import InputError, TaskName

if TYPE_CHECKING:
    from edgeseg.engine.source import Source


@dataclass(frozen=True)
class EvalArgs:
    """Scores a checkpoint, a bundle, or any COCO panoptic prediction: PQ, SQ, RQ, or another task's measure."""

    source: tyro.conf.Positional[Path | None] = None
    """Checkpoint file, run folder, or NAME.edgeseg bundle."""
    data: Path | None = None
    """Folder of a data set; the one it was trained on by default."""
    format: str | None = None
    """Layout of that folder (docs/data.md); by default what it is recognised as, or what training was told."""
    split: str = "val"
    """Split of that folder."""
    max_images: int = 0
    """Evenly spaced part of the split; 0 = all."""
    runtime: str | None = None
    """Of a bundle: executorch, litert, coreml or onnx."""
    precision: str | None = None
    """Of a bundle: float32 or int8."""
    task: TaskName = "panoptic"
    """What is asked of the slots: panoptic (PQ), instance (mask AP) or semantic (mIoU); one network answers all."""
    pred: Path | None = None
    """Instead of a source: a prediction's COCO panoptic JSON."""
    gt: Path | None = None
    """With --pred: the ground truth's JSON."""
    pred_folder: Path | None = None
    """PNG folder of --pred; beside it, of the same name, by default."""
    gt_folder: Path | None = None
    """PNG folder of --gt; beside it, of the same name, by default."""
    metrics: tuple[str, ...] = ("pq",)
    """Of the panoptic task: pq is always taken; also pq_by_size, pc, miou, ap, boundary_pq, confusion, worst
    (docs/metrics.md)."""
    num_workers: int = 0
    """With --pred: processes; 0 works in this one."""
    sequences: bool = False
    """With --pred: also STQ and VPQ; segment ids are tracks, --gt says each image's sequence and frame."""
    vpq_windows: tuple[int, ...] = ()
    """Frames that VPQ's tubes span; 1 2 3 4 by default (VIPSeg's are 1 2 4 6 8)."""
    output: Flat = field(default_factory=Output)


def evaluate(argv: Sequence[str]) -> Result:
    """Score a checkpoint, a bundle or a prediction: edgeseg eval SOURCE --data FOLDER"""
    args = parse(EvalArgs, argv, "eval")
    if (args.source is None) == (args.pred is None) or (args.pred is None) != (args.gt is None):
        raise InputError(
            f"eval takes a checkpoint or bundle ({PROGRAM} eval SOURCE), or --pred P.json with --gt G.json"
        )
    if args.pred is not None and args.task != "panoptic":
        raise InputError(f"--task {args.task} is asked of a network's slots; --pred is a finished panoptic prediction")
    if args.vpq_windows and not args.sequences:
        raise InputError("--vpq-windows goes with --sequences; add that")
    from edgeseg.metrics.evaluation import metric_names
    from edgeseg.tasks import MEASURE

    metrics = metric_names(args.metrics)
    if args.pred is not None and args.gt is not None:
        return _score_prediction(args, args.pred, args.gt, metrics)
    assert args.source is not None
    if args.task != "panoptic" and metrics != ("pq",):
        raise InputError(f"--task {args.task} has its own measure ({MEASURE[args.task]}); leave --metrics out")
    if args.num_workers or args.sequences:
        given = "--num-workers" if args.num_workers else "--sequences"
        raise InputError(f"{given} goes with --pred; a network is scored image by image, in one process")

    from edgeseg.data.sets import open_dataset
    from edgeseg.display import progress
    from edgeseg.engine.evaluate import evaluate_metrics, require_same_categories

    source = _open_source(args.source, args.runtime, args.precision, args.task)
    root = args.data or source.data_root
    if root is None:
        raise InputError(f"{args.source} does not say what it was trained on; give --data FOLDER")
    samples = open_dataset(root, args.split, args.format or ("auto" if args.data else source.data_format))
    require_same_categories(source.categories, samples.categories, f"{root}, split {args.split}")
    total = len(samples) if args.max_images <= 0 else min(len(samples), args.max_images)
    with progress(f"evaluating {source.name}", total, quiet=args.output.quiet) as advance:
        evaluation = evaluate_metrics(
            source.predictor,
            samples,
            metrics if args.task == "panoptic" else (MEASURE[args.task],),
            size=source.image_size,
            categories=source.categories,
            max_images=args.max_images,
            on_progress=lambda done, of: advance(1),
        )
    result: Result = evaluation.to_dict()
    if args.task != "panoptic":
        result = {"task": args.task, MEASURE[args.task]: result[MEASURE[args.task]]}
    return result | {"segments_beyond_slots": evaluation.segments_beyond_slots}


def _score_prediction(args: EvalArgs, pred: Path, gt: Path, metrics: Sequence[str]) -> Result:
    from edgeseg.display import progress
    from edgeseg.metrics.folder import PredictedFolder

    pred_folder, gt_folder = args.pred_folder or pred.with_suffix(""), args.gt_folder or gt.with_suffix("")
    folder = PredictedFolder.open(pred, pred_folder, gt, gt_folder)
    total = len(folder) * (1 + args.sequences)
    with progress(f"evaluating {pred.name}", total, quiet=args.output.quiet) as advance:
        result: Result = {}
        if args.sequences:
            from edgeseg.metrics.sequences import evaluate_sequences
            from edgeseg.metrics.vpq import WINDOWS

            windows = args.vpq_windows or WINDOWS
            scores = evaluate_sequences(folder, windows=windows, num_workers=args.num_workers, on_progress=advance)
            result = scores.to_dict()
        return {**folder.evaluate(metrics, num_workers=args.num_workers, on_progress=advance).to_dict(), **result}


@dataclass(frozen=True)
class PredictArgs:
    """Segments photos: overlays with outlines, names and legend, and COCO panoptic JSON with PNGs."""

    source: tyro.conf.Positional[Path]
    """Checkpoint file, run folder, or NAME.edgeseg bundle."""
    images: tyro.conf.Positional[tuple[str, ...]]
    """Photos: files, folders, globs."""
    task: TaskName = "panoptic"
    """What is asked of the slots: panoptic; instance (things alone, weak ones too, with scores); or semantic (one
    segment for each category)."""
    out: Path = Path("predictions")
    """Folder for overlays/, panoptic/ and panoptic.json."""
    runtime: str | None = None
    """Of a bundle: executorch, litert, coreml or onnx."""
    precision: str | None = None
    """Of a bundle: float32 or int8."""
    output: Flat = field(default_factory=Output)


def predict(argv: Sequence[str]) -> Result:
    """Segment photos: edgeseg predict SOURCE IMAGES... --out FOLDER"""
    args = parse(PredictArgs, argv, "predict")
    from edgeseg.display import progress
    from edgeseg.engine.predict import find_images, predict_images

    images = find_images(args.images)
    source = _open_source(args.source, args.runtime, args.precision, args.task)
    with progress("segmenting", len(images), quiet=args.output.quiet) as advance:
        photos = predict_images(
            source.predictor,
            images,
            args.out,
            size=source.image_size,
            categories=source.categories,
            on_progress=lambda done, of: advance(1),
        )
    return {"out": str(args.out), "panoptic_json": str(args.out / "panoptic.json"), "images": photos}


def _open_source(path: Path, runtime: str | None, precision: str | None, task: TaskName) -> Source:
    """A checkpoint through torch, or a bundle through a runtime."""
    if path.suffix == ".edgeseg" or (path / "bundle.json").is_file():
        from edgeseg.export.run import open_bundle_source

        return open_bundle_source(path, runtime, precision, task)
    if runtime is not None:
        raise InputError(f"--runtime {runtime} goes with a bundle; {path} is not one (NAME.edgeseg)")
    from edgeseg.quantize.run import open_checkpoint_source

    return open_checkpoint_source(path, precision, task)
