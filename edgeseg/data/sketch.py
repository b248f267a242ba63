"""Quantiles of a stream in memory that does not grow with it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

ACCURACY = 0.01
"""Largest relative error of a quantile of large or broken numbers."""

EXACT = 4096
"""Whole numbers up to here are counted one by one."""

_GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_LOG = math.log(_GAMMA)


@dataclass
class Sketch:
    """Counts in buckets whose width grows with the value: a quantile is off by at most `ACCURACY` of itself.

    Source: DDSketch (Masson, Rim, Lee, VLDB 2019), with small whole numbers kept as they are. Its limit on buckets is
    not needed: pixel counts fill at most 5,000. Values are 0 or more; smallest and largest are exact.
    """

    count: int = 0
    total: float = 0.0
    smallest: float = math.inf
    largest: float = 0.0
    buckets: Counter[float] = field(default_factory=Counter)

    def add(self, value: float) -> None:
        """Counts a value in."""
        self.count += 1
        self.total += value
        self.smallest, self.largest = min(self.smallest, value), max(self.largest, value)
        self.buckets[_bucket(value)] += 1

    def quantile(self, q: float) -> float | None:
        """The value below which a part `q` of the values lies (that of rank floor(q (n - 1))); None without values."""
        if not self.count:
            return None
        rank, seen = math.floor(q * (self.count - 1)), 0
        for value in sorted(self.buckets):
            seen += self.buckets[value]
            if seen > rank:
                return min(max(value, self.smallest), self.largest)
        return self.largest

    def summary(self) -> dict[str, float | None]:
        """Mean, smallest, five quantiles and largest, as results print them; None without values."""
        row = {"mean": self.total / self.count if self.count else None}
        row["min"] = self.smallest if self.count else None
        row.update({f"p{round(100 * q)}": self.quantile(q) for q in (0.05, 0.25, 0.5, 0.75, 0.95)})
        row["max"] = self.largest if self.count else None
        return row


def _bucket(value: float) -> float:
    """The value that stands for the bucket."""
    if value == int(value) and value <= EXACT:
        return value
    return 2 * _GAMMA ** math.ceil(math.log(value) / _LOG) / (_GAMMA + 1)
