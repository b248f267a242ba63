"""What becomes of memory that a training step frees."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt, from malloc.h
_LARGEST_KEPT = 1 << 30  # bytes


def keep_freed_memory() -> bool:
    """Has glibc keep freed memory for the next tensor, from now to the end of this process.

    A step frees tensors of megabytes and asks for as much again. By default each goes back to the kernel, and the next
    one's pages are cleared and mapped anew, 32,000 of them in a step on nuclei (docs/training.md). The process stays
    as large as it was at most. Set here rather than by MALLOC_ variables, which are read before Python starts.

    Returns:
        Whether it does; other systems and C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and bool(mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT) and mallopt(_TRIM_THRESHOLD, -1))
