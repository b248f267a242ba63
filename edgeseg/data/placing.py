"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeseg.structures import InputError


@contextmanager
def written_aside(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out` that takes its place at the end, or vanishes on an error.

    Raises:
        InputError: `out` exists and is not an empty folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not an empty folder; remove it or choose another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        aside.chmod(0o755)
        yield aside
        aside.replace(out)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def save_png(picture: NDArray[np.uint8], path: Path) -> None:
    """Writes (H, W, 3) uint8 RGB as a PNG, whole or not at all; an existing file is replaced."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    Image.fromarray(picture).save(aside, format="PNG")
    aside.replace(path)


def link_or_copy(source: Path, target: Path, *, copy: bool = False) -> None:
    """Makes `target` a second name of the file, or a copy where asked for or where the disks differ."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source = source.resolve()
    if not copy:
        try:
            os.link(source, target)
            return
        except FileExistsError:
            raise
        except OSError:  # another disk, or a file system without links
            pass
    shutil.copyfile(source, target)
