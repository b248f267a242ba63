"""Which images belong together, and a stable split of them by hash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from edgeseg.structures import InputError


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A regular expression of the user's.

    Raises:
        InputError: It is none.
    """
    try:
        return re.compile(pattern)
    except re.error as error:
        raise InputError(f"--by {pattern!r} is no regular expression: {error}") from None


def pattern_group(name: str, pattern: re.Pattern[str]) -> str:
    """The group of a file name: the pattern's first parenthesis, or all that it matches.

    Raises:
        InputError: The pattern does not match.
    """
    match = pattern.search(name)
    found = match and (match[1] if pattern.groups else match[0])
    if found is None:
        raise InputError(f"--by {pattern.pattern!r} finds no group in the file name {name}; every image needs one")
    return found


def stem_group(name: str) -> str:
    """Without a pattern a file name without its suffix is a group of its own."""
    return PurePosixPath(name).with_suffix("").as_posix()


def hashed_split(groups: Sequence[str], *, val: float, seed: int) -> list[bool]:
    """Which images go to validation: those whose group's SHA-256 falls into the lowest `val` part.

    An image keeps its place when others come or go. The lowest hash goes to validation even where none falls into the
    part, and the highest never does, so that neither side is empty.

    Args:
        groups: One for each image.
        val: Share for validation, 0 .. 1; 0 gives none.
        seed: Draws other hashes.

    Raises:
        InputError: `val` is out of range, or all images are of one group.
    """
    if not 0 <= val < 1:
        raise InputError(f"--val {val:g} is outside 0 .. 1; the share of the images for validation is wanted")
    if val == 0:
        return [False] * len(groups)
    shares = {group: _share(f"{seed}:{group}") for group in groups}
    if len(shares) < 2:
        raise InputError("all images are of one group, which cannot be split; add images, or --val 0")
    lowest, highest = min(shares, key=lambda g: (shares[g], g)), max(shares, key=lambda g: (shares[g], g))
    chosen = {group for group, share in shares.items() if share < val or group == lowest} - {highest}
    return [group in chosen for group in groups]


def _share(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") / 2**64
