"""Which artifacts an export makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeseg.config import nearest
from edgeseg.export.runtimes import MergeMode, Runtime, get_runtime, require_converter, require_runner, runtime_names
from edgeseg.structures import InputError

FLOAT = "float32"
"""The precision that runtimes make others from."""

MERGE_CHOICES = ("auto", "graph", "app")
Merges = Sequence[str] | Mapping[str, str]
"""Of MERGE_CHOICES: for every runtime, or by runtime."""


@dataclass(frozen=True)
class Job:
    """One artifact to make.

    Attributes:
        runtime: Converts it and runs it.
        precision: Of the artifact.
        source: Precision of the network that it is made of; another one where the runtime lowers it.
        merge: Where the panoptic merge runs.
        file: For people; bundle.json is what programs read.
    """

    runtime: Runtime
    precision: str
    source: str
    merge: MergeMode
    file: str


@dataclass(frozen=True)
class Plan:
    """What an export does.

    Attributes:
        jobs: In the order of bundle.json.
        left_out: Lines for people: what a runtime that nobody named cannot hold.
    """

    jobs: tuple[Job, ...]
    left_out: tuple[str, ...]

    @property
    def precisions(self) -> tuple[str, ...]:
        """Of the artifacts, each once."""
        return tuple(dict.fromkeys(job.precision for job in self.jobs))

    @property
    def sources(self) -> tuple[str, ...]:
        """Precisions of the networks that the artifacts are made of."""
        return tuple(dict.fromkeys(job.source for job in self.jobs))


def plan_export(
    networks: Sequence[str],
    *,
    name: str,
    image_size: tuple[int, int],
    runtimes: Sequence[str] = (),
    precisions: Sequence[str] = (),
    merges: Merges = (),
) -> Plan:
    """Refuses what cannot be made before any work is done.

    Args:
        networks: Precisions of the networks that there are.
        name: Of the bundle.
        image_size: (height, width).
        runtimes: Registry names; none means all, and those that cannot hold a precision are left out of it.
        precisions: Of networks, or what runtimes make of the float32 one; none means all networks.
        merges: `graph`, `app`, or `auto`, each runtime's own default, for all runtimes or one of them by runtime; none
            means `auto`.

    Raises:
        InputError: A name that does not exist (the nearest one is given), a package that is not installed (with the
            command), or a combination that a named runtime, or every runtime, refuses (with the reason).
    """
    if not name or any(not (letter.isalnum() or letter in "-_.") for letter in name):
        raise InputError(f"bundle name {name!r} goes into file names; use letters, digits, '-', '_' and '.'")
    chosen = [get_runtime(runtime) for runtime in dict.fromkeys(runtimes or runtime_names())]
    _refuse_unknown(precisions, merges, networks, chosen)
    for runtime in chosen:
        require_converter(runtime)
        require_runner(runtime)
    jobs: dict[str, Job] = {}
    left_out: list[str] = []
    for precision in dict.fromkeys(precisions or networks):
        reasons = []
        for runtime in chosen:
            choices = [merges.get(runtime.name, "auto")] if isinstance(merges, Mapping) else merges or ("auto",)
            for merge in dict.fromkeys(_place(runtime, choice) for choice in choices):
                if reason := _refusal(runtime, precision, merge, networks):
                    reasons.append(f"{runtime.name} holds no {precision} with the merge in the {merge}: {reason}")
                    continue
                stem = f"{name}-{image_size[0]}x{image_size[1]}.{precision}.{runtime.name}.{merge}"
                source = precision if precision in networks else FLOAT
                job = Job(runtime, precision, source, merge, f"{stem}{runtime.suffix}")
                jobs[job.file] = job
        if reasons and (runtimes or precision not in {job.precision for job in jobs.values()}):
            raise InputError("; ".join(reasons))
        left_out += reasons
    return Plan(tuple(jobs.values()), tuple(left_out))


def _refuse_unknown(
    precisions: Sequence[str], merges: Merges, networks: Sequence[str], runtimes: Sequence[Runtime]
) -> None:
    if not networks:
        raise InputError("nothing to export: no model was given")
    made = [precision for runtime in runtimes for precision in runtime.precisions] if FLOAT in networks else []
    known = list(dict.fromkeys([*networks, *made]))
    for precision in precisions:
        if precision not in known:
            raise InputError(
                f"no precision {precision!r} here{nearest(precision, known)}; there are {', '.join(known)}; "
                "edgeseg quantize makes more"
            )
    for merge in merges.values() if isinstance(merges, Mapping) else merges:
        if merge not in MERGE_CHOICES:
            raise InputError(f"no merge {merge!r}{nearest(merge, list(MERGE_CHOICES))}; it is graph, app or auto")


def _place(runtime: Runtime, choice: str) -> MergeMode:
    if choice == "auto":
        return runtime.default_merge
    return "graph" if choice == "graph" else "app"


def _refusal(runtime: Runtime, precision: str, merge: MergeMode, networks: Sequence[str]) -> str:
    if precision not in networks and precision not in runtime.precisions:
        return f"of a float32 network it makes {', '.join(runtime.precisions)}"
    return runtime.refusal(precision, merge)
