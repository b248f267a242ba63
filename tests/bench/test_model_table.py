"""The table of networks: what it refuses, what it keeps, what it measures."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgeseg.bench import model_table
from edgeseg.bench.model_table import Cell, Network, measure_table, read_cells
from edgeseg.cli import main
from edgeseg.config import ModelConfig, config_to_dict
from edgeseg.export.runtimes import Coverage
from edgeseg.readable_models import latency_table
from edgeseg.structures import InputError

PLAIN = ModelConfig(backbone="mobilenet_v3_small_minimalistic", num_queries=4)
NETWORK = Network("plain@64", PLAIN, (64, 64))


def cell(**change: object) -> Cell:
    kept = Cell("plain@64", config_to_dict(PLAIN), "onnx", "float32", 7, 11, bytes=5, ms=2.0, least_ms=1.0)
    return replace(kept, **{"spent_seconds": 30.0, "outside": {}, **change})


def table(out: Path, **change: object) -> list[dict[str, object]]:
    asked = {"is_thing": (True, False), "runtimes": ("onnx",), "precisions": ("float32",), "quiet": True}
    return measure_table([NETWORK], out, **{**asked, **change})  # type: ignore[arg-type]


def test_kept_cells_are_not_measured_again(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="pip install 'edgeseg[onnx]'")
    out = tmp_path / "models.jsonl"
    out.write_text(json.dumps(asdict(cell())) + "\n")
    (row,) = table(out)
    assert (row["name"], row["params"], row["macs"]) == ("plain@64", 7, 11)
    assert row["measurements"][0]["least_ms"] == 1.0  # type: ignore[index]
    assert len(read_cells(out)) == 1


def test_a_cell_of_another_shape_of_the_network_does_not_count(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="pip install 'edgeseg[onnx]'")
    out = tmp_path / "models.jsonl"
    out.write_text(json.dumps(asdict(cell(model=config_to_dict(replace(PLAIN, num_queries=5))))) + "\n")
    assert table(out, only_plan=True) == []


def test_plan_says_how_long_what_is_missing_takes_and_measures_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime", reason="pip install 'edgeseg[onnx]'")
    out = tmp_path / "models.jsonl"
    out.write_text(json.dumps(asdict(cell())) + "\n")
    table(out, precisions=("float32", "int8", "int8-full"), only_plan=True, quiet=False)
    assert "2 of 3 cells to measure, about 1 minutes (30 s each, as the 1 in " in capsys.readouterr().err
    assert len(read_cells(out)) == 1


def test_a_network_is_one_line_and_what_is_cut_or_refused_stands_at_its_end() -> None:
    cells = [
        cell(num_delegates=1),
        cell(precision="int8", least_ms=0.4, bytes=3_200_000, num_delegates=3, outside={"GELU": 2, "CAST": 1}),
        cell(runtime="litert", num_delegates=1),
        cell(runtime="litert", precision="int8", refused="too wide"),
    ]
    row = {"name": "plain@64", "params": 7_000_000, "macs": 11_000_000, "measurements": [asdict(c) for c in cells]}
    units, _, heads, rule, line = latency_table({"list": [row]}).splitlines()
    assert units.startswith("float32 -> int8")
    assert heads.startswith("| network | M params | G MACs | onnx ms | litert ms | onnx MB | litert MB |")
    assert rule.count("|") == heads.count("|") == line.count("|")
    assert "| 7.00 | 0.011 | 1.0 → 0.4 | 1.0 → – | 0.0 → 3.2 | 0.0 → – |" in line
    assert line.endswith("onnx int8: 1 CAST, 2 GELU; litert int8 refused: too wide |")
    assert latency_table({"list": []}) == "nothing measured yet"


@pytest.mark.parametrize(
    "medians, processes, ms, is_steady",
    [
        ([20.0, 20.8], 2, 20.4, True),
        ([30.0, 20.0, 25.0, 20.8, 10.0], 4, 20.4, True),
        ([20.0, 30.0, 40.0, 50.0, 60.0, 20.0], 5, 29.0, False),
    ],
)
def test_a_cell_is_timed_until_two_processes_agree(
    medians: list[float],
    processes: int,
    ms: float,
    is_steady: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = [SimpleNamespace(samples_ms=(each - 1, each, each + 9), runtime_version="9") for each in medians]
    monkeypatch.setattr(model_table, "measure", lambda *args, **options: [left.pop(0)])
    monkeypatch.setattr(
        model_table, "get_runtime", lambda name: SimpleNamespace(describe=lambda path: Coverage("", 1, {}, None))
    )
    artifact = tmp_path / "network"
    artifact.write_bytes(b"seven b")
    found = model_table._time(artifact, NETWORK, "onnx", "float32", 1.0)
    assert len(medians) - len(left) == processes
    assert (found["ms"], found["least_ms"], found["is_steady"]) == (ms, min(medians[:processes]) - 1, is_steady)


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "models.jsonl").write_text(json.dumps(asdict(cell())) + '\n{"network": "half')
    with pytest.raises(InputError, match="line 2, is no cell"):
        read_cells(tmp_path / "models.jsonl")


@pytest.mark.parametrize(
    "options, message",
    [
        (("--runtimes", "onx"), "did you mean 'onnx'"),
        (("--precisions", "int9", "--runtimes", "onnx"), "no quantization recipe named 'int9'"),
        (("--backbones", "mobilenet_v9"), "no backbone named 'mobilenet_v9'"),
        (("--heads", "kmacks"), "no head named 'kmacks'"),
        (("--configs", "remax-x"), "did you mean 'remax-"),
        (("--configs", "remax-t", "--heads", "kmax"), "--configs names whole networks"),
        pytest.param(
            ("--runtimes", "coreml"),
            "whose speed says nothing; leave it out",
            marks=pytest.mark.skipif(sys.platform == "darwin", reason="it is timed there"),
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is(
    options: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "table", "--out", str(tmp_path / "models.jsonl"), *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_network_is_measured_in_a_runtime_and_printed_as_a_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime", reason="pip install 'edgeseg[onnx]'")
    out = tmp_path / "models.jsonl"
    options = [
        "--backbones",
        PLAIN.backbone,
        "--heads",
        "kmax",
        "--sizes",
        "64",
        "--runtimes",
        "onnx",
        "--seconds",
        "0.2",
    ]
    assert main(["models", "table", "--out", str(out), "--json", "--quiet", *options]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == f"{PLAIN.backbone}+kmax@64"
    assert 1e6 < row["params"] < 2e6
    float32, int8 = row["measurements"]
    assert (float32["precision"], int8["precision"]) == ("float32", "int8")
    assert 0 < float32["least_ms"] <= float32["ms"]
    assert 0.2 < int8["bytes"] / float32["bytes"] < 0.7  # the queries' linears stay float
    assert int8["outside"] == {}
