"""Scores of a predicted COCO panoptic folder against the true one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgeseg.data.columns import text_at
from edgeseg.data.panoptic_json import PanopticJson, read_panoptic_json, read_segment_scores
from edgeseg.data.panoptic_png import OPAQUE_VOID, IdReader
from edgeseg.data.panoptic_table import AnnotationTable, ImageId
from edgeseg.data.parallel import in_processes
from edgeseg.metrics.evaluation import READ_PIXELS, Evaluation
from edgeseg.metrics.overlap import Comparison, Table
from edgeseg.structures import Category, InputError

_CHUNK = 32  # images that travel together and whose sums are added first, on any number of processes
Scores = Mapping[int, float]


@dataclass(frozen=True)
class _Task:
    """What is the same for every image."""

    categories: tuple[Category, ...]
    metrics: tuple[str, ...]
    pred_folder: Path
    gt_folder: Path


class _Image(NamedTuple):
    """One image's names and tables; scores only where a metric ranks by them."""

    image_id: int | str
    pred_png: str
    pred_table: Table
    gt_png: str
    gt_table: Table
    score: tuple[float, ...] | None


@dataclass(frozen=True)
class PredictedFolder:
    """A prediction and its truth, their JSON files read and found to list the same images.

    Attributes:
        truth: The true JSON.
        prediction: The predicted one.
        pred_json: Its path, for scores.
        pred_folder: PNGs of the prediction.
        gt_folder: PNGs of the truth.
    """

    truth: PanopticJson
    prediction: PanopticJson
    pred_json: Path
    pred_folder: Path
    gt_folder: Path

    @classmethod
    def open(cls, pred_json: Path, pred_folder: Path, gt_json: Path, gt_folder: Path) -> PredictedFolder:
        """Reads and checks both JSON files, no pixels; the prediction needs no categories of its own.

        Raises:
            InputError: A file is bad, or the two do not list the same images.
        """
        truth = read_panoptic_json(gt_json)
        prediction = read_panoptic_json(pred_json, truth.categories)
        if not truth.annotations:
            raise InputError(f"{gt_json} has no annotations; there is nothing to evaluate")
        for ours, theirs, path in ((truth, prediction, pred_json), (prediction, truth, gt_json)):
            missing = ours.annotations.keys() - theirs.annotations.keys()
            if missing:
                raise InputError(
                    f"{path} has no annotation of image_id {min(missing, key=str)!r} ({len(missing)} missing); "
                    "prediction and ground truth must list the same images"
                )
        return cls(truth, prediction, pred_json, pred_folder, gt_folder)

    def __len__(self) -> int:
        return len(self.truth.annotations)

    def evaluate(
        self,
        metrics: Sequence[str] = (),
        *,
        num_workers: int = 0,
        on_progress: Callable[[int], None] | None = None,
    ) -> Evaluation:
        """Scores the prediction; the result does not depend on the number of processes, to the last bit.

        Args:
            metrics: Keys of `METRICS` beside panoptic quality.
            num_workers: Processes; 0 works in this one.
            on_progress: Called with the number of images just done.

        Raises:
            InputError: A PNG is bad or does not go with its table; the image is named.
        """
        task = _Task(self.truth.categories, tuple(metrics), self.pred_folder, self.gt_folder)
        images = self._images(read_scores(self.pred_json) if "ap" in metrics else None)
        chunks = iter(lambda: list(itertools.islice(images, _CHUNK)), [])
        total = Evaluation(self.truth.categories, metrics)
        for part, count in in_processes(_evaluate, task, chunks, num_workers=num_workers, jobs_together=1):
            total += part
            if on_progress is not None:
                on_progress(count)
        return total

    def _images(self, scores: Mapping[int | str, Scores] | None) -> Iterator[_Image]:
        pred, gt = _Tables(self.prediction.annotations), _Tables(self.truth.annotations)
        for image_id in self.truth.annotations:
            pred_png, pred_table = pred[image_id]
            score = None if scores is None else tuple(map(scores[image_id].__getitem__, pred_table.ids[1:].tolist()))
            yield _Image(image_id, pred_png, pred_table, *gt[image_id], score)


class _Tables:
    """PNG names and tables by image id, cut out of arrays over all images."""

    def __init__(self, annotations: AnnotationTable) -> None:
        self._row_of, self._columns = annotations.row_of, annotations.columns
        ends = self._columns["segment_end"]
        starts = np.append(0, ends)[:-1]
        self._all = Table(
            np.insert(self._columns["segment_id"].astype(np.int64), starts, 0),
            np.insert(self._columns["category"].astype(np.int64), starts, -1),
            np.insert(self._columns["is_crowd"], starts, False),
        )
        self._bounds = np.append(0, ends + np.arange(1, len(ends) + 1))

    def __getitem__(self, image_id: ImageId) -> tuple[str, Table]:
        row = self._row_of[image_id]
        start, end = self._bounds[row : row + 2].tolist()
        ids, category, is_crowd = self._all
        table = Table(ids[start:end], category[start:end], is_crowd[start:end])
        return text_at(self._columns, "png_name", row), table


def read_scores(pred_json: Path) -> dict[int | str, Scores]:
    """Scores of the segments by image id and segment id; 1 where a segment has none, as ours are written.

    Args:
        pred_json: A file that `read_panoptic_json` takes.

    Raises:
        InputError: No segment has any, or a score is not a number in 0..1.
    """
    scores: dict[int | str, Scores] = {}
    num_scored = num_segments = 0
    for image_id, ids, stated in read_segment_scores(pred_json):
        known = dict.fromkeys(ids, 1.0)
        for segment_id, score in stated.items():
            if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
                raise InputError(
                    f"{pred_json}: segment {segment_id} of image {image_id!r} has score {repr(score)[:40]}; "
                    "a number in 0..1 is wanted"
                )
            known[segment_id] = float(score)
        num_segments += len(ids)
        num_scored += len(stated)
        scores[image_id] = known
    if num_segments and not num_scored:
        raise InputError(
            f'{pred_json} has no scores, by which AP ranks; write "score" into segments_info, or leave ap out'
        )
    return scores


def _evaluate(task: _Task, images: Sequence[_Image]) -> tuple[Evaluation, int]:
    evaluation, comparison = Evaluation(task.categories, task.metrics), Comparison(task.categories)
    pred_reader, gt_reader = IdReader(), IdReader()
    opaque = READ_PIXELS.isdisjoint(task.metrics)
    void = OPAQUE_VOID if opaque else 0
    for image in images:
        pred_path, gt_path = task.pred_folder / image.pred_png, task.gt_folder / image.gt_png
        pred_map, gt_map = pred_reader.read(pred_path, opaque=opaque), gt_reader.read(gt_path, opaque=opaque)
        if pred_map.shape != gt_map.shape:
            raise InputError(
                f"{pred_path} is {pred_map.shape[0]} x {pred_map.shape[1]} (height x width), "
                f"the ground truth {gt_map.shape[0]} x {gt_map.shape[1]}; predict at the photo's size"
            )
        try:
            pair = comparison.compare_tables(
                pred_map,
                image.pred_table,
                gt_map,
                image.gt_table,
                image_id=image.image_id,
                score=image.score,
                void=void,
            )
        except InputError as error:
            raise InputError(f"image {image.image_id!r} ({pred_path}, {gt_path}): {error}") from error
        evaluation.add(pair)
    return evaluation, len(images)
