"""COCO's mask AP of the things in a panoptic prediction."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgeseg.metrics.overlap import PanopticPair, Side
from edgeseg.structures import Category

_AREAS = ("all", "small", "medium", "large")  # pycocotools' order


class _ImageMasks(NamedTuple):
    """One image's things as pycocotools' annotations without ids."""

    size: tuple[int, int]
    truths: list[dict[str, Any]]
    guesses: list[dict[str, Any]]


class AveragePrecision:
    """Average precision of masks over IoU 0.50:0.95, by pycocotools, at most 100 segments an image.

    The masks of a panoptic prediction don't overlap and weak candidates are gone, so its AP lies below that of the same
    network's instance output. Segments rank by their score. True void is background here, unlike for PQ: pycocotools
    knows crowds only.

    A category without a true thing is left out of the means, as pycocotools does; if none has any, all values are 0
    with n = 0, where pycocotools says -1.

    The masks of all images are kept, run-length encoded: memory grows by some kilobytes an image.
    """

    def __init__(self, categories: Sequence[Category]) -> None:
        self.categories = tuple(sorted(categories, key=lambda category: category.id))
        self._things = np.array([index for index, c in enumerate(self.categories) if c.is_thing], dtype=np.int64)
        self._images: dict[int | str, _ImageMasks] = {}

    def add(self, pair: PanopticPair) -> None:
        """Adds one image; its id must be a new one.

        Raises:
            ValueError: The prediction has no scores, or the image was added before.
        """
        if pair.score is None or pair.image_id in self._images:
            raise ValueError(f"image {pair.image_id!r} has no scores or was added before; AP needs each once, scored")
        truths, guesses = self._masks(pair.gt), self._masks(pair.pred)
        for row, entry in truths.items():
            entry["iscrowd"] = int(pair.is_crowd[row])
        for row, entry in guesses.items():
            entry["score"] = float(pair.score[row])
        height, width = pair.gt.panoptic_map.shape
        self._images[pair.image_id] = _ImageMasks((height, width), [*truths.values()], [*guesses.values()])

    def __add__(self, other: Self) -> Self:
        """The images of both, which must be different ones over the same categories."""
        if self.categories != other.categories or self._images.keys() & other._images.keys():
            raise ValueError("average precisions over different categories or the same images cannot be added")
        both = type(self)(self.categories)
        both._images = {**self._images, **other._images}
        return both

    def to_dict(self) -> dict[str, object]:
        """ap, ap50, ap75, by size, categories with a true thing as n, per_category by id; things only."""
        precision = self._precision()  # (T, R, K, A), -1 where a category has no true segment
        mean_of = [_mean(precision[..., area]) for area in range(len(_AREAS))]
        per_category = {
            str(self.categories[index].id): {"name": self.categories[index].name, "ap": _mean(precision[:, :, row, 0])}
            for row, index in enumerate(self._things)
        }
        return {
            "ap": mean_of[0],
            "ap50": _mean(precision[0, :, :, 0]),
            "ap75": _mean(precision[5, :, :, 0]),
            **{f"ap_{area}": value for area, value in zip(_AREAS[1:], mean_of[1:], strict=True)},
            "n": int((precision[0, 0, :, 0] > -1).sum()),
            "per_category": per_category,
        }

    def _masks(self, side: Side) -> dict[int, dict[str, Any]]:
        """Annotations of the things by their row."""
        columns = np.asfortranarray(side.panoptic_map)
        return {
            row: {
                "category_id": int(side.category[row]),
                "segmentation": rle.encode((columns == side.ids[row]).view(np.uint8)),
                "area": int(side.area[row]),
                "iscrowd": 0,
            }
            for row in np.flatnonzero(np.isin(side.category, self._things)).tolist()
        }

    def _precision(self) -> NDArray[np.float64]:
        """The table of pycocotools at its largest number of detections.

        Images are numbered by their ids, so the order in which they were added does not matter.
        """
        ordered = sorted(self._images, key=lambda id_: (isinstance(id_, str), id_))
        images, truths, guesses = [], [], []
        for number, image in enumerate((self._images[id_] for id_ in ordered), start=1):
            images.append({"id": number, "height": image.size[0], "width": image.size[1]})
            truths += [{**entry, "image_id": number} for entry in image.truths]
            guesses += [{**entry, "image_id": number} for entry in image.guesses]
        with contextlib.redirect_stdout(io.StringIO()):
            truth, guess = (_indexed(images, entries, self._things.tolist()) for entries in (truths, guesses))
            evaluation = COCOeval(truth, guess, "segm")
            evaluation.evaluate()
            evaluation.accumulate()
        precision: NDArray[np.float64] = evaluation.eval["precision"][..., -1]
        return precision


def _indexed(images: list[dict[str, Any]], annotations: list[dict[str, Any]], categories: list[int]) -> Any:
    coco = COCO()
    annotations = [{**entry, "id": number} for number, entry in enumerate(annotations, start=1)]
    coco.dataset = {"images": images, "annotations": annotations, "categories": [{"id": id_} for id_ in categories]}
    coco.createIndex()
    return coco


def _mean(precision: NDArray[np.float64]) -> float:
    counted = precision[precision > -1]
    return float(counted.mean()) if counted.size else 0.0
