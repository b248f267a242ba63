"""Other tasks than the panoptic one, asked of a bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgeseg.export.api import load_predictor
from edgeseg.structures import InputError
from edgeseg.tasks import TASKS
from tests.export.small import CONFIG, IMAGES, IS_THING, lively_network


@pytest.mark.parametrize("task", ["instance", "semantic"])
def test_the_file_that_leaves_the_merge_to_the_app_answers_as_torch_does(small: Path, task: str) -> None:
    slots = lively_network()(torch.from_numpy(IMAGES[0]).permute(2, 0, 1)[None].float())
    wanted = TASKS[task](slots[0][0].numpy(), slots[1][0].numpy(), config=CONFIG.merge, is_thing=IS_THING)  # type: ignore[index]
    found = load_predictor(small, precision="float32", task=task)(IMAGES[0])  # type: ignore[arg-type]
    assert (found.slot_map == wanted.slot_map).mean() > 0.999
    assert np.array_equal(found.slot_category, wanted.slot_category)


def test_a_graph_that_merges_has_no_slots_left_to_ask(small: Path) -> None:
    with pytest.raises(InputError, match="no artifact for int8 with merge app; it holds onnx float32 graph"):
        load_predictor(small, precision="int8", task="semantic")
