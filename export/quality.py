"""Panoptic quality of a bundle's artifacts on images of the user's, beside torch's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgeseg.data.sets import open_dataset
from edgeseg.data.sets.layout import Dataset
from edgeseg.display import progress
from edgeseg.engine.evaluate import Predictor, evaluate, require_same_categories, torch_predictor
from edgeseg.export.bundle import WEIGHTS, Artifact, Bundle
from edgeseg.export.proof import ArtifactProof, Quality
from edgeseg.export.runtimes import get_runtime
from edgeseg.export.verify import to_merged
from edgeseg.quantize.integer_reference import integer_reference
from edgeseg.structures import Merged

QUALITY_FLOOR_POINTS = {"float32": 0.1}
"""Largest difference from torch's PQ, in points: a pixel that ties may decide whether an IoU is above a half."""

QUANTIZED_QUALITY_FLOOR_POINTS = 0.5
"""The same for every other precision; that is what a recipe promises to cost at most on the way to a phone."""


@dataclass(frozen=True)
class Scored:
    """Images to score on.

    Attributes:
        samples: Labelled images.
        where: Folder and split, for messages.
        num_images: How many of them, evenly spaced.
    """

    samples: Dataset
    where: str
    num_images: int


def open_scored(data: Path, data_format: str | None, split: str, num_images: int) -> Scored:
    """Opens a split of a data set.

    Args:
        data: Folder.
        data_format: Layout of it (docs/data.md); None = recognised.
        split: Of the folder.
        num_images: Evenly spaced part of it; 0 = all.

    Raises:
        InputError: No such data.
    """
    samples = open_dataset(data, split, data_format or "auto")
    count = len(samples) if num_images <= 0 else min(num_images, len(samples))
    return Scored(samples, f"{data}, split {split}", count)


def score_artifacts(
    bundle: Bundle,
    proofs: Sequence[ArtifactProof],
    networks: Mapping[str, nn.Module | None],
    scored: Scored,
    *,
    quiet: bool,
) -> list[Quality]:
    """PQ of torch in each precision, then of its artifacts; those that could not be run are left out.

    Args:
        bundle: Opened.
        proofs: Of all its artifacts, in the same order.
        networks: Torch's, by precision; None where there is none, and no difference then.
        scored: Images.
        quiet: Show no progress.

    Raises:
        InputError: The images have other categories than the network.
    """
    require_same_categories(bundle.categories, scored.samples.categories, scored.where)
    runnable = [a for a, proof in zip(bundle.artifacts, proofs, strict=True) if proof.verdict is not None]
    rows = []
    for precision in dict.fromkeys(artifact.precision for artifact in runnable):
        network, torchs = networks[precision], None
        if network is not None:
            predictor = torch_predictor(integer_reference(network), bundle.merge, bundle.categories)
            torchs = _score(predictor, bundle, scored, WEIGHTS, "torch", precision, quiet=quiet)
            rows.append(torchs)
        for artifact in runnable:
            if artifact.precision == precision:
                rows.append(_beside(_score_artifact(artifact, bundle, scored, quiet=quiet), torchs))
    return rows


def floor_points_of(precision: str) -> float:
    """Largest difference from torch's PQ that an artifact of this precision may have, in points."""
    return QUALITY_FLOOR_POINTS.get(precision, QUANTIZED_QUALITY_FLOOR_POINTS)


def _score_artifact(artifact: Artifact, bundle: Bundle, scored: Scored, *, quiet: bool) -> Quality:
    predict = get_runtime(artifact.runtime).load(bundle.path / artifact.file)
    is_thing = [category.is_thing for category in bundle.categories]

    def predictor(image: NDArray[np.uint8]) -> Merged:
        return to_merged(predict(np.ascontiguousarray(image)[None]), config=bundle.merge, is_thing=is_thing)

    return _score(predictor, bundle, scored, artifact.file, artifact.runtime, artifact.precision, quiet=quiet)


def _score(
    predictor: Predictor, bundle: Bundle, scored: Scored, file: str, runtime: str, precision: str, *, quiet: bool
) -> Quality:
    with progress(f"scoring {runtime} {precision}", scored.num_images, quiet=quiet) as advance:
        result = evaluate(
            predictor,
            scored.samples,
            size=bundle.image_size,
            categories=bundle.categories,
            max_images=scored.num_images,
            on_progress=lambda done, total: advance(1),
        ).all
    return Quality(file, runtime, precision, scored.num_images, result.pq, result.sq, result.rq)


def _beside(quality: Quality, torchs: Quality | None) -> Quality:
    if torchs is None:
        return quality
    return replace(
        quality,
        difference_points=100 * (quality.pq - torchs.pq),
        floor_points=floor_points_of(quality.precision),
    )
