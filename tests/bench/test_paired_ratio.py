"""The interval of a paired ratio: closed forms, SciPy's test as another implementation, and noise of known kind."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeseg.bench.paired_ratio import paired_ratio

PAIRS, TRIALS = 12, 1000
TIMES = st.lists(st.floats(0.1, 1000), min_size=6, max_size=14)


@pytest.mark.parametrize("num_pairs, outside", [(6, 1), (8, 1), (9, 2), (12, 3), (15, 4), (17, 5), (20, 6), (25, 8)])
def test_the_interval_lies_between_the_ranks_of_published_tables(num_pairs: int, outside: int) -> None:
    """The sign test's two-sided 5 % values are one less: 0, 0, 1, 2, 3, 4, 5, 7."""
    ranks = [float(rank) for rank in range(1, num_pairs + 1)]
    found = paired_ratio([1.0] * num_pairs, ranks)
    assert (found.low, found.high) == (outside, num_pairs + 1 - outside)
    assert found.ratio == (num_pairs + 1) / 2
    odds = scipy.stats.binom.cdf(outside - 1, num_pairs, 0.5)
    assert found.confidence == pytest.approx(1 - 2 * odds, abs=1e-12)


def test_five_pairs_bound_nothing() -> None:
    found = paired_ratio([1.0] * 5, [0.5] * 5)
    assert (found.ratio, found.low, found.high, found.verdict) == (0.5, None, None, "none")


@pytest.mark.parametrize("num_pairs", [6, 9, 15, 25])
def test_the_interval_holds_the_ratios_that_scipys_binomial_test_does_not_refuse(num_pairs: int) -> None:
    rng = np.random.default_rng(num_pairs)
    a, b = np.exp(rng.normal(0, 0.2, (2, num_pairs)))
    found = paired_ratio(a.tolist(), b.tolist())
    assert found.low is not None
    assert found.high is not None
    for ratio, is_refused in (
        (found.low * 0.9999, True), (found.low * 1.0001, False), (found.high * 0.9999, False),
        (found.high * 1.0001, True),
    ):  # fmt: skip
        above = int((b / a > ratio).sum())
        assert (scipy.stats.binomtest(above, num_pairs).pvalue <= 0.05) == is_refused


@given(TIMES)
def test_what_slows_both_blocks_of_a_pair_leaves_the_answer_alone(slowdowns: list[float]) -> None:
    rng = np.random.default_rng(len(slowdowns))
    a, b = rng.uniform(1, 2, (2, len(slowdowns)))
    quiet, busy = paired_ratio(a.tolist(), b.tolist()), paired_ratio((a * slowdowns).tolist(), (b * slowdowns).tolist())
    assert [busy.ratio, busy.low, busy.high] == pytest.approx([quiet.ratio, quiet.low, quiet.high])


@given(TIMES)
def test_b_against_a_is_the_inverse_of_a_against_b(times: list[float]) -> None:
    one, other = paired_ratio([1.0] * len(times), times), paired_ratio(times, [1.0] * len(times))
    assert other.low is not None
    assert other.high is not None
    assert [one.low, one.high] == pytest.approx([1 / other.high, 1 / other.low])
    assert {one.verdict, other.verdict} in ({"faster", "slower"}, {"equal"}, {"none"})


def noisy_blocks(rng: np.random.Generator, ratio: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A machine that drifts between pairs and is hit now and then by a burst that doubles a block."""
    drift = np.exp(np.cumsum(rng.normal(0, 0.2, PAIRS)))
    noise = np.exp(rng.normal(0, 0.03, (2, PAIRS))) * np.where(rng.random((2, PAIRS)) < 0.1, 2.0, 1.0)
    return drift * noise[0], ratio * drift * noise[1]


def shares(ratio: float, seed: int) -> tuple[float, dict[str, float]]:
    """Share of intervals that hold the true ratio, and of each verdict."""
    rng = np.random.default_rng(seed)
    found = [paired_ratio(a.tolist(), b.tolist()) for a, b in (noisy_blocks(rng, ratio) for _ in range(TRIALS))]
    held = np.mean([row.low is not None and row.high is not None and row.low <= ratio <= row.high for row in found])
    verdicts = [row.verdict for row in found]
    return float(held), {verdict: verdicts.count(verdict) / TRIALS for verdict in sorted(set(verdicts))}


CONFIDENCE_OF_TWELVE = 1 - 2 * (1 + 12 + 66) / 2**12
CHANCE = 3.5 * math.sqrt(CONFIDENCE_OF_TWELVE * (1 - CONFIDENCE_OF_TWELVE) / TRIALS)


def test_under_drift_and_bursts_the_known_ratio_is_covered_as_often_as_promised() -> None:
    held, verdicts = shares(0.8, seed=1)
    assert held == pytest.approx(CONFIDENCE_OF_TWELVE, abs=CHANCE)
    assert verdicts["faster"] > 0.6
    assert "slower" not in verdicts


def test_equal_programs_are_seldom_called_different() -> None:
    held, verdicts = shares(1.0, seed=2)
    assert held == pytest.approx(CONFIDENCE_OF_TWELVE, abs=CHANCE)
    assert verdicts.get("faster", 0) + verdicts.get("slower", 0) < 1 - CONFIDENCE_OF_TWELVE + CHANCE


def test_on_a_quiet_machine_equal_programs_are_called_equal() -> None:
    rng = np.random.default_rng(3)
    a, b = np.exp(rng.normal(0, 0.004, (2, PAIRS)))
    assert paired_ratio(a.tolist(), b.tolist()).verdict == "equal"


@pytest.mark.parametrize("a, b", [([], []), ([1.0], [1.0, 2.0]), ([1.0, 0.0], [1.0, 1.0])])
def test_what_are_no_pairs_of_times_is_refused(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match="pairs of times above 0"):
        paired_ratio(a, b)
