"""How far a run is, and what follows from it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from edgeseg.config import TrainConfig


def learning_rate_factor(fraction: float, config: TrainConfig) -> float:
    """Linear warm-up, then polynomial decay to 0 (deeplab2's schedule), for a fraction 0..1 of the run."""
    if fraction < config.warmup_fraction:
        return max(fraction, 1e-3) / config.warmup_fraction
    return float((1.0 - fraction) ** config.poly_power) if fraction < 1.0 else 0.0


@dataclass
class Clock:
    """Counts a run in steps, or in minutes where a budget is set.

    Attributes:
        config: Says which.
        step: Steps done.
        seconds: Training time spent, without evaluations, over all sessions of the run.
        now: What tells the time, in seconds.
    """

    now = staticmethod(time.monotonic)

    config: TrainConfig
    step: int = 0
    seconds: float = 0.0
    _since: float = field(default_factory=time.monotonic, repr=False)

    @property
    def fraction(self) -> float:
        """Part of the run that is over, 0..1."""
        if self.config.minutes is not None:
            return min(1.0, self.seconds / (60.0 * self.config.minutes))
        return min(1.0, self.step / self.config.steps)

    @property
    def total_steps(self) -> int:
        """Length of the run; an estimate where the clock decides."""
        if self.config.minutes is None:
            return self.config.steps
        return max(self.step, round(self.step / max(self.fraction, 1e-6)))

    @property
    def seconds_left(self) -> float | None:
        """Estimate, None before the first step."""
        if self.config.minutes is not None:
            return max(0.0, 60.0 * self.config.minutes - self.seconds)
        return self.seconds / self.step * (self.config.steps - self.step) if self.step else None

    def start(self) -> None:
        """Begins to count time; call it after whatever should not count."""
        self._since = self.now()

    def tick(self) -> None:
        """One step is done."""
        now = self.now()
        self.seconds += now - self._since
        self._since = now
        self.step += 1
