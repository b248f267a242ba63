"""The whole chain on the embedded scenes: data, training, int8, bundle, timing, report."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.bench.coverage import cover_bundle
from edgeseg.bench.machine import this_machine
from edgeseg.bench.measurement import write_measurements
from edgeseg.bench.report import write_report
from edgeseg.bench.report_bundle import verdict_of
from edgeseg.bench.report_data import (
    ArtifactReport,
    CategoryScore,
    Confused,
    Example,
    Mistakes,
    Picture,
    ReportData,
    Score,
    TrainingCurve,
)
from edgeseg.bench.report_examples import Answer, compared_example
from edgeseg.bench.run import bench_bundle, reference_target
from edgeseg.bench.worker import REFERENCE
from edgeseg.config import load_config
from edgeseg.data.coco_panoptic import PanopticFolder
from edgeseg.data.loader import evenly_spaced
from edgeseg.data.street import make_street
from edgeseg.data.transforms import letterbox
from edgeseg.display import progress, say
from edgeseg.engine.evaluate import Predictor, evaluate_metrics, segment_image
from edgeseg.engine.train import Trainer, make_fabric
from edgeseg.export.bundle import Bundle, open_bundle
from edgeseg.export.ladder import verify_bundle
from edgeseg.export.run import export_run, open_bundle_source
from edgeseg.quantize.run import open_checkpoint_source, quantize_checkpoint
from edgeseg.structures import Category, CheckError, Sample
from edgeseg.visualize import draw_panoptic

TRAIN_IMAGES, VAL_IMAGES = 2000, 120
MERGES = {"executorch": "graph", "litert": "graph", "onnx": "graph"}
"""One call then gives the whole answer, as eager torch's does that it is compared with; at 128 x 128 it is cheap."""

QAT_STEPS = 200
EXAMPLES, WORST = 4, 4
BENCH_SECONDS = 1.0
PROFILE_SECONDS = 0.5
Scores = dict[str, Any]  # a PQResult as plain values


def run_quickstart(out: Path, *, minutes: float, seed: int, quiet: bool = False) -> dict[str, Any]:
    """Goes from nothing to a verified bundle and a report.

    Args:
        out: Folder for the scenes, run/, run.edgeseg, measurements.jsonl, report.html; an earlier run is replaced.
        minutes: Training time.
        seed: Of scenes and weights.
        quiet: Show no progress.

    Returns:
        Report and bundle paths, PQ per artifact, minutes spent.
    """
    began = time.monotonic()
    config = load_config("street")
    root = _data(out, config.data.image_size, seed, quiet)
    train, val = PanopticFolder.open(root, "train"), PanopticFolder.open(root, "val")
    config = replace(
        config,
        data=replace(config.data, root=root),
        train=replace(config.train, minutes=minutes, seed=seed),
    )
    run = out / "run"
    shutil.rmtree(run, ignore_errors=True)
    say(f"training {config.model.backbone} for {minutes:g} minutes in {run}", quiet=quiet)
    trainer = Trainer(config, train.categories, run, make_fabric(config))
    trainer.fit(train, val, quiet=quiet)
    if trainer.stop_signal is not None:
        raise CheckError(f"quickstart was stopped while training, at step {trainer.clock.step}; run it again")
    say("training the int8 network", quiet=quiet)
    quantized = quantize_checkpoint(run, "int8", None, QAT_STEPS, None, quiet=quiet)
    say("exporting to every runtime", quiet=quiet)
    bundle_path = out / "run.edgeseg"
    export_run(run, bundle_path, merges=MERGES, overwrite=True, quiet=quiet)
    bundle = open_bundle(bundle_path)

    scores: dict[str, Scores] = {"torch float32": trainer.metrics, "torch int8": quantized["metrics"]}
    predictors: dict[str, Predictor] = {
        "torch float32": open_checkpoint_source(run, "float32").predictor,
        "torch int8": open_checkpoint_source(run, "int8").predictor,
    }
    for artifact in bundle.artifacts:
        name = f"{artifact.runtime} {artifact.precision}"
        predictors[name] = open_bundle_source(bundle_path, artifact.runtime, artifact.precision).predictor
        scores[name] = _score(name, predictors[name], val, config.data.image_size, quiet)
    watched = next(f"{a.runtime} {a.precision}" for a in bundle.artifacts if a.precision == "int8")
    say("timing", quiet=quiet)
    reference = reference_target(run / "best.safetensors", bundle)
    measurements = bench_bundle(bundle_path, seconds=BENCH_SECONDS, also=[reference], quiet=quiet)
    write_measurements(out / "measurements.jsonl", measurements)

    report = out / "report.html"
    spent = (time.monotonic() - began) / 60
    data = ReportData(
        title="edgeseg quickstart",
        summary=(
            f"{config.model.backbone} under a k-means head, {minutes:g} minutes on procedural street scenes, then int8 "
            f"by quantization-aware training, exported to {len({a.runtime for a in bundle.artifacts})} runtimes."
        ),
        facts=_facts(trainer, bundle, spent),
        categories=train.categories,
        examples=tuple(
            _compared(val[i], predictors, config.data.image_size, train.categories)
            for i in evenly_spaced(EXAMPLES, len(val))
        ),
        category_scores=_category_scores(train.categories, scores),
        artifacts=_artifact_reports(run, bundle, scores, reference.artifact),
        measurements=tuple(measurements),
        curve=_curve(run / "metrics.jsonl"),
        environment=tuple(bundle.tools.items()),
        caveats=(
            "The scenes are drawn by a program: the numbers compare networks and files, they are no COCO result.",
        ),
        coverage=tuple(cover_bundle(bundle_path, seconds=PROFILE_SECONDS, quiet=quiet)),
        proof=verify_bundle(bundle_path, quiet=quiet),
        mistakes=_mistakes(watched, scores[watched], predictors[watched], val, config.data.image_size),
    )
    write_report(data, report)
    return {
        "report": str(report),
        "bundle": str(bundle_path),
        "pq": {name: round(score["all"]["pq"], 4) for name, score in scores.items()},
        "minutes": round(spent, 2),
    }


def _data(out: Path, size: tuple[int, int], seed: int, quiet: bool) -> Path:
    """The scenes of this seed and size; drawn once."""
    root = out / f"street-{size[0]}x{size[1]}-seed{seed}"
    if not root.exists():
        with progress("drawing scenes", TRAIN_IMAGES + VAL_IMAGES, quiet=quiet) as advance:
            make_street(
                root,
                train=TRAIN_IMAGES,
                val=VAL_IMAGES,
                size=size,
                seed=seed,
                num_workers=2,
                on_progress=lambda done, total: advance(1),
            )
    return root


def _score(name: str, predictor: Predictor, val: PanopticFolder, size: tuple[int, int], quiet: bool) -> Scores:
    with progress(f"evaluating {name}", len(val), quiet=quiet) as advance:
        evaluation = evaluate_metrics(
            predictor,
            val,
            ("confusion", "worst"),
            size=size,
            categories=val.categories,
            on_progress=lambda done, total: advance(1),
        )
    return evaluation.to_dict()


def _facts(trainer: Trainer, bundle: Bundle, minutes: float) -> tuple[tuple[str, str], ...]:
    from edgeseg.models import count_macs, count_parameters

    config, machine = trainer.config, this_machine()
    size = config.data.image_size
    deployed = trainer.to_evaluate.deployable()
    return (
        ("network", f"{config.model.backbone} + {config.model.head}, {config.model.num_queries} slots"),
        ("size", f"{count_parameters(deployed) / 1e6:.2f} M parameters, {count_macs(deployed, size) / 1e9:.3f} GMAC"),
        ("input", f"{size[0]} x {size[1]}"),
        ("training", f"{trainer.clock.step} steps of {config.data.batch_size} images in {trainer.clock.seconds:.0f} s"),
        ("whole run", f"{minutes:.1f} minutes"),
        ("machine", f"{machine.name}, {machine.cores} cores"),
        ("bundle", bundle.path.name),
    )


def _compared(
    sample: Sample, predictors: dict[str, Predictor], size: tuple[int, int], categories: tuple[Category, ...]
) -> Example:
    """The photo, the truth, and what each model sees, files beside a map of where they differ from torch."""
    image, _ = letterbox(sample.image, size)
    merged = {tuple(name.split()): predictor(image) for name, predictor in predictors.items()}
    return compared_example(
        sample.file_name,
        image,
        {precision: answer for (runtime, precision), answer in merged.items() if runtime == REFERENCE},
        {f"{r} {p}": Answer(answer, p) for (r, p), answer in merged.items() if r != REFERENCE},
        categories,
        before=_photo_and_truth(sample, categories),
    )


def _photo_and_truth(sample: Sample, categories: tuple[Category, ...]) -> list[Picture]:
    truth = draw_panoptic(sample.image, sample.panoptic_map, sample.segments, categories)
    return [Picture("photo", sample.image), Picture("truth", truth)]


def _example(
    sample: Sample, predictors: dict[str, Predictor], size: tuple[int, int], categories: tuple[Category, ...]
) -> Example:
    def overlay(predictor: Predictor) -> NDArray[np.uint8]:
        return draw_panoptic(sample.image, *segment_image(predictor, sample.image, size, categories), categories)

    pictures = [Picture(name, overlay(predictor)) for name, predictor in predictors.items()]
    return Example(sample.file_name, (*_photo_and_truth(sample, categories), *pictures))


def _mistakes(name: str, scores: Scores, predictor: Predictor, val: PanopticFolder, size: tuple[int, int]) -> Mistakes:
    """The confusion table and the worst images of one artifact."""
    by_id = {category.id: category for category in val.categories}
    confused = tuple(
        Confused(by_id.get(cell["gt"]), by_id.get(cell["pred"]), cell["segments"], cell["share"])
        for cell in scores["confusion"]["cells"]
    )
    index_of = {record.image_id: index for index, record in enumerate(val.images)}
    worst = []
    for row in scores["worst"]["images"][:WORST]:
        example = _example(val[index_of[row["image_id"]]], {name: predictor}, size, val.categories)
        counts = f"{row['tp']} found, {row['fp']} false, {row['fn']} missed"
        worst.append(replace(example, name=f"{example.name}: PQ {100 * row['pq']:.1f}, {counts}"))
    return Mistakes(name, confused, tuple(worst))


def _category_scores(categories: tuple[Category, ...], scores: dict[str, Scores]) -> tuple[CategoryScore, ...]:
    def score(name: str, category: Category) -> Score | None:
        row = scores[name]["per_category"].get(str(category.id))
        return Score(row["pq"], row["sq"], row["rq"]) if row else None

    return tuple(CategoryScore(c, score("torch float32", c), score("torch int8", c)) for c in categories)


def _artifact_reports(
    run: Path, bundle: Bundle, scores: dict[str, Scores], reference: str
) -> tuple[ArtifactReport, ...]:
    def group(name: str, which: str) -> Score:
        row = scores[name][which]
        return Score(row["pq"], row["sq"], row["rq"], row["n"])

    reports = []
    for precision, file in (("float32", reference), ("int8", "int8.safetensors")):
        name = f"torch {precision}"
        size = (run / file).stat().st_size
        total, things, stuff = group(name, "all"), group(name, "things"), group(name, "stuff")
        reports.append(ArtifactReport(name, file, "torch", precision, "app", size, total, things, stuff))
    for artifact in bundle.artifacts:
        name = f"{artifact.runtime} {artifact.precision}"
        verdict = verdict_of(artifact)
        reports.append(
            ArtifactReport(
                name,
                artifact.file,
                artifact.runtime,
                artifact.precision,
                artifact.merge,
                artifact.bytes,
                group(name, "all"),
                group(name, "things"),
                group(name, "stuff"),
                artifact.coverage,
                verdict,
            )
        )
    return tuple(reports)


def _curve(log: Path) -> TrainingCurve:
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    steps = [line for line in lines if "total" in line]
    parts = [key for key in steps[0] if key not in ("step", "seconds", "lr", "total")]
    return TrainingCurve(
        steps=tuple(line["step"] for line in steps),
        losses={part: tuple(line[part] for line in steps) for part in parts},
        pq=tuple((line["step"], line["eval"]["all"]["pq"]) for line in lines if "eval" in line),
    )
