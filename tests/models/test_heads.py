"""Every registered head: trains, learns, repeats itself, counts what it has no slots for, quantizes, exports."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edgeseg.config import ModelConfig
from edgeseg.export.graph import DeployedGraph
from edgeseg.export.program import export_program
from edgeseg.export.runtimes import OUTPUT_NAMES, get_runtime, is_available, runtime_names
from edgeseg.merge import merged_to_segments
from edgeseg.metrics.overlap import Comparison
from edgeseg.metrics.panoptic_quality import PanopticQuality
from edgeseg.models import HEADS, build_model
from edgeseg.quantize import RECIPES, deploy, prepare, quantize, set_phase
from edgeseg.quantize.fine_tune import Tuning
from edgeseg.quantize.fold import fold
from edgeseg.structures import Category, InputError, Segment
from edgeseg.tasks import TASKS
from tests.models.two_pictures import CATEGORIES, IS_THING, MERGE, SIZE, answers, config, learnt, train, two_pictures

SEMANTIC = {"lraspp", "deeplab_v3plus"}
"""Heads that do not tell things apart."""
LEARNT = [*((head,) for head in HEADS), ("kmax", "mean")]
"""Arguments of `learnt`."""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def regions(model: nn.Module) -> NDArray[np.uint8]:
    """(2, 16, 16) category of each pixel, 255 = void, after the panoptic merge."""
    maps = []
    for class_logits, mask_logits in zip(*(part.numpy() for part in answers(model)), strict=True):
        merged = TASKS["panoptic"](class_logits, mask_logits, config=MERGE, is_thing=IS_THING)
        maps.append(np.append(merged.slot_category, [255] * 256)[merged.slot_map])
    return np.stack(maps)


@pytest.mark.parametrize("head", HEADS)
def test_two_steps_reach_every_weight(head: str) -> None:
    model = train(head, 2)
    missed = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    # Dead ReLUs and gammas that start at 0 may leave some at exactly 0, but not whole layers.
    assert [name for name in missed if name.endswith("weight")] == []
    assert all(bool(weight.isfinite().all()) for weight in model.parameters())


@pytest.mark.parametrize("head", HEADS)
def test_the_seed_decides_every_weight(head: str) -> None:
    first, again, other = (train(head, 2, seed=seed).state_dict() for seed in (5, 5, 6))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("network", LEARNT, ids=" ".join)
def test_two_pictures_are_learnt_by_heart(network: tuple[str, ...]) -> None:
    """Nine labelled pixels in ten get their category; heads of instances reach PQ 0.7."""
    batch, model = two_pictures(), learnt(*network)
    rows = batch.label_map[:, 2::4, 2::4].numpy().astype(np.int32)
    truth = np.stack([table.numpy()[own] for table, own in zip(batch.categories, rows, strict=True)])
    labelled = rows >= 0
    assert (regions(model)[labelled] == truth[labelled]).mean() > 0.9
    if network[0] in SEMANTIC:
        return
    comparison, quality = Comparison(CATEGORIES), PanopticQuality(CATEGORIES)
    for table, own, class_logits, mask_logits in zip(batch.categories, rows, *answers(model), strict=True):
        merged = TASKS["panoptic"](class_logits.numpy(), mask_logits.numpy(), config=MERGE, is_thing=IS_THING)
        found = merged_to_segments(merged, merged.slot_map, CATEGORIES)
        true_segments = [segment(row + 1, CATEGORIES[index]) for row, index in enumerate(table.tolist())]
        quality.add(comparison.compare(*found, own + 1, true_segments))
    assert quality.compute().all.pq > 0.7


def segment(id_: int, category: Category) -> Segment:
    return Segment(id=id_, category_id=category.id, area=1, bbox=(0, 0, 1, 1))


@pytest.mark.parametrize("head", HEADS)
def test_segments_beyond_the_slots_are_counted_and_training_goes_on(head: str) -> None:
    """The first picture has 2 stuff regions, 2 boxes and a disc; three slots are left for it."""
    num_queries = 4 if head == "panoptic_deeplab" else 3
    model = train(head, 1, num_queries=num_queries)
    # panoptic_deeplab: 3 things, 2 slots beside those of stuff; semantic heads: the boxes share one.
    expected = {"panoptic_deeplab": 1, "lraspp": 1, "deeplab_v3plus": 1}.get(head, 2)
    assert model.head.beyond_slots(two_pictures().categories[0]) == expected
    assert model.head.beyond_slots(torch.tensor([3])) == 0


@pytest.mark.parametrize("network", LEARNT, ids=" ".join)
def test_ptq_makes_integers_that_still_know_the_pictures_and_come_back_from_their_state(
    network: tuple[str, ...],
) -> None:
    model, image = learnt(*network), two_pictures().image.float()
    quantized = quantize(model, RECIPES["int8-ptq"], calibration=[image])
    assert (regions(quantized) == regions(model)).mean() > 0.9
    deployed = deploy(quantized)
    torch.testing.assert_close(answers(deployed).mask_logits, answers(quantized).mask_logits, atol=1e-3, rtol=1e-3)
    again = prepare(learnt(*network), RECIPES["int8-ptq"], image[:1])
    again.load_state_dict(quantized.state_dict())
    set_phase(again, "train")
    assert torch.equal(answers(again).mask_logits, answers(quantized).mask_logits)


@pytest.mark.parametrize("network", LEARNT, ids=" ".join)
def test_an_int8_program_can_be_written_for_each_conversion(network: tuple[str, ...]) -> None:
    """A conversion reads its program from a file, and what is written must know its outputs by their names."""
    quantized = quantize(learnt(*network), RECIPES["int8-ptq"], calibration=[two_pictures().image.float()])
    graph = DeployedGraph(deploy(quantized), merge="app", config=MERGE, is_thing=IS_THING)
    for runtime_name in runtime_names():
        export_program(graph, get_runtime(runtime_name), SIZE).validate()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("head", HEADS)
def test_quantization_aware_training_reaches_every_weight(head: str) -> None:
    """An assignment lets no gradient through: what k-means layers assign by has a goal of its own."""
    model, image = learnt(head), two_pictures().image.float()
    recipe = replace(RECIPES["ternary"], qat_label_weight=0.0)
    tuning = Tuning(prepare(model, recipe, image[:1]), model, recipe, held_out=())
    tuning.take(image)
    weights = {name: value for name, value in tuning.prepared.named_parameters() if name.endswith("weight")}
    assert [name for name, value in weights.items() if value.grad is None or not value.grad.any()] == []


WHOLE = pytest.mark.skipif("EDGESEG_MATRIX" not in os.environ, reason="EDGESEG_MATRIX=1 exports every head everywhere")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("runtime_name", runtime_names())
@pytest.mark.parametrize(
    "network", [n if n[0] == ModelConfig().head else pytest.param(n, marks=WHOLE) for n in LEARNT], ids=" ".join
)
def test_every_runtime_gives_torchs_picture(network: tuple[str, ...], runtime_name: str, tmp_path: Path) -> None:
    runtime = get_runtime(runtime_name)
    if not is_available(runtime):
        pytest.skip(f"pip install 'edgeseg[{runtime.pip_extra}]'")
    pictures = two_pictures().image.permute(0, 2, 3, 1).numpy()
    float_network = fold(learnt(*network), torch.zeros(1, 3, *SIZE))
    int8_network = deploy(quantize(learnt(*network), RECIPES["int8-ptq"], calibration=[two_pictures().image.float()]))
    for precision, graph_module, floor in (("float32", float_network, 0.998), ("int8", int8_network, 0.95)):
        graph = DeployedGraph(graph_module, merge="app", config=MERGE, is_thing=IS_THING)
        path = tmp_path / f"{precision}{runtime.suffix}"
        runtime.convert(export_program(graph, runtime, SIZE), OUTPUT_NAMES["app"], path, precision=precision)
        predict = runtime.load(path)
        wanted = answers(graph_module)
        for image, picture in enumerate(pictures):
            outputs = predict(picture[None])
            maps = []
            for slots in ((outputs["class_logits"][0], outputs["mask_logits"][0]), (w[image].numpy() for w in wanted)):
                merged = TASKS["panoptic"](*slots, config=MERGE, is_thing=IS_THING)
                maps.append(np.append(merged.slot_category, [255] * 256)[merged.slot_map])
            assert (maps[0] == maps[1]).mean() >= floor, precision


def test_a_semantic_head_refuses_more_categories_than_the_slot_map_holds() -> None:
    with pytest.raises(InputError, match="254 fit the 8-bit slot map"):
        build_model(config("lraspp"), (True,) * 255, SIZE)


def test_maskconver_refuses_more_slots_than_cells() -> None:
    with pytest.raises(InputError, match="8 x 8 cells"):
        build_model(config("maskconver", num_queries=65), IS_THING, (32, 32))


def test_the_pictures_have_every_category() -> None:
    assert {index for table in two_pictures().categories for index in table.tolist()} == set(range(len(CATEGORIES)))
