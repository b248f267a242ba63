"""The table of what quantization costs."""

from __future__ import annotations

from edgeseg.bench.quantization_cost import Row, table


def test_a_cost_is_taken_against_the_float_network_of_the_same_seed_and_length() -> None:
    """Seed 0: 62 - 61.5 = 0.5; seed 1: 60 - 60.3 = -0.3; mean 0.1. The shorter float runs do not count."""
    rows = [
        *(Row(seed, "float32", 100, 0.1) for seed in (0, 1)),
        Row(0, "float32", 130, 0.62),
        Row(1, "float32", 130, 0.60),
        Row(0, "int8", 130, 0.615),
        Row(1, "int8", 130, 0.603),
    ]
    assert table(rows).splitlines()[-1] == "| int8 | 130 | 60.9 ± 0.8 | +0.5, -0.3 | +0.1 |"
    assert table(rows).splitlines()[2] == "| float32 | 100 | 10.0 ± 0.0 |  |  |"


def test_one_seed_has_no_spread() -> None:
    assert table([Row(0, "float32", 100, 0.5)]).splitlines()[-1] == "| float32 | 100 | 50.0 ± one seed |  |  |"
