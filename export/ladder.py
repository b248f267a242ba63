"""Climbs the ladder of proofs of a bundle: files, golden answers, artifacts, quality (docs/verify.md)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeseg.display import progress
from edgeseg.export.bundle import WEIGHTS, Artifact, Bundle, file_problems, parse_bundle, read_description
from edgeseg.export.proof import ArtifactProof, Quality, Rung, VerifyResult
from edgeseg.export.prove import Subject, prove
from edgeseg.export.quality import Scored, score_artifacts
from edgeseg.export.reference import Reference, read_reference
from edgeseg.export.runtimes import get_runtime, require_runner
from edgeseg.export.trial import Setting
from edgeseg.structures import InputError


def verify_bundle(path: Path, *, scored: Scored | None = None, quiet: bool = True) -> VerifyResult:
    """Proves a bundle on this machine.

    A failed rung does not end the climb, except for the first: files that are not those that were exported prove
    nothing, and are not loaded.

    Args:
        path: NAME.edgeseg.
        scored: Images of the user's to score every artifact on; None leaves the last rung out.
        quiet: Show no progress.

    Raises:
        InputError: Not a bundle, of another schema, a runtime's package is missing, or data of other categories.
    """
    table = read_description(path)
    bundle = parse_bundle(table, path)
    files = _files(table, bundle)
    if not files.passed:
        waiting = tuple(Rung(name, None, "not climbed: files differ") for name in ("golden", "artifacts", "quality"))
        return VerifyResult(str(path), (files, *waiting), failed=_first_failure(path, [files]))
    for artifact in bundle.artifacts:
        require_runner(get_runtime(artifact.runtime))
    precisions = list(dict.fromkeys(artifact.precision for artifact in bundle.artifacts))
    references: dict[str, Reference] = {}
    proofs: list[ArtifactProof] = []
    with progress("verifying", len(precisions) + len(bundle.artifacts), quiet=quiet) as advance:
        for precision in precisions:
            references[precision] = read_reference(bundle, precision)
            advance(1, f"golden answers of {precision}")
        for artifact in bundle.artifacts:
            file, runtime = bundle.path / artifact.file, get_runtime(artifact.runtime)
            subject = Subject(file, runtime, artifact.precision, artifact.merge)
            proofs.append(prove(subject, setting_of(bundle), references))
            advance(1, artifact.file)
    networks = {precision: reference.network for precision, reference in references.items()}
    rows = [] if scored is None else score_artifacts(bundle, proofs, networks, scored, quiet=quiet)
    rungs = (files, _golden(references, proofs), _artifacts(proofs), _quality(rows, references, scored))
    return VerifyResult(str(path), rungs, tuple(proofs), tuple(rows), failed=_first_failure(path, rungs))


def setting_of(bundle: Bundle) -> Setting:
    """What the answers of a bundle's artifacts hang on."""
    model = bundle.config["model"]
    mean, std = ((float(r), float(g), float(b)) for r, g, b in (model["mean"], model["std"]))
    is_thing = [category.is_thing for category in bundle.categories]
    return Setting(bundle.merge, is_thing, bundle.image_size, mean, std)


def write_result(result: VerifyResult, file: Path) -> None:
    """Writes a result as JSON, aside and then in one rename.

    Raises:
        InputError: The place cannot be written.
    """
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        aside.write_text(json.dumps(result.to_dict(), indent=1) + "\n", encoding="utf-8")
        os.replace(aside, file)
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}; give another --out") from error
    finally:
        aside.unlink(missing_ok=True)


def _files(table: dict[str, Any], bundle: Bundle) -> Rung:
    found = file_problems(table, bundle.path)
    problems = [f"{file} {problem}" for file, problem in found.items() if problem]
    first: dict[str, Artifact] = {}
    for artifact in bundle.artifacts:
        twin = first.setdefault(artifact.sha256, artifact)
        if twin is not artifact:
            problems.append(f"{artifact.file} holds the bytes of {twin.file}: one of them is the wrong file")
    statement = f"{len(found)} files are as bundle.json lists them" if not problems else _count(problems)
    return Rung("files", not problems, statement, tuple(problems))


def _golden(references: Mapping[str, Reference], proofs: Sequence[ArtifactProof]) -> Rung:
    problems = tuple(problem for reference in references.values() for problem in reference.problems)
    for precision, reference in references.items():
        if reference.apart:
            agree = all(not proof.faults for proof in proofs if proof.precision == precision)
            which = (
                f"weights of another run: the {precision} artifacts give the golden answers, {WEIGHTS} does not"
                if agree
                else f"stale golden: answers of {precision} do not follow from {WEIGHTS}"
            )
            problems += (f"{which}: {reference.apart}",)
    rebuilt = [precision for precision, reference in references.items() if reference.network is not None]
    num = sum(len(reference.goldens) for reference in references.values())
    statement = _count(problems) if problems else f"{num} golden answers, no stale one"
    if rebuilt:
        statement += f"; computed again by torch from {WEIGHTS} in {', '.join(rebuilt)}"
    for precision, reference in references.items():
        if reference.why_no_network:
            statement += f"; not computed again in {precision}: {reference.why_no_network}"
    return Rung("golden", not problems, statement, problems)


def _artifacts(proofs: Sequence[ArtifactProof]) -> Rung:
    failed = [proof for proof in proofs if proof.faults]
    statement = f"{len(proofs) - len(failed)} of {len(proofs)} artifacts agree with torch on the golden images"
    return Rung("artifacts", not failed, statement, tuple(map(_problem, failed)))


def _problem(proof: ArtifactProof) -> str:
    faults = "; ".join(proof.faults)
    if proof.diagnosis is None:
        return f"{proof.file}: {faults}"
    return f"{proof.file}: {proof.diagnosis.fault}: {proof.diagnosis.sentence} ({faults})"


def _quality(rows: Sequence[Quality], references: Mapping[str, Reference], scored: Scored | None) -> Rung:
    if scored is None:
        return Rung("quality", None, "not climbed: edgeseg verify BUNDLE --data FOLDER scores every artifact")
    problems = tuple(
        f"{row.file}: PQ {100 * row.pq:.2f} is {row.difference_points:+.2f} points from torch's on {row.num_images} "
        f"images, at most {row.floor_points} wanted"
        for row in rows
        if row.is_below_floor
    )
    statement = f"PQ on {scored.num_images} images of {scored.where}"
    alone = [precision for precision, reference in references.items() if reference.network is None]
    if alone:
        statement += f"; torch's PQ is not known in {', '.join(alone)}: its artifacts are scored, not judged"
    return Rung("quality", not problems, statement, problems)


def _count(problems: Sequence[str]) -> str:
    return f"{len(problems)} problem{'s' * (len(problems) != 1)}"


def _first_failure(path: Path, rungs: Sequence[Rung]) -> str | None:
    failed = [rung for rung in rungs if rung.passed is False]
    return f"{path}, rung {failed[0].name}: {failed[0].problems[0]}" if failed else None
