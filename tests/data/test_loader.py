"""Training batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from edgeseg.config import DataConfig
from edgeseg.data.coco_panoptic import PanopticFolder, write_panoptic
from edgeseg.data.extra_transform import Extra
from edgeseg.data.loader import CachedSamples, TrainSet, train_loader
from edgeseg.structures import Batch, Category, InputError, Sample, Segment

CAR, ROAD = Category(3, "car", True, (1, 1, 1)), Category(21, "road", False, (3, 3, 3))
CATEGORIES = (CAR, ROAD)
CONFIG = DataConfig(image_size=(32, 64), batch_size=4, num_workers=0, flip_vertical=True)

Ways = tuple[DataConfig, Extra | None]
WAYS: list[Ways] = [
    (CONFIG, None),
    (dataclasses.replace(CONFIG, copy_paste=0.5, balance=1.0, min_scale=0.1, max_scale=2.0), None),
    (CONFIG, v2.RandomRotation(30)),
]
"""What a run can be made of; each keeps the promises about order."""


class Scenes:
    """Ten small scenes: road, two cars, a crowd, void; image i is named i and counts how often it is read."""

    def __init__(self) -> None:
        self.reads = 0

    def __len__(self) -> int:
        return 10

    def category_ids(self, index: int) -> list[int]:
        return [3, 21] if index == 7 else [21]  # what a data set says ahead need not be true for the order

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


class Whole:
    """A folder that cannot be read with numbered segments."""

    def __init__(self, folder: PanopticFolder) -> None:
        self._folder = folder

    def __len__(self) -> int:
        return len(self._folder)

    def __getitem__(self, index: int) -> Sample:
        return self._folder[index]

    def category_ids(self, index: int) -> set[int]:
        return self._folder.category_ids(index)


def load(
    config: DataConfig = CONFIG,
    *,
    seed: int = 0,
    start: int = 0,
    steps: int = 6,
    rank: int = 0,
    world: int = 1,
    extra: Extra | None = None,
) -> list[Batch]:
    return list(
        train_loader(
            Scenes(),
            CATEGORIES,
            config,
            seed=seed,
            start_step=start,
            num_steps=steps,
            rank=rank,
            world_size=world,
            extra=extra,
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


@pytest.mark.parametrize("ways", WAYS)
def test_samples_do_not_depend_on_the_number_of_workers(ways: Ways) -> None:
    config, extra = ways
    expected = load(config, extra=extra)
    for num_workers in (1, 2):
        assert_equal(load(dataclasses.replace(config, num_workers=num_workers), extra=extra), expected)


@pytest.mark.parametrize("ways", WAYS)
def test_resumed_run_sees_what_the_whole_run_sees(ways: Ways) -> None:
    config, extra = ways
    assert_equal(load(config, start=4, steps=2, extra=extra), load(config, steps=6, extra=extra)[4:])


@pytest.mark.parametrize("ways", WAYS)
def test_ranks_together_see_the_batch_of_one_process(ways: Ways) -> None:
    config, extra = ways
    whole = load(config, steps=2, extra=extra)
    parts = [load(config, steps=2, rank=rank, world=2, extra=extra) for rank in (0, 1)]
    for step, batch in enumerate(whole):
        assert torch.equal(torch.cat([part[step].image for part in parts]), batch.image)
        assert torch.equal(torch.cat([part[step].label_map for part in parts]), batch.label_map)
        assert parts[0][step].image_ids + parts[1][step].image_ids == batch.image_ids


@pytest.mark.parametrize("ways", WAYS)
def test_numbered_samples_give_the_pictures_of_whole_ones(ways: Ways, tmp_path: Path) -> None:
    config, extra = ways
    scenes = Scenes()
    samples = [scenes[index] for index in range(len(scenes))]
    (tmp_path / "train").mkdir()
    for sample in samples:
        Image.fromarray(sample.image).save(tmp_path / "train" / sample.file_name)
    results = ((s.image_id, s.file_name, s.panoptic_map, s.segments) for s in samples)
    annotations = tmp_path / "annotations"
    write_panoptic(annotations / "panoptic_train.json", annotations / "panoptic_train", results, categories=CATEGORIES)
    folder = PanopticFolder.open(tmp_path, "train")
    numbered, whole = (
        list(train_loader(source, CATEGORIES, config, seed=0, start_step=0, num_steps=6, extra=extra))
        for source in (folder, Whole(folder))
    )
    assert_equal(numbered, whole)


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


def test_image_of_nothing_but_void_has_an_empty_table() -> None:
    sample = Sample(1, "a.png", np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.int32), ())
    item = TrainSet([sample], CATEGORIES, CONFIG, seed=0)[0]
    assert (item.label_map == -1).all()
    assert item.categories.shape == (0,)


def test_rare_category_is_seen_more() -> None:
    """Car is in 1 of 10 images: with threshold 0.9 that image comes sqrt(0.9 / 0.1) = 3 times in an epoch of 12."""
    config = dataclasses.replace(CONFIG, balance=0.9)
    for samples in (Scenes(), CachedSamples(Scenes())):
        loader = train_loader(samples, CATEGORIES, config, seed=0, start_step=0, num_steps=3)
        shown = [id_ for batch in loader for id_ in batch.image_ids]
        assert sorted(shown) == sorted([*range(10), 7, 7])


def test_balance_of_samples_that_cannot_say_their_labels_is_refused_at_once() -> None:
    with pytest.raises(InputError, match=r"data.balance = 0.5 needs to know the labels .* which list cannot say"):
        train_loader(
            [Scenes()[0]], CATEGORIES, dataclasses.replace(CONFIG, balance=0.5), seed=0, start_step=0, num_steps=1
        )


def test_copy_paste_brings_more_segments_and_one_road() -> None:
    """Three cars of two images at most in each, and stuff of both images in one row."""
    plain, pasted = (load(dataclasses.replace(CONFIG, copy_paste=share), steps=10) for share in (0.0, 1.0))
    cars = [[int((c == 0).sum()) for batch in batches for c in batch.categories] for batches in (plain, pasted)]
    assert max(cars[0]) == 2
    assert max(cars[1]) == 4
    assert all(int((c == 1).sum()) <= 1 for batch in pasted for c in batch.categories)


def test_bad_range_is_refused_before_anything_is_read() -> None:
    scenes = Scenes()
    with pytest.raises(InputError, match=r"data\.min_scale = 3"):
        train_loader(scenes, CATEGORIES, dataclasses.replace(CONFIG, min_scale=3.0), seed=0, start_step=0, num_steps=1)
    assert scenes.reads == 0


@pytest.mark.parametrize("num_workers", [0, 2])
def test_bad_sample_is_one_clear_line_from_any_process(num_workers: int) -> None:
    config = dataclasses.replace(CONFIG, num_workers=num_workers)
    loader = train_loader(BrokenScenes(), CATEGORIES, config, seed=0, start_step=0, num_steps=1)
    with pytest.raises(InputError, match=r"^image \d is broken; mend it$"):
        next(iter(loader))


def test_batch_that_does_not_divide_among_processes_is_refused_at_once() -> None:
    with pytest.raises(InputError, match=r"batch_size = 4; a multiple of the number of processes \(3\)"):
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


def test_pasting_leaves_cached_samples_as_they_were() -> None:
    cached = CachedSamples(Scenes())
    config = dataclasses.replace(CONFIG, image_size=(40, 50), min_scale=1.0, max_scale=1.0, flip=False, copy_paste=1.0)
    list(train_loader(cached, CATEGORIES, config, seed=0, start_step=0, num_steps=5))
    for index in range(10):
        assert np.array_equal(cached[index].image, Scenes()[index].image)
        assert np.array_equal(cached[index].panoptic_map, Scenes()[index].panoptic_map)
