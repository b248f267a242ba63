"""Panoptic quality of anything that turns an image into slots."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from edgeseg.config import MergeConfig
from edgeseg.data.loader import Samples, evenly_spaced
from edgeseg.data.transforms import letterbox, unletterbox_map
from edgeseg.merge import merged_to_segments
from edgeseg.metrics.evaluation import Evaluation
from edgeseg.metrics.overlap import Comparison
from edgeseg.metrics.panoptic_quality import PQResult
from edgeseg.structures import Category, InputError, Merged, Segment, TaskName
from edgeseg.tasks import TASKS

Predictor = Callable[[NDArray[np.uint8]], Merged]
"""(H, W, 3) uint8 RGB of the network's size -> merged slots."""


def torch_predictor(
    model: torch.nn.Module,
    merge: MergeConfig,
    categories: Sequence[Category],
    device: torch.device | str = "cpu",
    *,
    task: TaskName = "panoptic",
) -> Predictor:
    """Runs a slots model in eval mode and the reference merge, or what answers another task."""
    is_thing = np.array([category.is_thing for category in categories])

    @torch.inference_mode()
    def predict(image: NDArray[np.uint8]) -> Merged:
        batch = torch.from_numpy(image).to(device).permute(2, 0, 1)[None].float()
        slots = model(batch.contiguous(memory_format=torch.channels_last))
        class_logits, mask_logits = slots[0][0].float().cpu().numpy(), slots[1][0].float().cpu().numpy()
        return TASKS[task](class_logits, mask_logits, config=merge, is_thing=is_thing)

    return predict


def segment_image(
    predictor: Predictor, image: NDArray[np.uint8], size: tuple[int, int], categories: Sequence[Category]
) -> tuple[NDArray[np.int32], tuple[Segment, ...]]:
    """Segments an image of any size.

    Args:
        predictor: Takes images of the network's size.
        image: (H, W, 3) uint8 RGB.
        size: The network's (height, width).
        categories: In order of their contiguous index.

    Returns:
        (H, W) int32 panoptic map with 0 = void, and its segment table.
    """
    fitted_image, fitted = letterbox(image, size)
    merged = predictor(fitted_image)
    height, width = image.shape[:2]
    slot_map = unletterbox_map(merged.slot_map, fitted, size, (height, width))
    return merged_to_segments(merged, slot_map, categories)


def evaluate(
    predictor: Predictor,
    samples: Samples,
    *,
    size: tuple[int, int],
    categories: Sequence[Category],
    max_images: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> PQResult:
    """Panoptic quality at the images' own size.

    Args:
        predictor: Takes images of the network's size.
        samples: Labelled images.
        size: The network's (height, width).
        categories: In order of their contiguous index.
        max_images: Evenly spaced part of the samples to take; 0 = all.
        on_progress: Called with (done, total).
    """
    evaluation = evaluate_metrics(
        predictor, samples, (), size=size, categories=categories, max_images=max_images, on_progress=on_progress
    )
    return evaluation.quality.compute()


def evaluate_metrics(
    predictor: Predictor,
    samples: Samples,
    metrics: Sequence[str],
    *,
    size: tuple[int, int],
    categories: Sequence[Category],
    max_images: int = 0,
    rank: int = 0,
    world_size: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Like `evaluate`, with more metrics.

    Args:
        predictor: Takes images of the network's size.
        samples: Labelled images.
        metrics: Keys of `edgeseg.metrics.evaluation.METRICS` beside panoptic quality.
        size: The network's (height, width).
        categories: In order of their contiguous index.
        max_images: Evenly spaced part of the samples to take; 0 = all.
        rank: Take every `world_size`-th of them, from this one on; the parts' results add up.
        world_size: Number of processes.
        on_progress: Called with (done, total).
    """
    evaluation, comparison = Evaluation(categories, metrics), Comparison(categories)
    num_slots = 0

    def noting_slots(image: NDArray[np.uint8]) -> Merged:
        nonlocal num_slots
        merged = predictor(image)
        num_slots = len(merged.slot_category)
        return merged

    count = len(samples) if max_images <= 0 else min(max_images, len(samples))
    indices = evenly_spaced(count, len(samples))[rank::world_size]
    for done, index in enumerate(indices, start=1):
        sample = samples[index]
        panoptic_map, segments = segment_image(noting_slots, sample.image, size, categories)
        evaluation.segments_beyond_slots += max(0, len(sample.segments) - num_slots)
        evaluation.add(
            comparison.compare(
                panoptic_map,
                segments,
                sample.panoptic_map,
                sample.segments,
                image_id=sample.image_id,
                score=[segment.score for segment in segments],
            )
        )
        if on_progress is not None:
            on_progress(done, len(indices))
    return evaluation


def require_same_categories(ours: Sequence[Category], theirs: Sequence[Category], where: str) -> None:
    """Refuses data whose categories are not those the network was trained on.

    Raises:
        InputError: Ids, names or things and stuff differ; the first difference is named.
    """
    mine, other = meanings(ours), meanings(theirs)
    for id_ in sorted(mine.keys() | other.keys()):
        if mine.get(id_) != other.get(id_):
            raise InputError(
                f"{where}: category {id_} is {other.get(id_, 'missing')}, the network was trained with "
                f"{mine.get(id_, 'none of that id')} (name, is_thing); evaluate on data with the same categories"
            )


def meanings(categories: Sequence[Category]) -> dict[int, tuple[str, bool]]:
    """What makes two sets of categories the same: name, and thing or stuff, by id."""
    return {category.id: (category.name, category.is_thing) for category in categories}
