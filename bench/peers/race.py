"""The driver's side of the race: each subject in turns with the reference, A B or B A, pair after pair."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import IO, Any, Self, TypeVar

import numpy as np

from edgeseg.bench.paired_ratio import PairedRatio, paired_ratio
from edgeseg.bench.peers.turns import Calls, Facts, Request, Turn
from edgeseg.bench.shell import PATIENCE
from edgeseg.config import config_from_dict
from edgeseg.structures import CheckError

T = TypeVar("T")

_SECONDS = 900.0 * PATIENCE  # for loading, and for a turn: the largest peers take seconds a call
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True)
class Contender:
    """A process that takes turns.

    Attributes:
        name: For people.
        runtime: What runs the network.
        precision: Of the file.
        command: Starts the process.
        environment: What it finds there besides ours.
    """

    name: str
    runtime: str
    precision: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One contender and one way to a map against the reference's network alone; times are medians of turns' medians.

    Attributes:
        name: As the contender says.
        runtime: As the contender says.
        precision: As the contender says.
        side: Height and width of the input.
        finish: The way to a map; empty where there is one only.
        facts: As the process said.
        clock: `cpu` or `wall`: what all times and ratios are taken from; the other one is in `turns`.
        network_ms: The network alone.
        prepare_ms: Photo to the network's input.
        finish_ms: The network's answers to the map.
        whole_ms: Photo to map.
        spread: Range of the turns' medians of `whole_ms` over their median.
        network_ratio: The network alone over the reference's, pair by pair.
        bytes_ratio: The network's input bytes to the map over the reference's network alone.
        whole_ratio: Photo to map over the reference's network alone.
        turns: Medians of each pair: clock -> reference, network, prepare, network within, finish, whole.
    """

    name: str
    runtime: str
    precision: str
    side: int
    finish: str
    facts: Facts
    clock: str
    network_ms: float
    prepare_ms: float
    finish_ms: float
    whole_ms: float
    spread: float
    network_ratio: PairedRatio
    bytes_ratio: PairedRatio
    whole_ratio: PairedRatio
    turns: dict[str, list[tuple[float, ...]]]


class Runner:
    """A contender's process while it lives; a context manager."""

    def __init__(self, contender: Contender, *, seconds: float = _SECONDS) -> None:
        """Args:
        contender: Started when the context begins.
        seconds: Longest wait for an answer.
        """
        self.contender, self._seconds = contender, seconds

    def __enter__(self) -> Self:
        """Starts it and waits until it has loaded.

        Raises:
            CheckError: It ended, or said something else, or nothing.
        """
        self._words: IO[bytes] = tempfile.TemporaryFile()
        settings = os.environ | _ONE_THREAD | dict(self.contender.environment)
        self._process = subprocess.Popen(
            self.contender.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            env=settings,
            text=True,
            start_new_session=True,
        )
        try:
            self.facts = self._read(Facts)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        """Ends it and what it started."""
        with self._process:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._words.close()

    def turn(self, request: Request) -> Turn:
        """One turn.

        Raises:
            CheckError: It ended, or said something else, or nothing.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(asdict(request)) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: reading says with which words
        return self._read(Turn)

    def _read(self, kind: type[T]) -> T:
        assert self._process.stdout is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        watch = threading.Timer(self._seconds, end)
        watch.start()
        line = self._process.stdout.readline()
        watch.cancel()
        if late.is_set():
            raise CheckError(f"{self.contender.name} did not answer within {self._seconds:.0f} s")
        if not line:
            raise CheckError(f"{self.contender.name} ended (exit {self._process.wait()}): {self._last_words()}")
        try:
            return config_from_dict(kind, json.loads(line), where=self.contender.name)
        except (ValueError, TypeError, AttributeError) as error:  # no JSON, no table, or another one
            raise CheckError(f"{self.contender.name} answered {line[:80]!r}, no {kind.__name__}: {error}") from error

    def _last_words(self) -> str:
        self._words.seek(0)
        lines = self._words.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"


def race(
    contender: Contender,
    reference: Runner,
    *,
    side: int,
    pairs: int,
    seconds: float,
    clock: str = "cpu",
    seed: int = 0,
    on_pair: Callable[[], None] = lambda: None,
) -> list[Row]:
    """Loads a contender and times it beside the reference.

    Args:
        contender: Who is compared.
        reference: Who it is compared with, running.
        side: Noted.
        pairs: Turns of each; which of a pair goes first is drawn.
        seconds: Processor time of a turn's stretch.
        clock: `cpu` or `wall`.
        seed: Of the order.
        on_pair: Called after each pair.

    Returns:
        A row for each way to a map.

    Raises:
        CheckError: A process failed.
    """
    draw = random.Random(seed)
    found: list[tuple[Turn, Turn]] = []
    with Runner(contender) as runner:
        for _ in range(pairs):
            turns: dict[Runner, Turn] = {}
            for which in draw.sample((reference, runner), 2):
                turns[which] = which.turn(Request(seconds, is_whole=which is runner))
            found.append((turns[reference], turns[runner]))
            on_pair()
        facts = runner.facts
    finishes = [calls.finish for calls in found[0][1].wholes]
    return [_row(contender, facts, side, name, i, found, clock) for i, name in enumerate(finishes)]


def summarize(reference: Turn, own: Turn, index: int, clock: str) -> tuple[float, ...]:
    """Medians of one pair: reference, network alone, prepare, network within, finish, whole."""
    whole = _rows(own.wholes[index], clock)
    stages = np.median(whole, axis=0).tolist()
    alone = (float(np.median(_rows(turn.network, clock))) for turn in (reference, own))
    return (*alone, *stages, float(np.median(whole.sum(axis=1))))


def _row(
    contender: Contender,
    facts: Facts,
    side: int,
    finish: str,
    index: int,
    found: Sequence[tuple[Turn, Turn]],
    clock: str,
) -> Row:
    turns = {name: [summarize(*pair, index, name) for pair in found] for name in ("cpu", "wall")}
    reference, network, prepare, within, finish_ms, whole = zip(*turns[clock], strict=True)
    return Row(
        name=contender.name,
        runtime=contender.runtime,
        precision=contender.precision,
        side=side,
        finish=finish,
        facts=facts,
        clock=clock,
        network_ms=float(np.median(network)),
        prepare_ms=float(np.median(prepare)),
        finish_ms=float(np.median(finish_ms)),
        whole_ms=float(np.median(whole)),
        spread=float((max(whole) - min(whole)) / np.median(whole)),
        network_ratio=paired_ratio(reference, network),
        bytes_ratio=paired_ratio(reference, np.add(within, finish_ms).tolist()),
        whole_ratio=paired_ratio(reference, whole),
        turns=turns,
    )


def _rows(calls: Calls, clock: str) -> Any:
    return np.asarray(calls.cpu_ms if clock == "cpu" else calls.wall_ms)
