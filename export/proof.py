"""What `edgeseg verify` finds: rungs, artifacts, quality (docs/verify.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from edgeseg.export.bundle import Verdict

RungName = Literal["files", "golden", "artifacts", "quality"]


@dataclass(frozen=True)
class Rung:
    """One step of the ladder.

    Attributes:
        name: See docs/verify.md.
        passed: None where it was not climbed.
        statement: What was found, or why it was not climbed, in one line.
        problems: One line each.
    """

    name: RungName
    passed: bool | None
    statement: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """What is probably wrong with an artifact, found by undoing it.

    Attributes:
        fault: Short name: `swapped channels`, `stale golden`, ...
        sentence: With the measured evidence.
    """

    fault: str
    sentence: str


@dataclass(frozen=True)
class ArtifactProof:
    """One artifact against torch's golden answers.

    Attributes:
        file: Relative to the bundle.
        runtime: Registry name.
        precision: Of the file.
        merge: Where the panoptic merge runs.
        floor: Share of equal or tied pixels that was wanted.
        verdict: None where the file could not be run.
        faults: What failed, one clause each; empty where it passed.
        diagnosis: Of a file that failed.
    """

    file: str
    runtime: str
    precision: str
    merge: str
    floor: float
    verdict: Verdict | None
    faults: tuple[str, ...] = ()
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True)
class Quality:
    """Panoptic quality of an artifact, or of torch, on images of the user's.

    Attributes:
        file: Of the artifact; the row of torch has the runtime `torch` and the file of the weights.
        runtime: Registry name, or `torch`.
        precision: Of the file.
        num_images: Images scored.
        pq: 0..1, all categories.
        sq: 0..1.
        rq: 0..1.
        difference_points: PQ minus torch's of the same precision, in points of 0..100; None where torch's is not known.
        floor_points: Largest |difference| allowed; None for torch.
    """

    file: str
    runtime: str
    precision: str
    num_images: int
    pq: float
    sq: float
    rq: float
    difference_points: float | None = None
    floor_points: float | None = None

    @property
    def is_below_floor(self) -> bool:
        """Whether it is further from torch than allowed; not where torch's quality is not known."""
        if self.difference_points is None or self.floor_points is None:
            return False
        return not abs(self.difference_points) <= self.floor_points


@dataclass(frozen=True)
class VerifyResult:
    """The whole ladder.

    Attributes:
        bundle: Its folder.
        rungs: In the order they are climbed.
        artifacts: In the order of bundle.json; empty where the files are not those that were exported.
        quality: Torch's row before the artifacts' of its precision; empty without data.
        failed: One line that names the first failure; None where everything passed.
    """

    bundle: str
    rungs: tuple[Rung, ...]
    artifacts: tuple[ArtifactProof, ...] = ()
    quality: tuple[Quality, ...] = ()
    failed: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `--json` prints and `--out` writes them."""
        table: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return table

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> VerifyResult:
        """The result that `to_dict` gave; keys that this edgeseg does not know are left alone.

        Raises:
            ValueError: A key is missing or of another kind.
        """
        return msgspec.convert(table, cls)
