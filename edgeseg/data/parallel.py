"""One function over many files, in processes."""

from __future__ import annotations

import itertools
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, TypeVar

import cv2

S = TypeVar("S")
J = TypeVar("J")
R = TypeVar("R")

_CHUNK = 16  # jobs that travel together: small files make the trip dearer than the work
_shared: Any = None  # what this process was started with


def in_processes(
    function: Callable[[S, J], R], shared: S, jobs: Iterable[J], *, num_workers: int, jobs_together: int = _CHUNK
) -> Iterator[R]:
    """Results of `function(shared, job)` in the order of the jobs, whatever the number of processes.

    At most four chunks of jobs a process are under way, so memory does not grow with their number.

    Args:
        function: Of a module's top level.
        shared: Travels to each process once.
        jobs: Taken as they are needed.
        num_workers: Processes; 0 works in this one.
        jobs_together: Jobs in a chunk; 1 for long ones.

    Raises:
        Exception: What `function` raises first, in the order of the jobs.
    """
    if num_workers < 1:
        for job in jobs:
            yield function(shared, job)
        return
    context = multiprocessing.get_context("spawn")  # cv2's thread pool does not survive a fork
    pool = ProcessPoolExecutor(num_workers, mp_context=context, initializer=_start, initargs=(shared,))
    waiting: deque[Future[list[R]]] = deque()
    remaining = iter(jobs)
    try:
        while True:
            while len(waiting) < 4 * num_workers and (chunk := list(itertools.islice(remaining, jobs_together))):
                waiting.append(pool.submit(_each, function, chunk))
            if not waiting:
                return
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start(shared: Any) -> None:
    global _shared
    _shared = shared
    cv2.setNumThreads(1)


def _each(function: Callable[[S, J], R], chunk: list[J]) -> list[R]:
    return [function(_shared, job) for job in chunk]
