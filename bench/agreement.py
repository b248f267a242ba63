"""Whether an artifact is right on the device: its answers there against torch's, and its quality on labelled images."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.bench.measurement import Agreement
from edgeseg.bench.station import Deployed, Station
from edgeseg.bench.tensors import read_tensors, write_tensors
from edgeseg.data.loader import Samples
from edgeseg.engine.evaluate import Predictor, evaluate
from edgeseg.export.api import load_predictor
from edgeseg.export.bundle import Bundle
from edgeseg.export.golden import Golden, read_golden
from edgeseg.export.verify import compare, floor_of, judged_share
from edgeseg.merge import merged_to_segments
from edgeseg.metrics.panoptic_quality import PanopticQuality
from edgeseg.structures import VOID_SLOT, CheckError, InputError, Merged

_AT_ONCE = 32  # images that travel together


@dataclass(frozen=True)
class Split:
    """Labelled images to score an artifact on.

    Attributes:
        samples: All of them.
        num_images: How many to take, evenly spaced; 0 = all.
    """

    samples: Samples
    num_images: int


def agreement_on(
    station: Station, bundle: Bundle, deployed: Deployed, *, precision: str, threads: int, split: Split | None = None
) -> Agreement:
    """Runs the golden images, and a split if given, on a device.

    Args:
        station: The device.
        bundle: Holds torch's answers and the merge's settings.
        deployed: The artifact on the device.
        precision: Of the artifact.
        threads: Asked of the runtime.
        split: Labelled images; they are scored on this computer too, where the runtime is there.

    Raises:
        InputError: The bundle has no golden images for the precision.
        CheckError: The runner failed, or its answers have other shapes than torch's.
    """
    goldens = read_golden(bundle, precision)
    if not goldens:
        raise InputError(f"{bundle.path} holds no golden images for {precision}; export it again")
    answers = _Answers(station, deployed, threads)
    answers.ask([golden.image for golden in goldens])
    verdict = compare(
        answers.outputs,
        goldens,
        config=bundle.merge,
        is_thing=[category.is_thing for category in bundle.categories],
        engine=station.shell.name,
    )
    pq = pq_here = None
    if split is not None:
        images: list[NDArray[np.uint8]] = []
        pq_here = _pq_here(bundle, deployed, precision, split, images)
        answers.ask(images)
        pq = _pq(bundle, split, answers.merged)
    return Agreement(
        pixels_equal=verdict.pixels_equal,
        judged=judged_share(verdict, precision),
        floor=floor_of(precision),
        segments_found=verdict.segments_found,
        num_images=len(goldens),
        pq_to_torch=_pq_to_torch(bundle, goldens, answers.merged),
        pq=pq,
        pq_here=pq_here,
        num_pq_images=len(images) if split else 0,
    )


class _Answers:
    """What the device says about images, by their bytes."""

    def __init__(self, station: Station, deployed: Deployed, threads: int) -> None:
        self._station, self._deployed, self._threads = station, deployed, threads
        self._known: dict[bytes, Merged] = {}

    def ask(self, images: Sequence[NDArray[np.uint8]]) -> None:
        for start in range(0, len(images), _AT_ONCE):
            part = images[start : start + _AT_ONCE]
            with tempfile.TemporaryDirectory(prefix="edgeseg-bench-") as name:
                sent, got = Path(name, "images.safetensors"), Path(name, "answers.safetensors")
                write_tensors(sent, {"images": np.stack(part)})
                self._station.run(self._deployed, threads=self._threads, seconds=1, seed=0, images=sent, answers=got)
                for image, merged in zip(part, _merged(read_tensors(got), len(part)), strict=True):
                    self._known[image.tobytes()] = merged

    def merged(self, image: NDArray[np.uint8]) -> Merged:
        return self._known[image.tobytes()]

    def outputs(self, image: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        return {name: array[None] for name, array in self.merged(image[0])._asdict().items()}


def _merged(tensors: Mapping[str, NDArray[Any]], count: int) -> list[Merged]:
    kinds = {"slot_map": np.uint8, "slot_category": np.int32, "slot_score": np.float32}
    for name, kind in kinds.items():
        if name not in tensors or tensors[name].dtype != kind or len(tensors[name]) != count:
            raise CheckError(f"the runner's answers hold no {name} for {count} images; is it of this version?")
    return [Merged(*(tensors[name][index] for name in kinds)) for index in range(count)]


def _pq_to_torch(bundle: Bundle, goldens: Sequence[Golden], answer: Predictor) -> float | None:
    quality = PanopticQuality(bundle.categories)
    for golden in goldens:
        merged = answer(golden.image)
        ours = merged_to_segments(merged, merged.slot_map, bundle.categories)
        torchs = merged_to_segments(golden.merged, golden.merged.slot_map, bundle.categories)
        quality.update(*ours, *torchs)
    result = quality.compute().all
    return result.pq if result.n else None


def _pq_here(
    bundle: Bundle, deployed: Deployed, precision: str, split: Split, images: list[NDArray[np.uint8]]
) -> float | None:
    """The same artifact here; fills `images` with what a device must answer for the same score."""
    here: Callable[[NDArray[np.uint8]], Merged] | None
    try:
        here = load_predictor(bundle.path, runtime=deployed.runtime, precision=precision)
    except InputError:  # the runtime is not installed on this computer
        here = None
    height, width = (side // 4 * bundle.merge.upsample for side in bundle.image_size)
    empty = np.full(bundle.num_slots, -1, np.int32), np.zeros(bundle.num_slots, np.float32)
    nothing = Merged(np.full((height, width), VOID_SLOT, np.uint8), *empty)

    def predict(image: NDArray[np.uint8]) -> Merged:
        images.append(image)
        return here(image) if here else nothing

    pq = _pq(bundle, split, predict)
    return pq if here else None


def _pq(bundle: Bundle, split: Split, predictor: Predictor) -> float:
    result = evaluate(
        predictor, split.samples, size=bundle.image_size, categories=bundle.categories, max_images=split.num_images
    )
    return result.all.pq
