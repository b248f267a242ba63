"""A folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from edgeseg.full_disk import FULL_DISK, not_written
from edgeseg.structures import InputError

_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Gives a hidden folder beside `out`; its subfolder `whole` takes the place of `out` when all went well.

    The hidden folder goes away on every way out, SIGTERM and Ctrl-C included; what was at `out` is replaced in the last
    moment, or stays.

    Raises:
        InputError: The disk is full, or the place cannot be written.
    """
    aside = out.parent / f".{out.name}.{os.getpid()}"
    try:
        with _ended_by_sigterm():
            try:
                out.parent.mkdir(parents=True, exist_ok=True)
                (aside / "whole").mkdir(parents=True)
                yield aside
                _put(aside / "whole", out, aside / "replaced")
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        if error.errno in FULL_DISK:
            raise not_written(out, error) from error
        if error.errno in _REFUSED and str(error.filename or "").startswith(str(out.parent)):
            raise InputError(f"{out} cannot be written: {error.strerror}; give another --out") from error
        raise


def _put(whole: Path, out: Path, replaced: Path) -> None:
    if out.exists():
        out.rename(replaced)
    try:
        whole.rename(out)
    except BaseException:
        if replaced.exists():
            replaced.rename(out)
        raise


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Makes SIGTERM an exception, so that what was begun is cleaned up; where signals are handled, the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
