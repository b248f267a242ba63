"""Says what is probably wrong with an artifact that failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgeseg.export.bundle import size_bytes
from edgeseg.export.hypotheses import HYPOTHESES
from edgeseg.export.proof import Diagnosis
from edgeseg.export.reference import first_line
from edgeseg.export.runtimes import Predict, family
from edgeseg.export.trial import Case, Trial

EXPLAINED = 0.35
"""A fault is named if undoing it leaves at most this part of the distance to torch."""

_BEGINNINGS = {
    "executorch": ("an ExecuTorch program", 4, b"ET"),
    "litert": ("a LiteRT model", 4, b"TFL3"),
    "onnx": ("an ONNX model", 0, b"\x08"),
}
"""Name, offset and bytes that a runtime's files begin with."""


def diagnose(case: Case) -> Diagnosis:
    """Tries every assumed fault and names the one that leaves least to explain."""
    before = case.trial("", "", case.answers, case.wanted)
    best = _best(trial for hypothesis in HYPOTHESES for trial in hypothesis(case))
    if best.distance <= EXPLAINED * before.distance:
        evidence = f"with that undone {best.share:.4f} of the pixels are equal, as it is {before.share:.4f}"
        if abs(best.share - before.share) < 1e-3:  # it shows in scores or logits
            evidence = f"with that undone {best.distance:.2g} of a distance of {before.distance:.2g} is left"
        return Diagnosis(best.fault, f"{best.cause}: {evidence}")
    left_out = "" if case.network is not None else "; torch's network is not at hand: pixels and layers were not tried"
    return Diagnosis(
        "other weights or operators",
        "no single fault of pixels, map, categories, thresholds, scale or layer explains it (the closest, "
        f"{best.fault}, leaves {best.distance:.2g} of {before.distance:.2g}){left_out}: it was made of other weights "
        "than those in the bundle, or its converter changed an operator",
    )


def _best(trials: Iterator[Trial]) -> Trial:
    """The first of those that leave least; the rest is not tried once nothing is left."""
    best = next(trials)
    while round(best.distance, 3) > 0 and (trial := next(trials, None)) is not None:
        best = min(best, trial, key=lambda one: round(one.distance, 3))
    return best


def why_not_loaded(path: Path, runtime: str, error: Exception) -> Diagnosis:
    """Of a file that its runtime cannot load."""
    said = first_line(error)
    if path.is_file() and family(runtime) in _BEGINNINGS:
        kind, offset, mark = _BEGINNINGS[family(runtime)]
        head = path.read_bytes()[:16]
        if head[offset : offset + len(mark)] != mark:
            others = [name for name, at, begin in _BEGINNINGS.values() if head[at : at + len(begin)] == begin]
            looks = f"it begins like {others[0]}" if others else f"it begins with {head[:8].hex(' ') or 'nothing'}"
            return Diagnosis("wrong file", f"it is not {kind}, {looks} ({said})")
    return Diagnosis(
        "truncated or damaged file",
        f"it begins as it should, but its runtime cannot read its {size_bytes(path)} bytes to the end ({said})",
    )


def why_not_run(predict: Predict, size: tuple[int, int], error: Exception) -> Diagnosis:
    """Of a file that loads but refuses an image of the bundle's (height, width)."""
    for height, width in _other_sizes(size):
        try:
            predict(np.zeros((1, height, width, 3), np.uint8))
        except Exception:  # every runtime has its own; the next size may fit
            continue
        return Diagnosis("wrong size", f"it takes images of {height} x {width}, the bundle's are {size[0]} x {size[1]}")
    return Diagnosis("wrong input", f"it refuses an image of {size[0]} x {size[1]} ({first_line(error)})")


def _other_sizes(size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    height, width = size
    if height != width:
        yield width, height
    for factor in (0.5, 2.0, 0.25, 4.0):
        yield int(height * factor), int(width * factor)
    for side in range(32, 1025, 32):
        if (side, side) != size:
            yield side, side
