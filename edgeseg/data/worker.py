"""What a loader process sets before it loads."""

from __future__ import annotations

import ctypes
import signal
import sys

import cv2

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_KEPT_BYTES = {_TRIM_THRESHOLD: 1 << 30, _MMAP_THRESHOLD: 1 << 25}  # the second is the largest that it takes


def start_worker(worker: int) -> None:
    """Settings of a loader process; its number does not matter."""
    cv2.setNumThreads(0)  # one worker, one core
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to answer
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Tells glibc to reuse freed megabytes instead of giving them back to the system each time.

    Pictures are allocated and freed all the time, and each would fault some hundred pages in again. Other C libraries
    are left as they are.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(libc, "mallopt"):
        for parameter, value in _KEPT_BYTES.items():
            libc.mallopt(parameter, value)  # type: ignore[union-attr]
