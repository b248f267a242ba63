"""Paths of a bundle that stay inside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def why_outside(path: Path, file: str) -> str:
    """Why a file that bundle.json lists is not opened.

    Args:
        path: The bundle's folder.
        file: As listed; it need not exist.

    Returns:
        Empty for a plain file or package inside the bundle with no link on the way to it or in it.
    """
    parts = PurePosixPath(file).parts
    if not parts or file != "/".join(parts) or ".." in parts or re.search(r"[\\:\x00-\x1f]", file):
        return "no plain relative path"
    places = [path.joinpath(*parts[: count + 1]) for count in range(len(parts))]
    return "a link" if any(place.is_symlink() for place in (*places, *_entries(places[-1]))) else ""


def _entries(path: Path) -> Iterator[Path]:
    return path.rglob("*") if path.is_dir() else iter(())
