"""What the A and the B of a comparison name: files of bundles to be run, or rows that were measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeseg.bench.measurement import Measurement, read_measurements
from edgeseg.bench.protocol import Target
from edgeseg.bench.run import target_of
from edgeseg.config import nearest
from edgeseg.export.bundle import DESCRIPTION, open_bundle
from edgeseg.structures import InputError

MEASUREMENTS = "measurements.jsonl"
USAGE = "give two bundles, two files of bundles (NAME.edgeseg/FILE), or two files of measurements (or FILE/ARTIFACT)"

Pair = tuple[list[Measurement], list[Measurement]]
"""Rows of A and of B that are compared."""


def is_in_bundle(path: Path) -> bool:
    """Whether the path is a bundle or lies in one."""
    return any((folder / DESCRIPTION).is_file() for folder in (path, path.parent))


def targets_of(path: Path, runtimes: Sequence[str]) -> list[Target]:
    """All artifacts of a bundle, or the one that the path names.

    Raises:
        InputError: No such artifact, nothing for the runtimes, or a changed file.
    """
    is_whole = (path / DESCRIPTION).is_file()
    bundle = open_bundle(path if is_whole else path.parent)
    files = [artifact.file for artifact in bundle.artifacts]
    if not is_whole and path.name not in files:
        raise InputError(
            f"{bundle.path} holds no artifact {path.name!r}{nearest(path.name, files)}; it holds {', '.join(files)}"
        )
    chosen = [artifact for artifact in bundle.artifacts if is_whole or artifact.file == path.name]
    wanted = [artifact for artifact in chosen if not runtimes or artifact.runtime in runtimes]
    if not wanted:
        held = ", ".join(sorted({artifact.runtime for artifact in chosen}))
        raise InputError(f"{path} holds nothing for {', '.join(runtimes)}; it holds {held}")
    return [target_of(bundle, artifact) for artifact in wanted]


def twins_of(
    a: list[Target], b: list[Target], a_name: str, b_name: str
) -> tuple[list[tuple[Target, Target]], list[str]]:
    """Two single files as they are; of bundles the files of the same runtime, precision and merge.

    Returns:
        What to compare, and a line for each file that has no twin.

    Raises:
        InputError: Nothing in common, two files of one kind, or A and B are one file.
    """
    if len(a) == 1 and len(b) == 1:
        twins, left_out = [(a[0], b[0])], []
    else:
        ours, theirs = _by_kind(a, a_name), _by_kind(b, b_name)
        twins = [(ours[kind], theirs[kind]) for kind in ours if kind in theirs]
        left_out = [
            f"{target.artifact}: {other} has no {' '.join(kind)}"
            for these, those, other in ((ours, theirs, b_name), (theirs, ours, a_name))
            for kind, target in these.items()
            if kind not in those
        ]
    if not twins:
        raise InputError(f"{a_name} and {b_name} have no runtime, precision and merge in common; name one file of each")
    if same := next((one for one, other in twins if one == other and one.path.resolve() == other.path.resolve()), None):
        raise InputError(f"A and B are both {same.path}; compare it with a copy to see what noise alone does")
    return twins, left_out


def _by_kind(targets: list[Target], name: str) -> dict[tuple[str, str, str], Target]:
    kinds: dict[tuple[str, str, str], Target] = {}
    for target in targets:
        twin = kinds.setdefault((target.runtime, target.precision, target.merge), target)
        if twin is not target:
            raise InputError(
                f"{name} holds {twin.artifact} and {target.artifact}, of one runtime, precision and merge; name one of "
                f"them: {name}/{twin.artifact}"
            )
    return kinds


def rows_of_both(a: Path, b: Path) -> tuple[list[Pair], list[str]]:
    """Pairs of rows: of the same device, runner and threads, and unless each side is one file, of the same kind.

    Returns:
        What to compare, and a line for each row that has no twin.

    Raises:
        InputError: No such rows, none of one device, nothing in common, or two files of one kind.
    """
    a_rows, b_rows = _rows(a), _rows(b)
    if a_rows == b_rows:
        raise InputError(f"A and B are the same rows of {a}; {USAGE}")
    if {_device(row) for row in a_rows}.isdisjoint(_device(row) for row in b_rows):
        where = [", ".join(dict.fromkeys(row.device.name for row in rows)) for rows in (a_rows, b_rows)]
        raise InputError(f"{a} was measured on {where[0]}, {b} on {where[1]}: times of two devices are no comparison")
    is_single = all(len({_file(row) for row in rows}) == 1 for rows in (a_rows, b_rows))
    ours, theirs = _grouped(a_rows, is_single), _grouped(b_rows, is_single)
    for path, groups in ((a, ours), (b, theirs)):
        for rows in groups.values():
            if len(files := {_file(row) for row in rows}) > 1:
                names = " and ".join(f"{bundle}/{file} ({sha256[:8]})" for bundle, file, sha256 in sorted(files)[:2])
                raise InputError(f"{path} holds {names}, of one kind; name one of them: {path}/BUNDLE/ARTIFACT")
    pairs = [(ours[key], theirs[key]) for key in ours if key in theirs]
    if not pairs:
        raise InputError(f"{a} and {b} have no device, runner, threads, runtime, precision and merge in common")
    left_out = [
        f"{rows[0].artifact}, {rows[0].threads} thread{'s' * (rows[0].threads != 1)}: not in {other}"
        for these, those, other in ((ours, theirs, b), (theirs, ours, a))
        for key, rows in these.items()
        if key not in those
    ]
    return pairs, left_out


def _rows(path: Path) -> list[Measurement]:
    """Timed rows of FILE or its FOLDER, alone or followed by /ARTIFACT, /BUNDLE, or /BUNDLE/ARTIFACT."""
    places = {place: place / MEASUREMENTS if place.is_dir() else place for place in (path, *path.parents[:2])}
    place, file = next(((place, file) for place, file in places.items() if file.is_file()), (path, path))
    if not file.is_file():
        raise InputError(f"{path} is no bundle, nothing in one, and no measurements; {USAGE}")
    names = path.relative_to(place).parts
    rows = [row for row in read_measurements(file) if row.samples_ms]
    chosen = [row for row in rows if names in ((), (row.artifact,), (row.bundle,), (row.bundle, row.artifact))]
    if not chosen:
        held = list(dict.fromkeys(row.artifact for row in rows))
        raise InputError(
            f"{file} holds no timed {'/'.join(names) or 'row'}{nearest(path.name, held)}; it holds "
            f"{', '.join(held) or 'none'}"
        )
    return chosen


def _device(row: Measurement) -> tuple[object, ...]:
    return row.device_key, row.device


def _file(row: Measurement) -> tuple[str, str, str]:
    return row.bundle, row.artifact, row.sha256


def _grouped(rows: Sequence[Measurement], is_single: bool) -> dict[tuple[object, ...], list[Measurement]]:
    groups: dict[tuple[object, ...], list[Measurement]] = {}
    for row in rows:
        kind = () if is_single else (row.runtime, row.precision, row.merge)
        groups.setdefault((*_device(row), row.runner, row.threads, *kind), []).append(row)
    return groups
