"""The data doctor: every file of a COCO panoptic folder opened, every fault reported."""

from __future__ import annotations

import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from edgeseg.data.doctor_balance import SplitStats, check_between_splits
from edgeseg.data.doctor_codes import RULES, Finding
from edgeseg.data.doctor_index import CategoryEntry, SplitIndex, find_splits, read_index
from edgeseg.data.doctor_jobs import image_jobs
from edgeseg.data.doctor_rules import ImageJob, ImageResult, check_image
from edgeseg.data.parallel import in_processes

CASES = 3
"""Images kept for the page of each code: the worst."""


class Case(NamedTuple):
    """A finding with what is needed to draw it."""

    finding: Finding
    job: ImageJob


class Notes:
    """Counts every finding, keeps the first of each code, and the worst with their images."""

    def __init__(self, max_findings: int) -> None:
        """Keeps `max_findings` of each code; 0 keeps all."""
        self.counts: Counter[str] = Counter()
        self.kept: defaultdict[str, list[Finding]] = defaultdict(list)
        self._limit = max_findings
        self._worst: defaultdict[str, list[Case]] = defaultdict(list)

    def add(self, finding: Finding, job: ImageJob | None = None) -> None:
        """Notes a finding; with a job it may become a picture."""
        self.counts[finding.code] += 1
        if not self._limit or len(self.kept[finding.code]) < self._limit:
            self.kept[finding.code].append(finding)
        if job is not None and (job.photo or job.png):
            self._keep(Case(finding, job))

    def _keep(self, case: Case) -> None:
        """Of each image its worst, of those the worst; of equals the first."""
        cases = self._worst[case.finding.code]
        same = next((i for i, other in enumerate(cases) if other.job.png_name == case.job.png_name), None)
        if same is None:
            cases.append(case)
        elif case.finding.weight > cases[same].finding.weight:
            cases[same] = case
        cases.sort(key=lambda c: -c.finding.weight)
        del cases[CASES:]

    def findings(self) -> tuple[Finding, ...]:
        """Those kept, in the order of `RULES`, each code's worst first."""
        return tuple(f for code in RULES for f in sorted(self.kept.get(code, ()), key=lambda f: -f.weight))

    def cases(self) -> tuple[Case, ...]:
        """The worst of each code, in the order of `RULES`."""
        return tuple(case for code in RULES for case in self._worst.get(code, ()))


@dataclass(frozen=True)
class CheckReport:
    """What the doctor found.

    Attributes:
        root: The data folder.
        splits: Numbers of each split that could be read.
        categories: By id, of all splits; the first split's word counts.
        counts: Findings by code, in the order of `RULES`.
        findings: Those kept, see `Examination.run`.
        cases: The worst of each code that can be drawn.
        seconds: Time taken.
    """

    root: Path
    splits: tuple[SplitStats, ...]
    categories: dict[int, CategoryEntry]
    counts: dict[str, int]
    findings: tuple[Finding, ...]
    cases: tuple[Case, ...]
    seconds: float

    @property
    def num_errors(self) -> int:
        """Findings of severity error."""
        return sum(count for code, count in self.counts.items() if RULES[code].severity == "error")

    @property
    def num_warnings(self) -> int:
        """Findings of severity warning."""
        return sum(count for code, count in self.counts.items() if RULES[code].severity == "warning")

    @property
    def verdict(self) -> str:
        """One of errors, warnings, clean."""
        return "errors" if self.num_errors else "warnings" if self.num_warnings else "clean"

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON's types; `codes` has every code found, `findings` at most so many of each as were kept."""
        return {
            "data": str(self.root),
            "verdict": self.verdict,
            "num_errors": self.num_errors,
            "num_warnings": self.num_warnings,
            "codes": {
                code: {
                    "severity": RULES[code].severity,
                    "count": count,
                    "rule": RULES[code].says,
                    "next_step": RULES[code].next_step,
                    "fix": RULES[code].fix or None,
                }
                for code, count in self.counts.items()
            },
            "findings": [_finding_entry(finding) for finding in self.findings],
            "num_findings_left_off": sum(self.counts.values()) - len(self.findings),
            "splits": [stats.to_dict() for stats in self.splits],
            "categories": {
                str(id_): {"name": entry.name, "is_thing": entry.is_thing} for id_, entry in self.categories.items()
            },
            "seconds": round(self.seconds, 2),
        }


@dataclass
class Examination:
    """A folder whose JSON files have been read, ready to open the pictures."""

    root: Path
    indexes: list[SplitIndex]
    notes: Notes
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def open(cls, root: Path, split: str | None = None, *, max_findings: int = 1000) -> Examination:
        """Reads every split's JSON, row by row.

        Args:
            root: COCO panoptic folder.
            split: Only this one; "train" also finds train2017, "val" also val2017.
            max_findings: Kept of each code, 0 = all; all are counted.

        Raises:
            InputError: There is no such folder or split.
        """
        began = time.monotonic()
        notes = Notes(max_findings)
        found = [read_index(paths, notes.add) for paths in find_splits(root, split, notes.add)]
        return cls(root, [index for index in found if index is not None], notes, began)

    def __len__(self) -> int:
        """Images to open."""
        return sum(len(index.images) for index in self.indexes)

    def run(self, *, num_workers: int = 0, on_progress: Callable[[int], None] = lambda count: None) -> CheckReport:
        """Opens every photo and every PNG.

        Args:
            num_workers: Processes; 0 works in this one. The report does not depend on it.
            on_progress: Called with the number of images just done.
        """
        stats = {index.paths.name: SplitStats.of(index) for index in self.indexes}
        photos: dict[bytes, tuple[str, str]] = {}
        jobs = itertools.chain.from_iterable(image_jobs(index, self.notes.add) for index in self.indexes)
        kinds = {
            index.paths.name: {id_: entry.is_thing for id_, entry in index.categories.items()} for index in self.indexes
        }
        results = in_processes(check_image, kinds, jobs, num_workers=num_workers)
        for result in results:
            for finding in result.findings:
                self.notes.add(finding, result.job)
            stats[result.job.split].add(result.areas, result.num_pixels, result.void_pixels)
            self._note_copies(result, photos)
            on_progress(1)
        categories: dict[int, CategoryEntry] = {}
        for index in self.indexes:
            categories |= {id_: entry for id_, entry in index.categories.items() if id_ not in categories}
        check_between_splits(self.indexes, list(stats.values()), self.notes.add)
        return CheckReport(
            self.root,
            tuple(stats.values()),
            dict(sorted(categories.items())),
            {code: self.notes.counts[code] for code in RULES if self.notes.counts[code]},
            self.notes.findings(),
            self.notes.cases(),
            time.monotonic() - self.began,
        )

    def _note_copies(self, result: ImageResult, photos: dict[bytes, tuple[str, str]]) -> None:
        job = result.job
        if result.digest is None:
            return
        split, name = photos.setdefault(result.digest, (job.split, job.photo_name))
        if name != job.photo_name:
            code = "photo-duplicate" if split == job.split else "photo-in-two-splits"
            self.notes.add(Finding(code, job.split, job.photo_name, f"same pixels as {name}", job.image_id), job)


def _finding_entry(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "severity": RULES[finding.code].severity,
        "split": finding.split or None,
        "file": finding.file,
        "image_id": finding.image_id,
        "segment": finding.segment,
        "value": finding.value,
    }
