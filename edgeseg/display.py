"""Live progress on standard error; standard output belongs to results."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

PLAIN_SECONDS = 10.0
"""Seconds between two plain lines where standard error is no terminal."""

_CONSOLE = Console(stderr=True, highlight=False)  # one for all: lines said during a live display appear above it
_BARS = "▁▂▃▄▅▆▇█"
_CURVE = 48  # losses in the curve, one character each


def say(message: str, *, quiet: bool = False) -> None:
    """Prints one message to standard error."""
    if not quiet:
        _CONSOLE.print(message, markup=False, soft_wrap=True)


class Advance(Protocol):
    """What `progress` gives to those who work."""

    def __call__(self, count: int, now: str = "") -> None:
        """Takes the number of units just done, and what is being done now if it has a name."""


@contextmanager
def progress(label: str, total: int, *, quiet: bool = False) -> Iterator[Advance]:
    """Shows how far a long job is.

    Args:
        label: What is being done.
        total: Units of work.
        quiet: Show nothing.

    Yields:
        A function to call with the number of units just done; steps that have a name are shown by it.
    """
    if quiet:
        yield lambda count, now="": None
    elif _CONSOLE.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=_CONSOLE, redirect_stdout=False) as bar:
            task = bar.add_task(label, total=total)
            yield lambda count, now="": bar.update(task, advance=count, description=escape(now) or label)
    else:
        done, ticker = 0, _Ticker()

        def advance(count: int, now: str = "") -> None:
            nonlocal done
            done += count
            if now or ticker.is_due(last=done >= total):
                say(f"{label}: {done}/{total} {now}".rstrip())

        yield advance


class TrainingDisplay:
    """Shows a running training: step, loss parts, PQ so far, learning rate, time left.

    A terminal gets a live panel; anything else one plain line about every 10 seconds, and one at the end.

    Args:
        title: Name of the run.
        quiet: Show nothing.
    """

    def __init__(self, title: str = "training", *, quiet: bool = False) -> None:
        self._title = title
        self._quiet = quiet
        self._live: Live | None = None
        self._ticker = _Ticker()
        self._curve: list[float] = []
        self._best_pq: float | None = None
        self._start: tuple[float, int] | None = None
        self._pending: str | None = None

    def __enter__(self) -> TrainingDisplay:
        if not self._quiet and _CONSOLE.is_terminal:
            self._live = Live(console=_CONSOLE, refresh_per_second=4, redirect_stdout=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        elif self._pending is not None:
            say(self._pending)
            self._pending = None

    def update(
        self,
        step: int,
        steps: int,
        losses: Mapping[str, float],
        *,
        pq: float | None,
        seconds_left: float | None,
        lr: float,
    ) -> None:
        """Shows one step's numbers; cheap enough to call at every step.

        Args:
            step: Steps done.
            steps: Steps of the whole run (an estimate where a clock ends it).
            losses: Weighted loss parts; their sum is the total.
            pq: Latest validation PQ in 0..1, None before the first evaluation.
            seconds_left: Estimate, None if unknown.
            lr: Current learning rate.
        """
        if self._quiet:
            return
        if self._start is None:
            self._start = (time.monotonic(), step)
        if pq is not None:
            self._best_pq = max(pq, self._best_pq or 0.0)
        total = sum(losses.values())
        if math.isfinite(total):  # the numbers below still show a nan; a curve cannot
            self._curve.append(total)
        if self._live is not None:
            self._live.update(self._panel(step, steps, losses, pq, seconds_left, lr))
            return
        line = self._line(step, steps, losses, pq, seconds_left, lr)
        is_due = self._ticker.is_due(last=step >= steps)
        self._pending = None if is_due else line
        if is_due:
            say(line)

    def _line(
        self,
        step: int,
        steps: int,
        losses: Mapping[str, float],
        pq: float | None,
        seconds_left: float | None,
        lr: float,
    ) -> str:
        parts = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
        return (
            f"{self._title}: step {step}/{steps}  loss {sum(losses.values()):.3f} ({parts})  "
            f"PQ {_pq(pq)}  lr {lr:.1e}  left {_clock(seconds_left)}"
        )

    def _panel(
        self,
        step: int,
        steps: int,
        losses: Mapping[str, float],
        pq: float | None,
        seconds_left: float | None,
        lr: float,
    ) -> RenderableType:
        began, first = self._start or (time.monotonic(), step)
        rate = (step - first) / max(time.monotonic() - began, 1e-9)
        head = Table.grid(padding=(0, 2))
        head.add_row(
            f"step [bold]{step}[/]/{steps}",
            f"PQ [bold green]{_pq(pq)}[/]" + (f" (best {_pq(self._best_pq)})" if self._best_pq is not None else ""),
            f"left [bold]{_clock(seconds_left)}[/]",
            f"{rate:.1f} steps/s",
            f"lr {lr:.1e}",
        )
        total = sum(losses.values())
        parts = Table.grid(padding=(0, 2))
        parts.add_row("loss", f"[bold]{total:.3f}[/]", Text(_sparkline(self._curve), style="cyan"))
        for name, value in losses.items():
            share = value / total if total > 0 else 0.0
            parts.add_row(f"  {name}", f"{value:.3f}", ProgressBar(total=1.0, completed=max(share, 0.0), width=24))
        bar = Table.grid(expand=True)  # a bare bar does not end its line
        bar.add_row(ProgressBar(total=max(steps, 1), completed=min(step, steps)))
        return Panel(Group(head, bar, parts), title=self._title, title_align="left", border_style="dim")


class _Ticker:
    """Says when the next plain line is due: at once, every `PLAIN_SECONDS`, at the end."""

    def __init__(self) -> None:
        self._next = 0.0

    def is_due(self, *, last: bool) -> bool:
        now = time.monotonic()
        if not last and now < self._next:
            return False
        self._next = now + PLAIN_SECONDS
        return True


def _sparkline(values: list[float]) -> str:
    """The values' course in at most `_CURVE` characters, each the mean of its stretch."""
    if not values:
        return ""
    width = min(_CURVE, len(values))
    edges = [len(values) * i // width for i in range(width + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    steps = len(_BARS) - 1
    return "".join(_BARS[round((mean - low) / (high - low) * steps) if high > low else 0] for mean in means)


def _pq(pq: float | None) -> str:
    return "-" if pq is None else f"{pq:.3f}"


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
