"""Scores of predicted frame sequences against the true ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edgeseg.data.panoptic_json import Frame
from edgeseg.data.panoptic_png import IdReader
from edgeseg.data.panoptic_table import AnnotationRecord, ImageId
from edgeseg.data.parallel import in_processes
from edgeseg.metrics.folder import PredictedFolder
from edgeseg.metrics.overlap import Comparison
from edgeseg.metrics.stq import SegmentationTrackingQuality
from edgeseg.metrics.tubes import Tubes
from edgeseg.metrics.vpq import WINDOWS, VideoPanopticQuality
from edgeseg.structures import Category, InputError


@dataclass(frozen=True)
class SequenceScores:
    """Sums over sequences; those over parts of a set add up to those over the whole."""

    stq: SegmentationTrackingQuality
    vpq: VideoPanopticQuality

    def __add__(self, other: SequenceScores) -> SequenceScores:
        """Sums over the sequences of both."""
        return SequenceScores(self.stq + other.stq, self.vpq + other.vpq)

    def to_dict(self) -> dict[str, object]:
        """The results as plain values, under stq and vpq."""
        return {"stq": self.stq.compute().to_dict(), "vpq": self.vpq.compute().to_dict()}


class _Frame(NamedTuple):
    image_id: ImageId
    pred: AnnotationRecord
    gt: AnnotationRecord


class _Video(NamedTuple):
    name: str
    frames: tuple[_Frame, ...]


@dataclass(frozen=True)
class _Task:
    """What is the same for every sequence."""

    categories: tuple[Category, ...]
    windows: tuple[int, ...]
    pred_folder: Path
    gt_folder: Path


def evaluate_sequences(
    folder: PredictedFolder,
    *,
    windows: Sequence[int] = WINDOWS,
    num_workers: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> SequenceScores:
    """STQ and VPQ of a predicted folder whose segment ids are track ids.

    The true JSON says which image is which frame: `sequence` (text) and `frame` (a whole number) in its `images`, or
    VIPSeg's nesting. Frames count in the order of their numbers, which may have gaps.

    Args:
        folder: Prediction and truth.
        windows: Tube lengths of VPQ, in frames.
        num_workers: Processes, a sequence at a time; 0 works in this one.
        on_progress: Called with the number of frames just done.

    Raises:
        InputError: An image has no place in a sequence, or shares it; a segment id changes its category; a PNG is bad.
    """
    task = _Task(folder.truth.categories, tuple(windows), folder.pred_folder, folder.gt_folder)
    total = _no_scores(task)
    videos = _videos(folder)
    for part, count in in_processes(_score, task, videos, num_workers=num_workers, jobs_together=1):
        total += part
        if on_progress is not None:
            on_progress(count)
    return total


def _videos(folder: PredictedFolder) -> Iterator[_Video]:
    """Images by sequence, in order of their frames."""
    by_name: dict[str, dict[int, ImageId]] = {}
    for image_id in folder.truth.annotations:
        frame: Frame | None = folder.truth.frames.get(image_id)
        if frame is None:
            raise InputError(
                f"image {image_id!r} of the ground truth has no place in a sequence; its entry in images needs "
                '"sequence" (text) and "frame" (a whole number)'
            )
        numbers = by_name.setdefault(frame.sequence, {})
        if numbers.setdefault(frame.number, image_id) != image_id:
            raise InputError(
                f"images {numbers[frame.number]!r} and {image_id!r} are both frame {frame.number} of sequence "
                f"{frame.sequence!r}; each frame is one image"
            )
    truth, prediction = folder.truth.annotations, folder.prediction.annotations
    for name, numbers in by_name.items():
        yield _Video(name, tuple(_Frame(id_, prediction[id_], truth[id_]) for _, id_ in sorted(numbers.items())))


def _no_scores(task: _Task) -> SequenceScores:
    stq, vpq = SegmentationTrackingQuality(task.categories), VideoPanopticQuality(task.categories, task.windows)
    return SequenceScores(stq, vpq)


def _score(task: _Task, video: _Video) -> tuple[SequenceScores, int]:
    scores, comparison = _no_scores(task), Comparison(task.categories)
    pred_reader, gt_reader = IdReader(), IdReader()
    for image_id, pred, gt in video.frames:
        pred_map, gt_map = (
            pred_reader.read(task.pred_folder / pred.png_name),
            gt_reader.read(task.gt_folder / gt.png_name),
        )
        try:
            frame = Tubes.of_frame(comparison.compare(pred_map, pred.segments, gt_map, gt.segments))
            scores.stq.add(video.name, frame)
            scores.vpq.add(video.name, frame)
        except InputError as error:
            raise InputError(f"image {image_id!r} of sequence {video.name!r}: {error}") from error
    return scores, len(video.frames)
