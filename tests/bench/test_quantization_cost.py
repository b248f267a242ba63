"""The table of what quantization costs, and a tiny run of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseg.bench.quantization_cost import Args, Results, Row, main, table
from edgeseg.data.street import make_street


def test_a_cost_is_taken_against_the_float_network_of_the_same_start_seed_and_length() -> None:
    """Ternary: 62 - 61.5 = 0.5 and 60 - 60.3 = -0.3; int8 has no such float network: 50 - 49.9."""
    rows = [
        Row("a", 0, "float32", 0, "torch", 0.5),
        Row("a", 0, "float32", 30, "torch", 0.62),
        Row("a", 1, "float32", 30, "torch", 0.60),
        Row("a", 0, "ternary", 30, "torch", 0.615),
        Row("a", 1, "ternary", 30, "torch", 0.603),
        Row("a", 1, "int8", 10, "onnx", 0.499),
    ]
    assert table(rows).splitlines()[2:] == [
        "| float32 | 0 | torch | 50.00 ± one |  |  |",
        "| float32 | 30 | torch | 61.00 ± 1.4 |  |  |",
        "| ternary | 30 | torch | 60.90 ± 0.8 | +0.50, -0.30 | +0.10 |",
        "| int8 | 10 | onnx | 49.90 ± one | +0.10 | +0.10 |",
    ]


@pytest.mark.slow
def test_shipped_network_two_steps_and_nothing_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Float, float continued, ternary and int8 of the shipped street network; the second call only prints.

    The ternary recipe has what means nothing without grids, of which the float network has none.
    """
    recipe = tmp_path / "half.toml"
    recipe.write_text(
        'ternary = "twn"\nqat_steps = 5000\nqat_free_fraction = 0.5\nqat_precision = "bf16-mixed"\n'
        "learned_activation_steps = true\nqat_label_weight = 1.0\n"
    )
    make_street(tmp_path / "street", train=36, val=4, size=(128, 128), seed=2)
    args = Args(
        data=tmp_path / "street",
        out=tmp_path / "out",
        starts=("remax-t-street",),
        seeds=(3,),
        recipes=("int8-ptq", str(recipe)),
        qat_steps=2,
        runtimes=("onnx",),
        threads=1,
    )
    main(args)
    rows = Results(args.out / "results.jsonl").rows
    assert [(row.network, row.steps, row.seed, row.runtime) for row in rows] == [
        ("float32", 0, 0, "torch"),
        ("int8-ptq", 0, 3, "torch"),
        ("int8-ptq", 0, 3, "onnx"),
        ("float32", 2, 3, "torch"),
        ("half", 2, 3, "torch"),
        ("half", 2, 3, "onnx"),
    ]
    scores = {row.network: row.pq for row in rows if row.runtime == "torch" and row.steps in (0, 2)}
    assert scores["float32"] > 0.3
    assert scores["int8-ptq"] > 0.3
    first = capsys.readouterr().out
    main(args)
    assert capsys.readouterr().out == first
    assert Results(args.out / "results.jsonl").rows == rows
