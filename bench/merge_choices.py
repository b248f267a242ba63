"""What the merge's enlargement buys and costs: panoptic quality and time for `upsample` 1, 2 and 4.

python -m edgeseg.bench.merge_choices RUN --data FOLDER

Runs the float checkpoint in torch once per image and merges its slots three ways with the numpy reference, in turns.
Times are CPU time of the merge alone.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, get_args, get_type_hints

import numpy as np
import torch
import tyro
from numpy.typing import NDArray

from edgeseg.bench.refusals import refusals
from edgeseg.config import MergeConfig
from edgeseg.data.sets import open_dataset
from edgeseg.engine.checkpoint import load_checkpoint
from edgeseg.engine.evaluate import evaluate
from edgeseg.merge import merge_slots
from edgeseg.models import SlotsModel
from edgeseg.structures import Category, Merged

Upsample = Literal[1, 2, 4]
CHOICES: tuple[Upsample, ...] = get_args(get_type_hints(MergeConfig)["upsample"])


@dataclass(frozen=True)
class ChoiceArgs:
    """What is compared."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder or float checkpoint."""
    data: Path
    """Folder of a data set; its val split is scored."""
    images: int = 0
    """Evenly spaced images to take; 0 = all."""


@dataclass(frozen=True)
class Row:
    """One choice.

    Attributes:
        upsample: Enlargement of the mask logits before the argmax.
        pq: Panoptic quality of all categories, 0..1.
        merge_ms: Median CPU time of the numpy merge.
    """

    upsample: Upsample
    pq: float
    merge_ms: float


class _Predictor:
    """Remembers the last image's slots, so that three merges cost one inference."""

    def __init__(self, model: SlotsModel, categories: Sequence[Category]) -> None:
        self.model = model
        self.is_thing = [category.is_thing for category in categories]
        self.slots: dict[bytes, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}

    def merging(self, config: MergeConfig, spent_ms: list[float]) -> Callable[[NDArray[np.uint8]], Merged]:
        def predict(image: NDArray[np.uint8]) -> Merged:
            class_logits, mask_logits = self._slots(image)
            started = time.process_time()
            merged = merge_slots(class_logits, mask_logits, config=config, is_thing=self.is_thing)
            spent_ms.append(1e3 * (time.process_time() - started))
            return merged

        return predict

    @torch.inference_mode()
    def _slots(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        key = image.tobytes()
        if key not in self.slots:
            slots = self.model(torch.from_numpy(image).permute(2, 0, 1)[None].float())
            self.slots[key] = slots[0][0].numpy().copy(), slots[1][0].numpy().copy()
        return self.slots[key]


def compare_choices(run: Path, data: Path, *, images: int = 0) -> list[Row]:
    """Scores and times every choice.

    Args:
        run: Run folder or float checkpoint.
        data: Folder of a data set.
        images: Of its val split; 0 = all.
    """
    checkpoint = load_checkpoint(run)
    config, categories = checkpoint.config, checkpoint.categories
    val = open_dataset(data, "val", "auto")
    predictor = _Predictor(checkpoint.model().deployable(), categories)
    rows = []
    for upsample in CHOICES:
        spent_ms: list[float] = []
        predict = predictor.merging(replace(config.merge, upsample=upsample), spent_ms)
        result = evaluate(predict, val, size=config.data.image_size, categories=categories, max_images=images)
        rows.append(Row(upsample, result.all.pq, statistics.median(spent_ms)))
    return rows


if __name__ == "__main__":
    with refusals():
        args = tyro.cli(ChoiceArgs, description=__doc__)
        torch.set_num_threads(1)
        for row in compare_choices(args.run, args.data, images=args.images):
            print(json.dumps(asdict(row)))
