"""A subject's side of the race: one process with one network, which is timed whenever it is told to be.

The process loads, answers with one line of facts, then answers each request with one line of times, until its standard
input ends. It needs numpy, and of edgeseg only the files in `SOURCES`, so that a peer runs in its own environment.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.config import config_from_dict

SOURCES = (
    "edgeseg/__init__.py",
    "edgeseg/config.py",
    "edgeseg/structures.py",
    *(f"edgeseg/bench/{name}.py" for name in ("__init__", "peers/__init__", "peers/turns", "peers/mask_transformers")),
)
"""What a process in another environment needs of edgeseg."""

PHOTO_SIZE = (480, 640)
"""Of the decoded photo that every subject gets, as most of COCO's are."""


@dataclass(frozen=True)
class Facts:
    """What a loaded subject says of itself.

    Attributes:
        version: What runs it.
        params: Parameters.
        macs: Multiply-accumulates of convolutions, linears and matrix products for one image.
        bytes: Of the file that is shipped; of the weights, where there is no file.
    """

    version: str
    params: int
    macs: int
    bytes: int


@dataclass(frozen=True)
class Subject:
    """A network with what stands around it in an app.

    Attributes:
        prepare: Decoded photo (480, 640, 3) uint8 RGB -> what the network takes.
        network: Runs.
        finishes: By name, ways from what the network returned to a map (h, w) of integers.
        facts: Of the network.
    """

    prepare: Callable[[NDArray[np.uint8]], Any]
    network: Callable[[Any], Any]
    finishes: Mapping[str, Callable[[Any], NDArray[Any]]]
    facts: Facts


@dataclass(frozen=True)
class Request:
    """A turn that is asked for.

    Attributes:
        seconds: Processor time of the timed calls of the network alone, and again of each way to a map.
        is_whole: Whether the ways to a map are timed too.
    """

    seconds: float
    is_whole: bool


@dataclass(frozen=True)
class Calls:
    """Timed calls, one after the other, each in stages: the network, or prepare, network and finish.

    Attributes:
        finish: Name of the way to a map; empty for the network alone.
        wall_ms: For each call, each stage's milliseconds on the clock.
        cpu_ms: The processor time that the whole process spent meanwhile.
    """

    finish: str
    wall_ms: tuple[tuple[float, ...], ...]
    cpu_ms: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Turn:
    """The answer to a request.

    Attributes:
        network: Calls of the network alone.
        wholes: Calls from the photo to the map, for each way there.
    """

    network: Calls
    wholes: tuple[Calls, ...]


def photo() -> NDArray[np.uint8]:
    """The decoded photo (480, 640, 3): noise, always the same."""
    return np.random.default_rng(0).integers(0, 256, (*PHOTO_SIZE, 3), dtype=np.uint8)


def serve(load: Callable[[], Subject]) -> None:
    """Loads, then takes turns until standard input ends; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    subject, image = load(), photo()

    def answer(record: Facts | Turn) -> None:
        print(json.dumps(asdict(record)), file=answers, flush=True)

    answer(subject.facts)
    for line in sys.stdin:
        answer(take_turn(subject, image, config_from_dict(Request, json.loads(line), where="request")))


def take_turn(subject: Subject, image: NDArray[np.uint8], request: Request) -> Turn:
    """Times the network alone, then each way to a map; a first call, which finds the caches cold, does not count."""
    fed = subject.prepare(image)
    subject.network(fed)
    alone = _calls("", [subject.network], fed, request.seconds)
    ways = subject.finishes.items() if request.is_whole else ()
    return Turn(
        alone,
        tuple(
            _calls(name, [subject.prepare, subject.network, finish], image, request.seconds) for name, finish in ways
        ),
    )


def _calls(name: str, stages: list[Callable[[Any], Any]], start: Any, seconds: float) -> Calls:
    """Calls until the processor time is used up, once at least."""
    wall: list[tuple[float, ...]] = []
    cpu: list[tuple[float, ...]] = []
    until = time.process_time() + seconds
    while not cpu or time.process_time() < until:
        value, marks = start, [(time.perf_counter(), time.process_time())]
        for stage in stages:
            value = stage(value)
            marks.append((time.perf_counter(), time.process_time()))
        steps = np.diff(np.array(marks), axis=0) * 1e3
        wall.append(tuple(steps[:, 0].tolist()))
        cpu.append(tuple(steps[:, 1].tolist()))
    return Calls(name, tuple(wall), tuple(cpu))
