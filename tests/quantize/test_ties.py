"""Sums of two maps stay away from half-way between two integers."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from edgeseg.quantize import ActivationQuantizer, Recipe, calibrate, prepare
from edgeseg.quantize.ties import avoid_ties, distance_from_ties
from tests.quantize.tiny import Chain, images, warmed


def grid(step: float, zero_point: int) -> ActivationQuantizer:
    made = ActivationQuantizer()
    made.scale.fill_(step)
    made.zero_point.fill_(zero_point)
    return made


def test_distance_is_the_least_over_all_pairs_by_rational_numbers() -> None:
    left, right, out = grid(0.03, -20), grid(0.07, 5), grid(0.11, -3)
    steps = [Fraction(float(quantizer.scale)) for quantizer in (left, right, out)]
    nearest = Fraction(1, 2)
    for a in range(-128 + 20, 128 + 20):
        for b in range(-128 - 5, 128 - 5):
            total = (a * steps[0] + b * steps[1]) / steps[2]
            if -125 - 1 < total < 130 + 1:
                nearest = min(nearest, abs(total - total.__floor__() - Fraction(1, 2)))
    assert distance_from_ties(out, [left, right], has_relu=False) == pytest.approx(float(nearest), abs=1e-12)


def test_halves_are_ties_and_a_little_more_or_less_is_none() -> None:
    left, right, out = grid(0.5, 0), grid(0.25, 0), grid(0.5, 0)
    assert distance_from_ties(out, [left, right], has_relu=False) == 0.0


def test_calibration_leaves_sums_without_near_ties() -> None:
    """Seven hundred-thousandths are what the best of 101 steps has among some 30,000 pairs that count."""
    graph = prepare(warmed(Chain()), Recipe(name="test"), images(1, seed=1))
    calibrate(graph, [images(16, seed=2)])
    named = dict(graph.named_modules())
    (total,) = (node for node in graph.graph.nodes if node.op == "call_function" and "add" in str(node.target))
    sources = [named[str(source.target)] for source in total.all_input_nodes]
    (relu,) = total.users
    (end,) = relu.users
    out = named[str(end.target)]
    before = float(out.scale)
    assert distance_from_ties(out, sources, has_relu=True) > 3e-5  # type: ignore[arg-type]
    avoid_ties(graph)
    assert float(out.scale) == pytest.approx(before, rel=0.006)
    assert torch.isfinite(graph(images(1, seed=3))).all()
