"""The largest of many enlarged maps at each pixel, computed only where the map before enlargement leaves it open.

An enlarged value is a convex combination of four neighbouring logits, the corners of its cell. A slot that wins at all
four wins everywhere between them, so cells inside a segment are filled. Only those on a border are enlarged, and only
for the slots that can reach the top there. The result equals the argmax of the enlarged maps bit by bit: rounding keeps
order (x <= y gives fl(x) <= fl(y)), and where a tie would go to the other slot, a cell is filled only if more than
rounding errors lies between the two. PP-MobileSeg (Tang et al., arXiv 2304.05152) enlarges only classes that are
present; this enlarges only where they meet.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeseg.structures import VOID_SLOT

_SLACK = np.float32(2.0**-20)
"""Above the rounding errors of two enlarged values, relative to their corners: 4 roundings of 2^-24 each."""
_TINY = np.float32(2.0**-100)
"""Where that holds no more, as numbers become denormal."""
_LOWEST = np.finfo(np.float32).min
_CELLS = 2048
"""Open cells at a time; bounds the memory where borders are everywhere."""

Logits = NDArray[np.float32]


def enlarged_argmax(logits: Logits, slots: NDArray[np.integer], factor: int) -> NDArray[np.uint8]:
    """The slot with the largest logit at each pixel of the bilinearly enlarged maps, the first one on ties.

    Args:
        logits: (S, h, w) float32. A slot whose enlarged value is NaN or -inf does not win there.
        slots: (S,) ascending numbers below 255.
        factor: 1, 2 or 4; `upsample_bilinear` of edgeseg.merge says how.

    Returns:
        (h factor, w factor) uint8 of `slots`, 255 where no slot wins.
    """
    if len(slots) == 0:
        return np.full((logits.shape[1] * factor, logits.shape[2] * factor), VOID_SLOT, dtype=np.uint8)
    winner, is_clear = _winners(logits)
    number = np.full(VOID_SLOT + 1, VOID_SLOT, dtype=np.uint8)
    number[: len(slots)] = slots
    if factor == 1:
        return number[winner]
    height, width = winner.shape
    cell = np.where(is_clear, winner, VOID_SLOT).astype(np.uint8, copy=False)
    cell = np.where(cell == np.concatenate([cell[1:], cell[-1:]]), cell, VOID_SLOT)
    cell = np.where(cell == np.concatenate([cell[:, 1:], cell[:, -1:]], axis=1), cell, VOID_SLOT)
    # Output pixels come in tiles of factor x factor between neighbouring centres; the outermost stick out by half.
    rows, columns = np.maximum(np.arange(-1, height), 0), np.maximum(np.arange(-1, width), 0)
    tiles = cell[rows][:, columns]
    enlarged = np.empty((height + 1, factor, width + 1, factor), dtype=np.uint8)
    enlarged[:] = tiles[:, None, :, None]
    y, x = np.nonzero(tiles == VOID_SLOT)
    for part in range(0, len(y), _CELLS):
        chosen = slice(part, part + _CELLS)
        enlarged.transpose(0, 2, 1, 3)[y[chosen], x[chosen]] = _contest(logits, y[chosen], x[chosen], factor)
    half = factor // 2
    flat = enlarged.reshape((height + 1) * factor, (width + 1) * factor)
    return number[flat[half:-half, half:-half]]


def neighbours(length: int, factor: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """For each output position: the input below it, the next one, and the weight of the next one."""
    position = np.maximum((np.arange(length * factor) + 0.5) / factor - 0.5, 0)
    first = position.astype(np.int64)
    return first, np.minimum(first + 1, length - 1), (position - first).astype(np.float32)


def _winners(logits: Logits) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Place of the largest logit, and whether all before it are lower by more than rounding errors."""
    winner = np.full(logits.shape[1:], VOID_SLOT, dtype=np.uint8)
    best = np.full(logits.shape[1:], -np.inf, dtype=np.float32)
    before = best.copy()
    for place, logit in enumerate(logits):  # one at a time stays in the cache
        is_better = logit > best
        np.copyto(winner, np.uint8(place), where=is_better)
        np.copyto(before, best, where=is_better)
        np.copyto(best, logit, where=is_better)
    before = np.maximum(before, _LOWEST)
    with np.errstate(over="ignore", invalid="ignore"):
        is_clear = best - before > _SLACK * np.maximum(np.abs(best), np.abs(before)) + _TINY
    return winner, is_clear


def _contest(logits: Logits, y: NDArray[np.int64], x: NDArray[np.int64], factor: int) -> NDArray[np.uint8]:
    """Winners of these tiles, (M, factor, factor) places, 255 for none."""
    (top, bottom, down), (left, right, across) = (
        _corners(place, length, factor) for place, length in zip((y, x), logits.shape[1:], strict=True)
    )
    width = logits.shape[2]
    where = np.stack([top * width + left, bottom * width + left, top * width + right, bottom * width + right])
    corners = logits.reshape(len(logits), -1).take(where, axis=1)  # (S, 4, M)
    can_win = _can_win(corners)
    by_count = np.argsort(-can_win.sum(axis=0), kind="stable")  # so that the tiles of a turn are the first ones
    tile, slot = np.nonzero(can_win.T[by_count])  # slots ascending
    turn = np.arange(len(tile)) - np.searchsorted(tile, tile)
    by_turn = np.argsort(turn, kind="stable")
    tile, slot = tile[by_turn], slot[by_turn].astype(np.uint8)
    source = by_count[tile]
    values = corners[slot, :, source].T[:, :, None]  # (4, P, 1)
    one, down, across = np.float32(1), down[source], across[source][:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        at_left = values[0] * (one - down) + values[1] * down  # (P, factor)
        at_right = values[2] * (one - down) + values[3] * down
        value = at_left[:, :, None] * (one - across) + at_right[:, :, None] * across
    winner = np.full((len(y), factor, factor), VOID_SLOT, dtype=np.uint8)
    best = np.full(winner.shape, -np.inf, dtype=np.float32)
    begin = 0
    for count in np.bincount(turn).tolist():
        own, end = slice(count), begin + count
        is_better = value[begin:end] > best[own]
        np.copyto(winner[own], slot[begin:end, None, None], where=is_better)
        np.copyto(best[own], value[begin:end], where=is_better)
        begin = end
    in_order = np.empty_like(winner)
    in_order[by_count] = winner
    return in_order


def _corners(
    tile: NDArray[np.int64], length: int, factor: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Along one axis: both inputs of each tile, and the weights of the second; (M,), (M,), (M, factor)."""
    first = np.maximum(tile - 1, 0)
    weight = ((np.arange(factor) + 0.5) / factor).astype(np.float32)
    return first, np.minimum(first + 1, length - 1), np.where(tile[:, None] == 0, np.float32(0), weight)


def _can_win(corners: Logits) -> NDArray[np.bool_]:
    """(S, M): slots that are not below another one's lowest corner with their highest."""
    low, high = corners.min(axis=1), corners.max(axis=1)
    sure = np.where(high < np.inf, low, -np.inf).astype(np.float32, copy=False).max(axis=0)  # NaN is not below inf
    with np.errstate(over="ignore", invalid="ignore"):
        below: NDArray[np.bool_] = high + _SLACK * np.abs(high) + _TINY < sure - _SLACK * np.abs(sure)
    return ~below
