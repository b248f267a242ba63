"""What XCTest prints about its tests: measured values and failures, of Apple's and of Linux' XCTest alike.

`PATH:LINE: Test Case '-[Module.Class test]' measured [Time, seconds] average: ..., values: [...], ...`; on Linux the
test is called 'Class.test'. Metrics of XCTClockMetric and XCTMemoryMetric have other names and units in the brackets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MEASURED = re.compile(
    r"Test Case '(?:-\[(?P<apple>[^\]]+)\]|(?P<linux>[^']+))' measured \[(?P<metric>[^\]]+), (?P<unit>[^\],]+)\] "
    r"average: (?P<average>[\d.]+), relative standard deviation: [^,]+, values: \[(?P<values>[^\]]*)\]"
)
_MS = {"seconds": 1000.0, "s": 1000.0, "ms": 1.0}


@dataclass(frozen=True)
class Measured:
    """One `measure` block and metric.

    Attributes:
        test: Class.test.
        metric: Such as `Time`, `Clock Monotonic Time`, `Memory Peak Physical`.
        unit: Such as `seconds`, `s`, `kB`.
        average: As printed, three digits after the point.
        values: Every repetition, six digits after the point.
    """

    test: str
    metric: str
    unit: str
    average: float
    values: tuple[float, ...]

    @property
    def values_ms(self) -> tuple[float, ...]:
        """The repetitions in milliseconds; empty where the metric is no time."""
        return tuple(_MS[self.unit] * value for value in self.values) if self.unit in _MS else ()


def parse_measured(log: str) -> list[Measured]:
    """Every measured line of a log, in its order.

    Raises:
        ValueError: A number is none.
    """
    return [
        Measured(
            (found["apple"] or found["linux"]).replace(" ", "."),
            found["metric"],
            found["unit"],
            float(found["average"]),
            tuple(float(value) for value in found["values"].split(",") if value.strip()),
        )
        for found in _MEASURED.finditer(log)
    ]
