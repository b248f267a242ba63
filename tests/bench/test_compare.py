"""`edgeseg bench compare`: what is paired with what, what is refused, what is said."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from edgeseg.bench.compare import Settings, compare, comparison
from edgeseg.bench.measurement import Measurement, read_measurements, write_measurements
from edgeseg.bench.worker import Split
from edgeseg.cli import main
from edgeseg.export.bundle import checksum, size_bytes
from edgeseg.readable_bench import compare_table
from edgeseg.structures import InputError
from tests.bench.test_measurement import RECORD
from tests.bench.tiny import write_bundle, write_onnx


def row(*blocks_ms: float, **changes: Any) -> Measurement:
    """A measurement whose rounds have these medians."""
    samples = tuple(ms * factor for ms in blocks_ms for factor in (0.9, 1.0, 3.0))
    record = dataclasses.replace(RECORD, samples_ms=samples, round_sizes=(3,) * len(blocks_ms), runner="python")
    return dataclasses.replace(record, **changes)


A = row(4.0, 8.0, 6.0, 5.0, 7.0, 4.0)
B = row(2.0, 4.0, 3.0, 2.5, 3.5, 2.0, artifact="street.ternary.onnx", precision="ternary", sha256="cd" * 32)


def test_blocks_are_the_medians_of_rounds_beside_each_other() -> None:
    found = comparison([A], [B])
    assert found["ratios"] == pytest.approx([0.5] * 6)
    assert (found["ratio"], found["low"], found["high"]) == (pytest.approx(0.5),) * 3
    assert (found["verdict"], found["why"]) == ("faster", "")


def test_several_runs_of_the_same_two_files_are_put_together() -> None:
    a, b = (dataclasses.replace(measured, time_utc="2026-02-02T00:00:00+00:00") for measured in (A, B))
    assert comparison([A, a], [B, b])["num_pairs"] == 12
    assert comparison([A], [B, b])["num_pairs"] == 6


def test_rows_of_different_runs_have_a_ratio_and_no_verdict() -> None:
    found = comparison([A], [dataclasses.replace(B, time_utc="2026-02-02T00:00:00+00:00")])
    assert found["verdict"] == "none"
    assert "not measured in one run" in found["why"]
    assert (found["low"], found["ratios"]) == (None, [])
    assert found["ratio"] == pytest.approx(2.75 / 5.5)  # medians of all calls


def test_an_emulators_ratio_is_no_verdict() -> None:
    emulated = [dataclasses.replace(measured, emulated=True) for measured in (A, B)]
    assert comparison(emulated[:1], emulated[1:])["why"] == "an emulator's time is no latency"


def test_noise_and_few_pairs_forbid_a_verdict_and_say_so() -> None:
    noisy = dataclasses.replace(B, samples_ms=row(5.0, 7.0, 7.0, 4.0, 8.0, 3.0).samples_ms)
    assert comparison([A], [noisy])["why"] == "noise forbids one: single pairs go from 0.750 to 1.250"
    few = comparison([row(1.0, 1.0)], [row(9.0, 9.0)])
    assert (few["verdict"], few["why"]) == ("none", "2 pairs of blocks, 6 at least are wanted")


def test_where_only_one_times_the_merge_and_where_sizes_differ_it_is_said() -> None:
    graph = dataclasses.replace(A, artifact="s-128x128.int8.onnx")
    app = dataclasses.replace(B, artifact="s-256x320.int8.onnx", merge="app", split=Split(merge_ms=1.5))
    assert comparison([graph], [app])["notes"] == [
        "A's time includes the panoptic merge, the other leaves it to the app, which takes 1.50 ms more there",
        "A takes 128 x 128 pixels, B 256 x 320",
    ]


def test_rows_of_one_file_are_named_behind_it(tmp_path: Path) -> None:
    file = tmp_path / "measurements.jsonl"
    write_measurements(file, [A, B])
    (found,) = compare(file / A.artifact, tmp_path / B.bundle / B.artifact)["comparisons"]
    assert (found["a"]["artifact"], found["b"]["artifact"]) == (A.artifact, B.artifact)
    assert found["verdict"] == "faster"


def test_files_of_rows_are_compared_kind_by_kind_and_the_rest_is_named(tmp_path: Path) -> None:
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    write_measurements(one, [A, dataclasses.replace(A, threads=4)])
    write_measurements(other, [dataclasses.replace(A, bundle="new.edgeseg", sha256="ef" * 32), B])
    result = compare(one, other)
    assert [found["threads"] for found in result["comparisons"]] == [2]
    assert result["left_out"] == [
        f"street.int8.onnx, 4 threads: not in {other}", f"street.ternary.onnx, 2 threads: not in {one}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "b_rows, message",
    [
        ([dataclasses.replace(B, device=dataclasses.replace(B.device, name="Other CPU"))], "Some CPU.*on Other CPU"),
        ([dataclasses.replace(B, device_key="0123")], "times of two devices are no comparison"),
        ([B, dataclasses.replace(B, runtime="litert", artifact="x.tflite")], "have no device.*in common"),
        ([dataclasses.replace(A, bundle="x.edgeseg"), A], "of one kind; name one of them"),
        ([dataclasses.replace(B, samples_ms=(), round_sizes=(), not_timed="no Mac")], "holds no timed row"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, b_rows: list[Measurement], message: str) -> None:
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    write_measurements(one, [A])
    write_measurements(other, b_rows)
    with pytest.raises(InputError, match=message):
        compare(one, other)


def test_paths_that_are_nothing_or_one_and_the_same_are_refused(tmp_path: Path) -> None:
    file, bundle = tmp_path / "m.jsonl", write_bundle(tmp_path)
    write_measurements(file, [A])
    with pytest.raises(InputError, match=r"is to be run and .*m\.jsonl was measured before"):
        compare(bundle, file)
    with pytest.raises(InputError, match="A and B are the same rows"):
        compare(file, file)
    with pytest.raises(InputError, match=r"A and B are both .*tiny.float32"):
        compare(bundle, bundle)
    with pytest.raises(InputError, match=r"no artifact 'tiny\.int8\.onnx' .did you mean 'tiny.float32.onnx'"):
        compare(bundle / "tiny.int8.onnx", bundle)
    with pytest.raises(InputError, match=r"holds no timed street\.int8\.onx .did you mean 'street.int8.onnx'"):
        compare(file / "street.int8.onx", file)
    with pytest.raises(InputError, match="nowhere is no bundle, nothing in one, and no measurements"):
        compare(tmp_path / "nowhere", tmp_path / "nowhere")
    with pytest.raises(InputError, match="pairs 0"):
        compare(bundle, bundle, settings=Settings(pairs=0))


def test_people_read_the_verdict_before_the_numbers_it_rests_on() -> None:
    rows = [comparison([A], [B]), comparison([A], [row(1.0, 2.0)])]
    text = compare_table({"a": "one", "b": "two", "comparisons": rows, "left_out": ["x: no twin"], "measurements": ""})
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0:2] == ["A one", "B two"]
    assert lines[5:7] == [
        "onnx int8 -> ternary 2 6.65 3.33 0.500 0.500 to 0.500 (96.9 % of such hold the true one; 6 pairs)",
        "B is FASTER: it takes 50.0 % less time",
    ]
    assert lines[8].startswith("NO VERDICT: they were not measured in one run")
    assert lines[-1] == "left out: x: no twin"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac would load the Core ML file, which is no real one")
def test_real_files_are_run_in_pairs_and_their_blocks_compare_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """8 products of 512 x 512 matrices are 2 GFLOP, two of 64 x 64 next to nothing: no noise hides that."""
    a, b, out = write_bundle(_new(tmp_path / "a")), write_bundle(_new(tmp_path / "b")), tmp_path / "blocks.jsonl"
    heavy = b / "tiny.float32.onnx"
    write_onnx(heavy, num_products=8)
    description = json.loads((b / "bundle.json").read_text())
    description["artifacts"][0] |= {"sha256": checksum(heavy), "bytes": size_bytes(heavy)}
    (b / "bundle.json").write_text(json.dumps(description))
    words = ["--pairs", "6", "--seconds", "0.05", "--cooldown", "0", "--out", str(out), "--json", "--quiet"]
    assert main(["bench", "compare", str(a), str(b), *words]) == 0
    result = json.loads(capsys.readouterr().out)
    (found,) = result["comparisons"]
    assert (found["verdict"], found["num_pairs"]) == ("slower", 6)
    assert "Apple" in result["left_out"][0]
    assert [len(measured.round_sizes) for measured in read_measurements(out)] == [6, 6]
    light, slow = read_measurements(out)
    assert comparison([light], [slow])["ratios"] == pytest.approx(found["ratios"])


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder
