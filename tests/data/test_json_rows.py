"""JSON read row by row."""

from __future__ import annotations

import json
import tracemalloc
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseg.data import json_rows
from edgeseg.data.json_rows import iter_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def collected(path: Path) -> dict[str, Any]:
    document: defaultdict[str, Any] = defaultdict(list)
    for key, row_number, value in iter_json(path):
        if row_number is None:
            document[key] = value
        else:
            assert row_number == len(document[key])
            document[key] = [*document[key], value]
    return dict(document)


@settings(deadline=None)
@given(
    document=st.dictionaries(st.text(max_size=8), VALUES, max_size=5),
    chunk=st.integers(1, 40),
    indent=st.sampled_from([None, 1]),
    is_ascii=st.booleans(),
)
def test_rows_are_those_of_the_standard_library(
    document: dict[str, Any], chunk: int, indent: int | None, is_ascii: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """However the pieces are cut, json.loads is the reference."""
    path = tmp_path_factory.getbasetemp() / "rows.json"
    path.write_bytes(json.dumps(document, indent=indent, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_rows, "_CHUNK_CHARS", chunk)
        assert collected(path) == document


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"a": [1, 2', '{"a": 1,}', '{"a": [1,]}', '{"a" 1}', '{"a": 1} x', '{"a": 1 "b": 2}', "{1: 2}",
     '{"a": [1 2]}', '{"a": tru}', '{"a": "\n"}', '{"a": ' + "[" * 100_000],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text(text)
    with pytest.raises(ValueError, match="character"):
        list(iter_json(tmp_path / "broken.json"))


def test_constants_that_json_lacks_are_told(tmp_path: Path) -> None:
    (tmp_path / "nan.json").write_text('{"a": [NaN, 1, -Infinity]}')
    told: list[str] = []
    list(iter_json(tmp_path / "nan.json", told.append))
    assert told == ["NaN", "-Infinity"]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """45 MB in rows of 300 bytes against a bound of 12 MB: some pieces of a million characters, four bytes each."""
    path = tmp_path / "large.json"
    row = json.dumps({"image_id": 1, "text": "x" * 270})
    with path.open("w") as file:
        file.write('{"annotations": [' + row)
        for _ in range(150_000):
            file.write("," + row)
        file.write("]}")
    tracemalloc.start()
    assert sum(1 for _ in iter_json(path)) == 150_002
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size > 44e6
    assert peak < 12e6
