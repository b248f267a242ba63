"""A bundle, with whatever was measured of it anywhere, to a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from edgeseg.bench.coverage import cover_bundle
from edgeseg.bench.imported import read_imported
from edgeseg.bench.measurement import Measurement, read_measurements
from edgeseg.bench.report import write_report
from edgeseg.bench.report_data import ArtifactReport, CategoryScore, Example, Picture, ReportData, Score, Verdict
from edgeseg.bench.report_examples import Answer, compared_example
from edgeseg.bench.worker import REFERENCE
from edgeseg.display import progress
from edgeseg.export.bundle import WEIGHTS, Artifact, Bundle, open_bundle
from edgeseg.export.golden import Golden, read_golden
from edgeseg.export.proof import VerifyResult
from edgeseg.export.runtimes import get_runtime, require_runner
from edgeseg.export.verify import faults, floor_of, judged_share, to_merged
from edgeseg.structures import InputError


def report_bundle(
    path: Path,
    out: Path | None,
    *,
    measurements: Sequence[Path] = (),
    imported: Sequence[Path] = (),
    verified: Path | None = None,
    num_pictures: int = 3,
    profile_seconds: float = 0.0,
    quiet: bool = False,
) -> dict[str, Any]:
    """Writes a report of a bundle and of all measurements of its files.

    Args:
        path: NAME.edgeseg.
        out: HTML file; None = report.html beside the bundle.
        measurements: JSON lines of `edgeseg bench`, of one device or several; none = measurements.jsonl beside the
            bundle, if it is there.
        imported: JSON lines of `edgeseg bench import`.
        verified: What `edgeseg verify --out` wrote.
        num_pictures: Golden images to answer with every file on this computer.
        profile_seconds: Profiled calls per file; 0 = do not profile.
        quiet: Show no progress.

    Returns:
        The report's file, and how many rows of which devices it holds.

    Raises:
        InputError: Not a bundle, a file that is not what it should be, a runtime's package missing.
        CheckError: A file could not be run.
    """
    if num_pictures < 0 or profile_seconds < 0:
        raise InputError(f"pictures {num_pictures}, profile {profile_seconds:g}: neither may be below zero")
    bundle = open_bundle(path)
    beside = path.resolve().parent
    files = list(measurements) or [file for file in [beside / "measurements.jsonl"] if file.exists()]
    rows, num_strange = _own([row for file in files for row in read_measurements(file)], bundle)
    others = tuple(row for file in imported for row in read_imported(file))
    proof = read_proof(verified) if verified else None
    caveats = (
        (f"{num_strange} measurements of other files than this bundle's (by sha256) are left out.",)
        if num_strange
        else ()
    )
    data = ReportData(
        title=bundle.path.name,
        summary=f"{len(bundle.artifacts)} files, measured, verified and compared; written by edgeseg bench report.",
        facts=_facts(bundle),
        categories=bundle.categories,
        examples=tuple(_examples(bundle, num_pictures, quiet)) if num_pictures else (),
        category_scores=_category_scores(bundle),
        artifacts=_artifacts(bundle, proof, rows),
        measurements=tuple(rows),
        curve=None,
        environment=tuple(bundle.tools.items()),
        caveats=caveats,
        coverage=tuple(cover_bundle(path, seconds=profile_seconds, quiet=quiet)) if profile_seconds else (),
        imported=others,
        proof=proof,
    )
    place = out or beside / "report.html"
    write_report(data, place)
    return {
        "report": str(place),
        "rows": {device.label: len(device.rows) for device in data.devices},
        "left_out": num_strange,
        "imported": len(others),
    }


def verdict_of(artifact: Artifact) -> Verdict:
    """The bundle's record of how an artifact was verified when it was exported."""
    found = artifact.verify
    return Verdict(
        equal_pixels=found.pixels_equal,
        floor=floor_of(artifact.precision),
        passed=not faults(found, artifact.precision),
        judged_by=found.engine,
        judged=judged_share(found, artifact.precision),
        segments_found=found.segments_found,
        mask_logits_max_abs=found.mask_logits_max_abs,
        scores_median_abs=found.scores_median_abs,
    )


def read_proof(path: Path) -> VerifyResult:
    """Reads what `edgeseg verify --out` wrote.

    Raises:
        InputError: Missing, or something else.
    """
    try:
        return VerifyResult.from_dict(msgspec.json.decode(path.read_bytes()))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; write it with: edgeseg verify BUNDLE --out {path}") from error
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path} is not what edgeseg verify writes ({error}); write it with: edgeseg verify BUNDLE --out {path}"
        ) from error


def _own(rows: Sequence[Measurement], bundle: Bundle) -> tuple[list[Measurement], int]:
    """Rows of the bundle's very files and of torch, and how many are of others."""
    known = {artifact.sha256 for artifact in bundle.artifacts}
    own = [row for row in rows if row.sha256 in known or (row.runtime == REFERENCE and row.bundle == bundle.path.name)]
    return own, len(rows) - len(own)


def _facts(bundle: Bundle) -> tuple[tuple[str, str], ...]:
    height, width = bundle.image_size
    model = bundle.config.get("model", {})
    found = {
        "network": f"{model.get('backbone', '?')} + {model.get('head', '?')}, {bundle.num_slots} slots",
        "input": f"{height} x {width}",
        "categories": str(len(bundle.categories)),
        "made": str(bundle.provenance.get("time_utc", "")),
        "commit": str(bundle.provenance.get("commit", ""))[:12],
        "licence": bundle.licence,
    }
    return tuple((name, value) for name, value in found.items() if value)


def _artifacts(bundle: Bundle, proof: VerifyResult | None, rows: Sequence[Measurement]) -> tuple[ArtifactReport, ...]:
    """Torch at each precision, then the files; quality as verified, as the device said, or as the run recorded."""
    scores = {line.file: Score(line.pq, line.sq, line.rq) for line in proof.quality} if proof else {}
    torchs = {line.precision: scores[line.file] for line in proof.quality if line.runtime == REFERENCE} if proof else {}
    timed = {row.precision: row for row in rows if row.runtime == REFERENCE}
    names = _names(bundle)
    precisions = dict.fromkeys(artifact.precision for artifact in bundle.artifacts)
    found = []
    for precision in precisions:
        recorded = bundle.metrics.get(precision) or {}
        file = timed[precision].artifact if precision in timed else f"{WEIGHTS}, {precision}"
        of = ArtifactReport(f"torch {precision}", file, REFERENCE, precision, "app", 0, torchs.get(precision))
        if of.total is None:
            total, things, stuff = (_group(recorded, key) for key in ("all", "things", "stuff"))
            of = replace(of, total=total, things=things, stuff=stuff)
        found.append(of)
    for artifact in bundle.artifacts:
        found.append(
            ArtifactReport(
                names[artifact.file],
                artifact.file,
                artifact.runtime,
                artifact.precision,
                artifact.merge,
                artifact.bytes,
                scores.get(artifact.file),
                coverage=artifact.coverage,
                verdict=verdict_of(artifact),
            )
        )
    return tuple(found)


def _names(bundle: Bundle) -> dict[str, str]:
    """`litert int8`, with the place of the merge where two files differ in that alone."""
    kinds = [(artifact.runtime, artifact.precision) for artifact in bundle.artifacts]
    return {
        artifact.file: f"{artifact.runtime} {artifact.precision}"
        + (f" {artifact.merge}" if kinds.count((artifact.runtime, artifact.precision)) > 1 else "")
        for artifact in bundle.artifacts
    }


def _group(recorded: Mapping[str, Any], key: str) -> Score | None:
    table = recorded.get(key)
    return Score(table["pq"], table["sq"], table["rq"], table.get("n")) if table else None


def _category_scores(bundle: Bundle) -> tuple[CategoryScore, ...]:
    """As the runs recorded them; none unless both the float and the int8 model have theirs."""
    tables = [(bundle.metrics.get(precision) or {}).get("per_category") for precision in ("float32", "int8")]
    if not all(tables):
        return ()
    return tuple(
        CategoryScore(category, *(_group(table or {}, str(category.id)) for table in tables))
        for category in bundle.categories
    )


def _examples(bundle: Bundle, count: int, quiet: bool) -> list[Example]:
    """Golden images with every file's answer on this computer."""
    goldens: dict[str, list[Golden]] = {
        precision: read_golden(bundle, precision)[:count]
        for precision in dict.fromkeys(artifact.precision for artifact in bundle.artifacts)
    }
    images = [golden.image for golden in next(iter(goldens.values()))]
    names, is_thing = _names(bundle), [category.is_thing for category in bundle.categories]
    answers: list[dict[str, Answer]] = [{} for _ in images]
    with progress("drawing", len(bundle.artifacts), quiet=quiet) as advance:
        for artifact in bundle.artifacts:
            runtime = get_runtime(artifact.runtime)
            require_runner(runtime)
            predict = runtime.load(bundle.path / artifact.file, num_threads=1)
            for image, found in zip(images, answers, strict=True):
                merged = to_merged(predict(image[None]), config=bundle.merge, is_thing=is_thing)
                found[names[artifact.file]] = Answer(merged, artifact.precision)
            advance(1, artifact.file)
    return [
        compared_example(
            f"golden image {number}",
            image,
            {precision: listed[number].merged for precision, listed in goldens.items()},
            answers[number],
            bundle.categories,
            before=(Picture("photo", image),),
        )
        for number, image in enumerate(images)
    ]
