"""Coverage of the default network does not get worse: pieces and operators outside, against a committed table."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from edgeseg.bench.operator_profile import HAND_OVER, Request, profile
from edgeseg.export.runtimes import get_runtime, is_available, runtime_names
from tests.bench.default_network import GOLDEN, PRECISIONS, SIZE, taken, write_artifact

ADVICE = "edgeseg coverage shows where; if it is meant, python -m tests.bench.default_network writes the table anew"


def worse(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """What a file has more of than the table."""
    pieces = (found["num_delegates"] or 0, wanted["num_delegates"] or 0)
    lines = [f"{pieces[0]} pieces instead of {pieces[1]}"] if pieces[0] > pieces[1] else []
    for operator, count in found["outside"].items():
        if count > (before := wanted["outside"].get(operator, 0)):
            lines.append(f"{count} x {operator} outside instead of {before}")
    return lines


@pytest.fixture(
    scope="module", params=[(name, precision) for name in runtime_names() for precision in PRECISIONS], ids=" ".join
)
def artifact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Path]:
    name, precision = request.param
    if not is_available(get_runtime(name)):
        pytest.skip(f"the packages of {name} are missing")
    return name, precision, write_artifact(name, precision, tmp_path_factory.mktemp("default"))


@pytest.mark.slow
@pytest.mark.timeout(1800)  # a conversion takes some 20 s of an idle core
def test_no_runtime_takes_less_of_the_default_network_than_before(artifact: tuple[str, str, Path]) -> None:
    name, precision, path = artifact
    wanted = json.loads(GOLDEN.read_text())[f"{name} {precision}"]
    assert not worse(taken(name, path), wanted), ADVICE


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_operators_that_ran_outside_are_those_that_the_file_says(artifact: tuple[str, str, Path]) -> None:
    """The profile counts what ran, `describe` reads the file: two ways to the same counts."""
    name, _, path = artifact
    if name == "coreml":
        pytest.skip("nothing runs off a Mac")
    described = get_runtime(name).describe(path)
    found = profile(Request(name, path, SIZE, threads=1, seconds=0.1))
    outside = Counter(run.operator for run in found.runs if run.is_delegated is False)
    assert outside == {operator.split("::")[-1]: count for operator, count in (described.outside or {}).items()}
    assert all(run.ms is not None and run.ms >= 0 for run in found.runs)
    if name == "executorch":
        assert sum(run.operator == HAND_OVER for run in found.runs) == described.num_delegates


def test_table_holds_every_runtime_at_every_precision() -> None:
    table = json.loads(GOLDEN.read_text())
    assert set(table) == {f"{name} {precision}" for name in runtime_names() for precision in PRECISIONS}


def test_another_piece_and_another_operator_outside_are_worse_and_fewer_are_not() -> None:
    before = {"num_delegates": 2, "outside": {"argmax": 1, "copy": 3}}
    assert worse({"num_delegates": 1, "outside": {"copy": 2}}, before) == []
    assert worse({"num_delegates": 3, "outside": {"copy": 4, "topk": 1}}, before) == [
        "3 pieces instead of 2",
        "4 x copy outside instead of 3",
        "1 x topk outside instead of 0",
    ]
