"""The ratio of two times from neighbouring pairs, with an interval that chance alone seldom misses.

Each pair holds one block of A and one of B that ran side by side in an order drawn by chance, so that what a machine
did meanwhile hits both alike, and a pair's ratio lies above the true one as often as below. Nothing else is assumed: no
bell curve, and a burst that spoils a pair counts no more than any other pair. The interval is that of the sign test for
a median: between two of the sorted ratios (W. R. Thompson, "On confidence ranges for the median", 1936). Wilcoxon's
signed ranks give narrower ones on a quiet machine, and miss more differences under bursts.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

CONFIDENCE = 0.95
"""Share of intervals that hold the true ratio, at least."""

FEWEST_PAIRS = 6
"""With five all differences have one sign by chance alone in 2 of 32 cases, more often than 1 in 20."""

EQUAL = 0.02
"""Two programs whose whole interval is within this share of 1 are called equal."""

Verdict = Literal["faster", "slower", "equal", "none"]


@dataclass(frozen=True)
class PairedRatio:
    """How long B takes for each millisecond of A.

    Attributes:
        ratios: B over A, of each pair.
        ratio: Their median.
        low: Lower end of the interval; None with too few pairs for any.
        high: Upper end.
        confidence: Share of such intervals that hold the true ratio, exact; `CONFIDENCE` or more.
    """

    ratios: tuple[float, ...]
    ratio: float
    low: float | None = None
    high: float | None = None
    confidence: float | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether B is faster or slower than A, as good as equal, or none of these is shown."""
        if self.low is None or self.high is None:
            return "none"
        if self.low >= 1 / (1 + EQUAL) and self.high <= 1 + EQUAL:
            return "equal"
        if self.high < 1:
            return "faster"
        return "slower" if self.low > 1 else "none"


def paired_ratio(a_ms: Sequence[float], b_ms: Sequence[float]) -> PairedRatio:
    """Compares block i of A with block i of B.

    Args:
        a_ms: Time of each block of A, above 0.
        b_ms: Time of the block of B beside it.

    Raises:
        ValueError: Not pairs, none at all, or a time that is not above 0.
    """
    if len(a_ms) != len(b_ms) or not a_ms or min(*a_ms, *b_ms) <= 0:
        raise ValueError(f"{len(a_ms)} and {len(b_ms)} blocks: pairs of times above 0 wanted")
    ratios = tuple(b / a for a, b in zip(a_ms, b_ms, strict=True))
    ranks, ratio = sorted(ratios), statistics.median(ratios)
    odds_below = 0.0  # that at most `num_outside` of the pairs lie on one side of the true ratio
    num_outside = 0
    while (odds := odds_below + math.comb(len(ratios), num_outside) / 2 ** len(ratios)) <= (1 - CONFIDENCE) / 2:
        num_outside, odds_below = num_outside + 1, odds
    if num_outside == 0:
        return PairedRatio(ratios, ratio)
    return PairedRatio(ratios, ratio, ranks[num_outside - 1], ranks[-num_outside], 1 - 2 * odds_below)
