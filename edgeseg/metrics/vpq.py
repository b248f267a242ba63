"""Video panoptic quality."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeseg.metrics.panoptic_quality import PanopticQuality, PQResult
from edgeseg.metrics.tubes import Tubes
from edgeseg.structures import Category, InputError

WINDOWS = (1, 2, 3, 4)
"""Frames a tube spans, as Cityscapes-VPS takes them; VIPSeg takes 1, 2, 4, 6, 8."""


@dataclass(frozen=True)
class VPQResult:
    """Means over the windows, and panoptic quality of the tubes of each length."""

    vpq: float
    things: float
    stuff: float
    per_window: Mapping[int, PQResult]

    def to_dict(self) -> dict[str, object]:
        """Plain values: vpq, things, stuff, and all, things and stuff per_window, by its length as a string."""
        windows = {
            str(length): {group: dict(vars(getattr(result, group))) for group in ("all", "things", "stuff")}
            for length, result in self.per_window.items()
        }
        return {"vpq": self.vpq, "things": self.things, "stuff": self.stuff, "per_window": windows}


class VideoPanopticQuality:
    """Panoptic quality of tubes, "Video Panoptic Segmentation" (Kim et al., CVPR 2020), averaged over tube lengths.

    For each length k every k consecutive labelled frames are one image as far as PQ goes: a segment id in them is one
    segment. The rules are those of Cityscapes-VPS and VIPSeg (github.com/mcahny/vps, tools/eval_vpq.py;
    github.com/VIPSeg-Dataset, eval_vpq_vspw.py), with void and crowds as in PQ. A sequence that is shorter than k has
    no tubes of length k.

    Args:
        categories: Of the data set.
        windows: Lengths k, each at least 1.
    """

    def __init__(self, categories: Sequence[Category], windows: Sequence[int] = WINDOWS) -> None:
        if not windows or min(windows) < 1 or len(set(windows)) < len(windows):
            raise InputError(f"windows of {list(windows)} frames; different lengths of at least 1 are wanted")
        self.quality = {length: PanopticQuality(categories) for length in windows}
        self._sequence: str | None = None
        self._recent: deque[Tubes] = deque(maxlen=max(windows))

    def add(self, sequence: str, frame: Tubes) -> None:
        """Adds the next frame of a sequence; sequences come one after the other, frames in their order.

        Raises:
            InputError: A segment id changes its category or crowd within the longest window.
        """
        if sequence != self._sequence:
            self._sequence = sequence
            self._recent.clear()
        self._recent.append(frame)
        frames = list(self._recent)
        for length, quality in self.quality.items():
            if length <= len(frames):
                tubes = Tubes()
                for part in frames[-length:]:
                    tubes += part
                quality.add(tubes.pair())

    def __add__(self, other: VideoPanopticQuality) -> VideoPanopticQuality:
        """Sums over the sequences of both, each whole in one of them."""
        first = next(iter(self.quality.values()))
        both = VideoPanopticQuality(first.categories, list(self.quality))
        both.quality = {length: quality + other.quality[length] for length, quality in self.quality.items()}
        return both

    def compute(self) -> VPQResult:
        """The quality of all windows so far.

        Raises:
            InputError: There is no sequence as long as a window.
        """
        results = {length: quality.compute() for length, quality in self.quality.items()}
        for length, result in results.items():
            if not result.all.n:
                raise InputError(
                    f"no sequence has {length} consecutive frames with segments; give shorter windows (--vpq-windows)"
                )
        vpq, things, stuff = (
            sum(getattr(result, group).pq for result in results.values()) / len(results)
            for group in ("all", "things", "stuff")
        )
        return VPQResult(vpq, things, stuff, results)
