"""Training batches that depend on nothing but the seed and their number."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from edgeseg.config import DataConfig
from edgeseg.data.transforms import augment
from edgeseg.structures import IGNORE, Batch, Category, InputError, Sample

_ORDER, _AUGMENTATION = 0, 1
"""Second words of the seeds, so that the order's stream and the pictures' streams never meet."""


class Samples(Protocol):
    """Whatever holds samples: a PanopticFolder, or a generator of scenes that never touches a disk.

    A generator's length is that of an epoch; an epoch's order takes 8 bytes a sample.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


class TrainItem(NamedTuple):
    """One augmented image: (H, W, 3) uint8, (H, W) int16 rows, (M,) int64 categories of the rows, image id."""

    image: NDArray[np.uint8]
    label_map: NDArray[np.int16]
    categories: NDArray[np.int64]
    image_id: int | str


class CachedSamples:
    """Keeps decoded samples in memory until `max_bytes` are full; each loader process has a cache of its own."""

    def __init__(self, samples: Samples, *, max_bytes: int = 1 << 30) -> None:
        self._samples = samples
        self._free_bytes = max_bytes
        self._kept: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        sample = self._kept.get(index)
        if sample is None:
            sample = self._samples[index]
            num_bytes = sample.image.nbytes + sample.panoptic_map.nbytes
            if num_bytes <= self._free_bytes:
                self._free_bytes -= num_bytes
                self._kept[index] = sample
        return sample


class TrainSet(Dataset[TrainItem]):
    """Augmented samples addressed by their global number g = step * batch_size + position in the batch.

    Sample g is image permutation(seed, g // n)[g % n], augmented from the seed (seed, g): the same whoever asks, so a
    resumed run, another number of workers or of processes sees the same pictures.

    Raises:
        InputError: When read: the sample itself is bad (PanopticFolder), or has more segments than int16 counts.
    """

    def __init__(self, samples: Samples, categories: Sequence[Category], config: DataConfig, *, seed: int) -> None:
        self._samples = samples
        self._index_of = {category.id: index for index, category in enumerate(sorted(categories, key=lambda c: c.id))}
        self._config = config
        self._seed = seed
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    def __getitem__(self, index: int) -> TrainItem:
        epoch, position = divmod(index, len(self._samples))
        if epoch != self._epoch:
            stream = np.random.SeedSequence([self._seed, _ORDER, epoch])
            self._order = np.random.default_rng(stream).permutation(len(self._samples))
            self._epoch = epoch
        sample = self._samples[int(self._order[position])]
        rng = np.random.default_rng(np.random.SeedSequence([self._seed, _AUGMENTATION, index]))
        label_map, categories = segment_rows(sample, self._index_of)
        image, label_map = augment(sample.image, label_map, rng, self._config)
        label_map, kept = _drop_absent_rows(label_map, len(categories))
        return TrainItem(image, label_map, categories[kept], sample.image_id)


def segment_rows(sample: Sample, index_of: dict[int, int]) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Turns ids into rows of a table of the segments that are not crowds.

    Args:
        sample: Image with its label.
        index_of: Contiguous category index by category id.

    Returns:
        (H, W) int16 rows, -1 = void or crowd; and (M,) int64 category index of each row, rows ascending by segment id.
    """
    segments = sorted(sample.segments, key=lambda segment: segment.id)
    if len(segments) > np.iinfo(np.int16).max:
        raise InputError(f"{sample.file_name} has {len(segments)} segments; at most {np.iinfo(np.int16).max} are read")
    ids = np.array([0, *(segment.id for segment in segments)], dtype=np.int32)
    counts = np.array([False, *(not segment.is_crowd for segment in segments)])
    row_of = np.where(counts, np.cumsum(counts) - 1, IGNORE).astype(np.int16)
    flat = sample.panoptic_map.ravel()
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))  # runs of one id: far fewer than pixels
    rows = np.repeat(row_of[np.searchsorted(ids, flat[starts])], np.diff(starts, append=flat.size))
    categories = [index_of[segment.category_id] for segment in segments if not segment.is_crowd]
    return rows.reshape(sample.panoptic_map.shape), np.array(categories, dtype=np.int64)


def collate(items: Sequence[TrainItem]) -> Batch:
    """Stacks items into a batch."""
    images = torch.from_numpy(np.stack([item.image for item in items]))
    return Batch(
        image=images.permute(0, 3, 1, 2).contiguous(),
        label_map=torch.from_numpy(np.stack([item.label_map for item in items])),
        categories=[torch.from_numpy(item.categories) for item in items],
        image_ids=[item.image_id for item in items],
    )


def train_loader(
    samples: Samples,
    categories: Sequence[Category],
    config: DataConfig,
    *,
    seed: int,
    start_step: int,
    num_steps: int,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[Batch]:
    """Batches of steps start_step .. start_step + num_steps - 1.

    Args:
        samples: Data set.
        categories: Its categories; a label's category index is the place in ascending order of id.
        config: batch_size counts over all processes.
        seed: With the step it decides every pixel.
        start_step: First step, 0 for a new run.
        num_steps: Batches to give.
        rank: This process takes the rank-th slice of each batch.
        world_size: Number of processes.

    Raises:
        InputError: No samples, batch_size not a multiple of world_size, or (later) a bad sample.
    """
    if len(samples) == 0:
        raise InputError("the training split has no images; at least one is needed")
    if config.batch_size < 1 or config.batch_size % world_size:
        raise InputError(
            f"data.batch_size = {config.batch_size} is not a multiple of the {world_size} processes; choose one"
        )
    loader = DataLoader(
        TrainSet(samples, categories, config, seed=seed),
        batch_sampler=_StepIndices(range(start_step, start_step + num_steps), config.batch_size, rank, world_size),
        collate_fn=collate,
        num_workers=config.num_workers,
        worker_init_fn=_start_worker,
        generator=torch.Generator().manual_seed(seed),  # else the loader draws from torch's global stream
    )
    return _batches(loader)


class _StepIndices(Sampler[list[int]]):
    """Global sample numbers of each step's batch, one process's share."""

    def __init__(self, steps: range, batch_size: int, rank: int, world_size: int) -> None:
        self._steps = steps
        self._batch_size = batch_size
        share = batch_size // world_size
        self._positions = range(rank * share, (rank + 1) * share)

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self._steps:
            yield [step * self._batch_size + position for position in self._positions]


def _batches(loader: DataLoader[TrainItem]) -> Iterator[Batch]:
    try:
        yield from loader
    except InputError as error:
        # A worker's error arrives as its whole traceback; its last line is the message.
        last_line = str(error).strip().splitlines()[-1]
        raise InputError(last_line.removeprefix(f"{InputError.__module__}.InputError: ")) from None


def _start_worker(worker: int) -> None:
    cv2.setNumThreads(0)  # one worker, one core
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to answer


def _drop_absent_rows(label_map: NDArray[np.int16], num_rows: int) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Renumbers the rows that still have pixels; also says which they were."""
    kept = np.zeros(num_rows + 1, dtype=bool)
    kept[label_map.ravel()] = True  # -1 marks the last, spare entry
    kept = kept[:-1]
    row_of = np.append(np.where(kept, np.cumsum(kept) - 1, IGNORE), IGNORE).astype(np.int16)
    return row_of[label_map], kept
