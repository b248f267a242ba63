"""How well an assumed fault explains what an artifact answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgeseg.config import MergeConfig
from edgeseg.export.golden import Golden
from edgeseg.export.reference import to_pixels, torch_logits
from edgeseg.export.runtimes import Predict
from edgeseg.export.verify import matched_slots, to_merged
from edgeseg.merge import merge_slots
from edgeseg.structures import Merged

_NOTHING_ALIKE = 3.0  # each of the three parts of a distance is 1 at most


class Answer(NamedTuple):
    """What an artifact or torch says about one image.

    Attributes:
        merged: After the panoptic merge.
        mask_logits: (N, h, w) float32, or None where the merge is in the graph.
    """

    merged: Merged
    mask_logits: NDArray[np.float32] | None


@dataclass(frozen=True)
class Setting:
    """What of an experiment an artifact's answers hang on.

    Attributes:
        merge: Thresholds.
        is_thing: By category.
        image_size: (height, width) of the network's input.
        mean: The normalisation's, RGB, of 0..255.
        std: The normalisation's, RGB, of 0..255.
    """

    merge: MergeConfig
    is_thing: Sequence[bool]
    image_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class Trial:
    """An assumed fault, and what is left when it is undone.

    Attributes:
        fault: Short name.
        cause: What would be wrong, in one clause.
        distance: Mean over images, see `distance`.
        share: Of equal pixels, mean over images; 0..1.
    """

    fault: str
    cause: str
    distance: float
    share: float


@dataclass(frozen=True)
class Case:
    """An artifact that failed, with everything that there is to find out why.

    Attributes:
        predict: The loaded artifact.
        outputs: What it gave for the golden images.
        goldens: Torch's answers for its precision, as they are stored; with logits where the network is at hand.
        others: Torch's answers for the same images in the bundle's other precisions.
        network: Torch's network for its precision, or None where it could not be built.
        setting: Thresholds, categories, normalisation.
    """

    predict: Predict
    outputs: Sequence[Mapping[str, NDArray[Any]]]
    goldens: Sequence[Golden]
    others: Mapping[str, Sequence[Golden]]
    network: nn.Module | None
    setting: Setting

    @property
    def answers(self) -> list[Answer]:
        """The artifact's."""
        return [self.read(outputs) for outputs in self.outputs]

    @property
    def wanted(self) -> list[Answer]:
        """Torch's, as stored."""
        return [Answer(golden.merged, golden.mask_logits) for golden in self.goldens]

    @property
    def with_logits(self) -> list[int]:
        """Golden images whose logits are known."""
        return [index for index, golden in enumerate(self.goldens) if golden.mask_logits is not None]

    def read(self, outputs: Mapping[str, NDArray[Any]]) -> Answer:
        """An artifact's outputs, batch of 1."""
        merged = to_merged(dict(outputs), config=self.setting.merge, is_thing=self.setting.is_thing)
        return Answer(merged, outputs["mask_logits"][0] if "mask_logits" in outputs else None)

    def run(self, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> list[Answer]:
        """The artifact on golden images that were changed."""
        images = [np.ascontiguousarray(change(golden.image)) for golden in self.goldens]
        return [self.read(self.predict(image[None])) for image in images]

    def torch(self, network: nn.Module, change: Callable[[torch.Tensor], torch.Tensor], *, first: int) -> list[Answer]:
        """Torch's network on the first golden images, their pixels changed: float32 (1, 3, H, W)."""
        answers = []
        for golden in self.goldens[:first]:
            class_logits, mask_logits = torch_logits(network, change(to_pixels(golden.image)))
            answers.append(Answer(self.merge(class_logits, mask_logits, self.setting.merge), mask_logits))
        return answers

    def merge(self, class_logits: NDArray[np.float32], mask_logits: NDArray[np.float32], config: MergeConfig) -> Merged:
        """The panoptic merge with other thresholds."""
        return merge_slots(class_logits, mask_logits, config=config, is_thing=self.setting.is_thing)

    def trial(self, fault: str, cause: str, answers: Sequence[Answer], wanted: Sequence[Answer]) -> Trial:
        """Holds answers against those that an assumed fault would lead to."""
        pairs = list(zip(answers, wanted, strict=True))
        apart = float(np.mean([distance(*pair) for pair in pairs]))
        return Trial(fault, cause, apart, float(np.mean([share_equal(a.merged, b.merged) for a, b in pairs])))


def distance(answer: Answer, wanted: Answer) -> float:
    """0 where two answers are the same, up to 3: pixels, scores and, where both are known, mask logits.

    The parts are the share of pixels that differ, the median difference of a score over matching segments, and the root
    mean square of the logits' difference over that of the wanted ones, 1 at most.
    """
    if answer.merged.slot_map.shape != wanted.merged.slot_map.shape:
        return _NOTHING_ALIKE
    matched = matched_slots(answer.merged, wanted.merged)
    found = np.flatnonzero(matched[: len(wanted.merged.slot_score)] >= 0)
    scores = np.abs(answer.merged.slot_score[matched[found]] - wanted.merged.slot_score[found])
    apart = 1 - share_equal(answer.merged, wanted.merged) + (float(np.median(scores)) if len(found) else 0.0)
    if answer.mask_logits is None or wanted.mask_logits is None:
        return apart
    if answer.mask_logits.shape != wanted.mask_logits.shape:
        return _NOTHING_ALIKE
    error = np.square(answer.mask_logits - wanted.mask_logits).mean() / np.square(wanted.mask_logits).mean()
    return apart + min(1.0, float(np.sqrt(error)))


def share_equal(merged: Merged, wanted: Merged) -> float:
    """Share of equal pixels; 0 where the maps' sizes differ."""
    if merged.slot_map.shape != wanted.slot_map.shape:
        return 0.0
    return float((merged.slot_map == matched_slots(merged, wanted)[wanted.slot_map]).mean())
