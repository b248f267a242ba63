"""Arrays that loader processes share."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import re
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from edgeseg.data.columns import Columns, pack_texts, text_at, unpack_texts

ARRAYS = {
    "bytes": np.arange(3, dtype=np.uint8),
    "empty": np.empty(0, dtype=np.int64),
    "pairs": np.arange(10, dtype=np.int32).reshape(5, 2),
    "flags": np.array([True, False]),
}


def describe(columns: Columns, connection: Connection) -> None:
    """In a process of its own: what the columns hold, and whether they lie in a mapped file."""
    maps = Path("/proc/self/maps")
    is_mapped = re.search(r"edgeseg-|#\d+ \(deleted\)", maps.read_text()) is not None if maps.exists() else None
    connection.send(({name: array.tolist() for name, array in columns.arrays.items()}, is_mapped, os.getpid()))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_started_process_sees_the_same_values(method: str) -> None:
    columns = Columns({name: array.copy() for name, array in ARRAYS.items()})
    context = multiprocessing.get_context(method)
    here, there = context.Pipe()
    process = context.Process(target=describe, args=(columns, there))
    process.start()
    assert here.poll(60)
    values, is_mapped, pid = here.recv()
    process.join()
    assert values == {name: array.tolist() for name, array in ARRAYS.items()}
    assert pid != os.getpid()
    assert is_mapped in (None, method == "spawn")


def test_spawned_process_is_sent_a_name_for_the_arrays_instead_of_the_arrays() -> None:
    columns = Columns({"many": np.zeros(1 << 20, dtype=np.int64)})
    assert len(pickle.dumps(columns)) > 8 << 20
    assert len(multiprocessing.reduction.ForkingPickler.dumps(columns)) < 1000


@pytest.mark.parametrize("arrays", [ARRAYS, {}, {"empty": np.empty((0, 2))}])
def test_copies_and_pickles_hold_the_values(arrays: dict[str, np.ndarray]) -> None:
    columns = Columns({name: array.copy() for name, array in arrays.items()})
    for other in (copy.deepcopy(columns), pickle.loads(pickle.dumps(columns))):
        assert other.arrays.keys() == arrays.keys()
        for name, array in arrays.items():
            assert np.array_equal(other[name], array)
            assert other[name].dtype == array.dtype


def test_arrays_cannot_be_written() -> None:
    columns = Columns({"numbers": np.zeros(3)})
    with pytest.raises(ValueError, match="read-only"):
        columns["numbers"][0] = 1


def test_packed_texts_come_back_whatever_their_length_and_letters() -> None:
    texts = ["a.jpg", "", "Straße 7.jpg", "写真/é.png", "b"]
    columns = Columns(pack_texts("name", texts))
    assert unpack_texts(columns, "name") == texts
    assert [text_at(columns, "name", row) for row in range(len(texts))] == texts
