"""Training batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import islice

import numpy as np
import pytest
import torch

from edgeseg.config import DataConfig
from edgeseg.data.loader import CachedSamples, TrainSet, segment_rows, train_loader
from edgeseg.structures import Batch, Category, InputError, Sample, Segment

CAR, ROAD = Category(3, "car", True, (1, 1, 1)), Category(21, "road", False, (3, 3, 3))
CATEGORIES = (CAR, ROAD)
CONFIG = DataConfig(image_size=(32, 64), batch_size=4, num_workers=0, flip_vertical=True)


class Scenes:
    """Ten small scenes: road, two cars, a crowd, void; image i is named i and counts how often it is read."""

    def __init__(self) -> None:
        self.reads = 0

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> Sample:
        self.reads += 1
        rng = np.random.default_rng(index)
        panoptic_map = np.full((40, 50), 70_000, dtype=np.int32)
        panoptic_map[:4] = 0
        for segment_id in (500, 9, 4):  # 4 is the crowd
            y, x = rng.integers(4, 28), rng.integers(0, 38)
            panoptic_map[y : y + 10, x : x + 10] = segment_id
        segments = tuple(
            Segment(int(id_), 21 if id_ == 70_000 else 3, 1, (0, 0, 1, 1), is_crowd=bool(id_ == 4))
            for id_ in (500, 70_000, 9, 4)
            if (panoptic_map == id_).any()
        )
        image = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        return Sample(index, f"{index}.png", image, panoptic_map, segments)


class BrokenScenes(Scenes):
    def __getitem__(self, index: int) -> Sample:
        raise InputError(f"image {index} is broken; mend it")


def load(
    config: DataConfig = CONFIG, *, seed: int = 0, start: int = 0, steps: int = 6, rank: int = 0, world: int = 1
) -> list[Batch]:
    return list(
        train_loader(
            Scenes(), CATEGORIES, config, seed=seed, start_step=start, num_steps=steps, rank=rank, world_size=world
        )
    )


def assert_equal(ours: Sequence[Batch], theirs: Sequence[Batch]) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.image_ids == b.image_ids
        assert torch.equal(a.image, b.image)
        assert torch.equal(a.label_map, b.label_map)
        assert all(torch.equal(x, y) for x, y in zip(a.categories, b.categories, strict=True))


def test_batch_has_the_promised_shapes_and_types() -> None:
    batch = load(steps=1)[0]
    assert (batch.image.shape, batch.image.dtype) == ((4, 3, 32, 64), torch.uint8)
    assert (batch.label_map.shape, batch.label_map.dtype) == ((4, 32, 64), torch.int16)
    assert [c.dtype for c in batch.categories] == [torch.int64] * 4
    assert len(batch.image_ids) == 4


def test_samples_do_not_depend_on_the_number_of_workers() -> None:
    expected = load()
    for num_workers in (1, 2):
        assert_equal(load(dataclasses.replace(CONFIG, num_workers=num_workers)), expected)


def test_resumed_run_sees_what_the_whole_run_sees() -> None:
    assert_equal(load(start=4, steps=2), load(steps=6)[4:])


def test_ranks_together_see_the_batch_of_one_process() -> None:
    whole = load(steps=2)
    parts = [load(steps=2, rank=rank, world=2) for rank in (0, 1)]
    for step, batch in enumerate(whole):
        assert torch.equal(torch.cat([part[step].image for part in parts]), batch.image)
        assert torch.equal(torch.cat([part[step].label_map for part in parts]), batch.label_map)
        assert parts[0][step].image_ids + parts[1][step].image_ids == batch.image_ids


def test_each_epoch_shows_each_image_once_in_another_order() -> None:
    shown = [id_ for batch in load(steps=5) for id_ in batch.image_ids]  # 20 samples: two epochs across batch borders
    assert sorted(shown[:10]) == sorted(shown[10:]) == list(range(10))
    assert shown[:10] != shown[10:]


def test_an_image_looks_different_in_each_epoch_and_under_each_seed() -> None:
    batches = load(steps=5)
    images = {seed: [image for batch in load(seed=seed, steps=5) for image in batch.image.numpy()] for seed in (0, 1)}
    ids = [id_ for batch in batches for id_ in batch.image_ids]
    first, second = (i for i, id_ in enumerate(ids) if id_ == ids[0])
    assert not np.array_equal(images[0][first], images[0][second])
    assert not any(np.array_equal(a, b) for a in images[0] for b in images[1])


def test_one_image_is_augmented_anew_each_time() -> None:
    train_set = TrainSet([Scenes()[0]], CATEGORIES, CONFIG, seed=0)
    assert not np.array_equal(train_set[0].image, train_set[1].image)


def test_table_rows_are_those_of_visible_segments_in_order_of_id() -> None:
    config = dataclasses.replace(CONFIG, min_scale=1.0, max_scale=4.0)
    num_rows = set()
    for batch in load(config, steps=20):
        for label_map, categories in zip(batch.label_map.numpy(), batch.categories, strict=True):
            rows = np.unique(label_map[label_map >= 0])
            assert rows.tolist() == list(range(len(categories)))
            assert (np.diff(categories.numpy()) >= 0).all()  # ids 9 and 500 are cars (0), 70000 is road (1)
            num_rows.add(len(rows))
    assert {1, 2, 3} <= num_rows  # strong zooms leave segments outside


def test_crowd_and_void_are_ignored_and_rows_ascend_by_id() -> None:
    panoptic_map = np.array([[0, 4, 9], [500, 70_000, 9]], dtype=np.int32)
    segments = tuple(
        Segment(id_, category, 1, (0, 0, 1, 1), is_crowd=id_ == 4)
        for id_, category in ((500, 3), (70_000, 21), (4, 3), (9, 3))
    )
    sample = Sample(1, "a.png", np.zeros((2, 3, 3), np.uint8), panoptic_map, segments)
    rows, categories = segment_rows(sample, {3: 0, 21: 1})
    assert rows.tolist() == [[-1, -1, 0], [1, 2, 0]]
    assert categories.tolist() == [0, 0, 1]


def test_image_of_nothing_but_void_has_an_empty_table() -> None:
    sample = Sample(1, "a.png", np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.int32), ())
    item = TrainSet([sample], CATEGORIES, CONFIG, seed=0)[0]
    assert (item.label_map == -1).all()
    assert item.categories.shape == (0,)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_bad_sample_is_one_clear_line_from_any_process(num_workers: int) -> None:
    config = dataclasses.replace(CONFIG, num_workers=num_workers)
    loader = train_loader(BrokenScenes(), CATEGORIES, config, seed=0, start_step=0, num_steps=1)
    with pytest.raises(InputError, match=r"^image \d is broken; mend it$"):
        next(iter(loader))


def test_batch_that_does_not_divide_among_processes_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="batch_size = 4 is not a multiple of the 3 processes"):
        train_loader(Scenes(), CATEGORIES, CONFIG, seed=0, start_step=0, num_steps=1, world_size=3)


def test_empty_data_set_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="no images"):
        train_loader([], CATEGORIES, CONFIG, seed=0, start_step=0, num_steps=1)


def test_loading_leaves_torchs_random_stream_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    load(steps=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_run_without_an_end_starts_at_once() -> None:
    loader = train_loader(Scenes(), CATEGORIES, CONFIG, seed=0, start_step=0, num_steps=2**60)
    assert_equal(list(islice(loader, 2)), load(steps=2))


def test_cache_reads_each_sample_once() -> None:
    scenes = Scenes()
    cached = CachedSamples(scenes)
    first, again = cached[3], cached[3]
    assert first is again
    assert scenes.reads == 1
    assert len(cached) == 10


def test_full_cache_passes_samples_through() -> None:
    scenes = Scenes()
    num_bytes = 40 * 50 * (3 + 4)
    cached = CachedSamples(scenes, max_bytes=num_bytes * 2)
    for index in (0, 1, 2, 2, 0, 1):
        assert cached[index].image_id == index
    assert scenes.reads == 4
