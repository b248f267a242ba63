"""Holds one artifact against torch's golden answers, through its runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.export.bundle import Verdict
from edgeseg.export.diagnose import diagnose, why_not_loaded, why_not_run
from edgeseg.export.golden import Golden
from edgeseg.export.proof import ArtifactProof, Diagnosis
from edgeseg.export.reference import Reference
from edgeseg.export.runtimes import OUTPUT_NAMES, MergeMode, Predict, Runtime
from edgeseg.export.trial import Answer, Case, Setting, distance
from edgeseg.export.verify import compare, faults, floor_of, to_merged
from edgeseg.structures import CheckError

_MUCH_CLOSER = 0.2  # of its own distance: an artifact that is this close to another precision's answers is that one
_CASE_IMAGES = 4  # a fault shows in all images; trying what it may be on a few is enough

Outputs = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Subject:
    """The artifact to prove.

    Attributes:
        path: File or package.
        runtime: Runs it.
        precision: That it is said to be of.
        merge: Where the panoptic merge is said to run.
    """

    path: Path
    runtime: Runtime
    precision: str
    merge: MergeMode


def prove(subject: Subject, setting: Setting, references: Mapping[str, Reference]) -> ArtifactProof:
    """Loads, runs, compares; says what is probably wrong where that fails.

    Args:
        subject: The artifact.
        setting: What its answers hang on.
        references: What torch says about the same images, by precision.
    """
    runtime, precision = subject.runtime, subject.precision
    blank = ArtifactProof(subject.path.name, runtime.name, precision, subject.merge, floor_of(precision), None)
    goldens = references[precision].goldens
    if not goldens:
        return replace(blank, faults=("no golden answers to hold it against",))
    # Every runtime raises errors of its own kind. Whatever it is, the file is named and the others get their turn.
    try:
        predict = runtime.load(subject.path)
    except Exception as error:
        diagnosis = why_not_loaded(subject.path, runtime.name, error)
        return replace(blank, faults=("its runtime cannot load it",), diagnosis=diagnosis)
    try:
        outputs = [predict(golden.image[None]) for golden in goldens]
    except Exception as error:
        diagnosis = why_not_run(predict, setting.image_size, error)
        return replace(blank, faults=("its runtime cannot run it",), diagnosis=diagnosis)
    wanted = OUTPUT_NAMES[subject.merge]
    if set(outputs[0]) != set(wanted):
        sentence = f"it answers with {', '.join(outputs[0])}, not with {', '.join(wanted)}"
        return replace(blank, faults=("its outputs are others",), diagnosis=Diagnosis("wrong file", sentence))
    return _judge(blank, goldens, runtime.engine(), _case(predict, outputs, precision, setting, references), outputs)


def check(proof: ArtifactProof) -> Verdict:
    """The verdict of an artifact that passed.

    Raises:
        CheckError: It did not; with what failed and what is probably wrong.
    """
    if proof.verdict is not None and not proof.faults:
        return proof.verdict
    ran = f" ({proof.verdict.engine})" if proof.verdict else ""
    cause = f"; probably {proof.diagnosis.fault}: {proof.diagnosis.sentence}" if proof.diagnosis else ""
    raise CheckError(
        f"{proof.file} differs from the torch model: {'; '.join(proof.faults)}{ran}{cause}; it was not kept"
    )


def _judge(
    blank: ArtifactProof, goldens: Sequence[Golden], engine: str, case: Case, outputs: Sequence[Outputs]
) -> ArtifactProof:
    queue = iter(outputs)
    merge, is_thing = case.setting.merge, case.setting.is_thing
    try:
        verdict = compare(lambda image: next(queue), goldens, config=merge, is_thing=is_thing, engine=engine)
    except (CheckError, ValueError) as error:  # outputs of another size
        return replace(blank, faults=(str(error),), diagnosis=diagnose(case))
    if found := faults(verdict, blank.precision):
        return replace(blank, verdict=verdict, faults=tuple(found), diagnosis=diagnose(case))
    if other := _other_precision(case):
        diagnosis = Diagnosis("wrong file", f"it is the file of {other} under another name")
        return replace(blank, verdict=verdict, faults=(f"it gives the answers of {other}",), diagnosis=diagnosis)
    return replace(blank, verdict=verdict)


def _other_precision(case: Case) -> str:
    """The precision whose answers an artifact gives that is above the floor of its own; empty where it is the own."""
    merge, is_thing = case.setting.merge, case.setting.is_thing
    maps = [Answer(to_merged(dict(one), config=merge, is_thing=is_thing), None) for one in case.outputs]

    def apart(goldens: Sequence[Golden]) -> float:
        pairs = zip(maps, goldens, strict=True)
        return float(np.mean([distance(answer, Answer(golden.merged, None)) for answer, golden in pairs]))

    own = apart(case.goldens)
    closer = [name for name, goldens in case.others.items() if apart(goldens) < _MUCH_CLOSER * own]
    return closer[0] if closer else ""


def _case(
    predict: Predict, outputs: Sequence[Outputs], precision: str, setting: Setting, references: Mapping[str, Reference]
) -> Case:
    count = min(_CASE_IMAGES, len(outputs))
    return Case(
        predict=predict,
        outputs=outputs[:count],
        goldens=references[precision].goldens[:count],
        others={
            name: other.goldens[:count]
            for name, other in references.items()
            if name != precision and len(other.goldens) == len(outputs)
        },
        network=references[precision].network,
        setting=setting,
    )
