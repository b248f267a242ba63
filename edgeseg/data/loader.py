"""Training batches that depend on nothing but the seed and their number."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from edgeseg.config import DataConfig
from edgeseg.data.augment import View, augment, check_augmentation, cut_label, draw_look, lay_label, paint_photo
from edgeseg.data.copy_paste import GUEST_ZOOM, copy_paste
from edgeseg.data.extra_transform import Extra, apply_extra
from edgeseg.data.numbered import NumberedSample
from edgeseg.data.order import Order, repeat_factors
from edgeseg.data.photo import LabelledPhoto
from edgeseg.data.segment_table import SegmentTable, label_rows, table_of
from edgeseg.data.worker import start_worker
from edgeseg.structures import IGNORE, Batch, Category, InputError, Sample

_AUGMENTATION = 1
"""Second word of the seeds; the order's stream has another one (edgeseg.data.order), so that they never meet."""


class Samples(Protocol):
    """Whatever holds samples: a PanopticFolder, or a generator of scenes that never touches a disk.

    A generator's length is that of an epoch; an epoch's order takes 8 bytes a sample.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


def evenly_spaced(count: int, total: int) -> list[int]:
    """Indices of `count` of `total` samples, evenly far apart; some come twice where more are wanted than there are."""
    return [i * total // count for i in range(count)]


@runtime_checkable
class LabelledAhead(Protocol):
    """Samples whose labels are known without reading a pixel; `data.balance` needs them."""

    def category_ids(self, index: int, /) -> Collection[int]:
        """Category ids of the image's segments that are not crowds."""
        ...


@runtime_checkable
class ReadsNumbered(Protocol):
    """Samples that can be read with numbered segments and the photo left to decode, which is faster."""

    def numbered(self, index: int, /) -> NumberedSample:
        """Reads a sample's label."""
        ...


class TrainItem(NamedTuple):
    """One augmented image: (3, h, w) uint8 RGB, (h, w) int16 rows, (M,) int64 categories of the rows, image id."""

    image: NDArray[np.uint8]
    label_map: NDArray[np.int16]
    categories: NDArray[np.int64]
    image_id: int | str


class CachedSamples:
    """Keeps decoded samples in memory until `max_bytes` are full; each loader process has a cache of its own."""

    def __init__(self, samples: Samples, *, max_bytes: int = 1 << 30) -> None:
        self.samples = samples
        self._free_bytes = max_bytes
        self._kept: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        sample = self._kept.get(index)
        if sample is None:
            sample = self.samples[index]
            num_bytes = sample.image.nbytes + sample.panoptic_map.nbytes
            if num_bytes <= self._free_bytes:
                self._free_bytes -= num_bytes
                self._kept[index] = sample
        return sample


class TrainSet(Dataset[TrainItem]):
    """Augmented samples addressed by their global number g = step * batch_size + position in the batch.

    Sample g is image Order[g], augmented from the seed (seed, g): the same whoever asks, so that a resumed run, another
    number of workers or of processes sees the same pictures.

    Args:
        samples: Data set.
        categories: Its categories.
        config: What happens to the samples.
        seed: With a sample's number it decides every pixel.
        extra: Runs last (edgeseg.data.extra_transform); None for nothing more.

    Raises:
        InputError: At once: the configuration means nothing, or balance is wanted of samples that are not
            `LabelledAhead`. When read: the sample itself is bad, or the extra transform is.
    """

    def __init__(
        self,
        samples: Samples,
        categories: Sequence[Category],
        config: DataConfig,
        *,
        seed: int,
        extra: Extra | None = None,
    ) -> None:
        check_augmentation(config)
        ordered = sorted(categories, key=lambda c: c.id)
        self._samples, self._config, self._seed, self._extra = samples, config, seed, extra
        self._numbered = samples.numbered if isinstance(samples, ReadsNumbered) else None
        self._index_of = {category.id: index for index, category in enumerate(ordered)}
        self._is_thing = np.array([category.is_thing for category in ordered])
        self._order = Order(len(samples), seed=seed, repeats=_repeats(samples, config.balance))

    def __getitem__(self, index: int) -> TrainItem:
        size = self._config.image_size
        return self._item(index, np.empty((3, *size), dtype=np.uint8), np.empty(size, dtype=np.int16))

    def batch(self, indices: Sequence[int]) -> Batch:
        """The samples of these numbers, written where the batch keeps them."""
        images = np.empty((len(indices), 3, *self._config.image_size), dtype=np.uint8)
        label_maps = np.empty((len(indices), *self._config.image_size), dtype=np.int16)
        items = [self._item(*written) for written in zip(indices, images, label_maps, strict=True)]
        return Batch(
            image=torch.from_numpy(images),
            label_map=torch.from_numpy(label_maps),
            categories=[torch.from_numpy(item.categories) for item in items],
            image_ids=[item.image_id for item in items],
        )

    def _item(self, index: int, image: NDArray[np.uint8], label_map: NDArray[np.int16]) -> TrainItem:
        """Sample `index`, in these arrays."""
        rng = np.random.default_rng(np.random.SeedSequence([self._seed, _AUGMENTATION, index]))
        sample = self._read(self._order[index])
        table = table_of(sample.segments, self._index_of)
        height, width = sample.panoptic_map.shape
        look = draw_look((height, width), rng, self._config)
        paint_photo(_photo_of(sample), look, into=image)
        seen = cut_label(sample.panoptic_map, look)
        if self._config.copy_paste > 0 and rng.random() < self._config.copy_paste:
            panoptic_map = np.empty(self._config.image_size, dtype=np.int32)
            lay_label(seen.astype(np.int32, copy=False), look, into=panoptic_map, padding=0)
            table = self._paste(View(image, panoptic_map), table, rng, index)
            label_map[:], categories = label_rows(panoptic_map, table, name=sample.file_name)
        else:  # rows are found where the map is smallest
            rows, categories = label_rows(seen, table, name=sample.file_name)
            lay_label(rows, look, into=label_map, padding=IGNORE)
        if self._extra is not None:
            view, table = apply_extra(self._extra, image, label_map, categories, seed=int(rng.integers(2**63)))
            label_map[:], categories = label_rows(view.panoptic_map, table, name=sample.file_name)
            image[:] = view.image
        return TrainItem(image, label_map, categories, sample.image_id)

    def _read(self, image_index: int) -> Sample | NumberedSample:
        return self._samples[image_index] if self._numbered is None else self._numbered(image_index)

    def _paste(self, view: View, table: SegmentTable, rng: np.random.Generator, index: int) -> SegmentTable:
        """Lays a second image over the view, from anywhere in the epoch: `balance` holds for it too."""
        length = self._order.epoch_length
        guest = self._read(self._order[index - index % length + int(rng.integers(length))])
        return copy_paste(
            view,
            table,
            augment(_photo_of(guest), guest.panoptic_map, rng, self._config, relative_zoom=GUEST_ZOOM),
            table_of(guest.segments, self._index_of),
            rng,
            is_thing=self._is_thing,
            guest_name=guest.file_name,
        )


def _photo_of(sample: Sample | NumberedSample) -> NDArray[np.uint8] | LabelledPhoto:
    return sample.photo if isinstance(sample, NumberedSample) else sample.image


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
    extra: Extra | None = None,
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
        extra: A transform of one's own that runs last, such as one of torchvision.transforms.v2 (docs/data-loading.md).

    Raises:
        InputError: No samples, batch_size not a multiple of world_size, what TrainSet refuses, or (later) a bad sample.
    """
    if len(samples) == 0:
        raise InputError("the training split has no images; at least one is needed")
    if config.batch_size < 1 or config.batch_size % world_size:
        raise InputError(
            f"data.batch_size = {config.batch_size}; "
            f"a multiple of the number of processes ({world_size}) above 0 is wanted"
        )
    share = config.batch_size // world_size
    positions = range(rank * share, (rank + 1) * share)
    loader = DataLoader(
        _Steps(TrainSet(samples, categories, config, seed=seed, extra=extra), config.batch_size, positions),
        batch_size=None,  # an index is a step, and its value the whole batch
        sampler=range(start_step, start_step + num_steps),
        num_workers=config.num_workers,
        worker_init_fn=start_worker,
        generator=torch.Generator().manual_seed(seed),  # else the loader draws from torch's global stream
    )
    return _batches(loader)


class _Steps(Dataset[Batch]):
    """One process's share of the batch of each step."""

    def __init__(self, train_set: TrainSet, batch_size: int, positions: range) -> None:
        self._train_set, self._batch_size, self._positions = train_set, batch_size, positions

    def __getitem__(self, step: int) -> Batch:
        return self._train_set.batch([step * self._batch_size + position for position in self._positions])


def _batches(loader: DataLoader[Batch]) -> Iterator[Batch]:
    try:
        yield from loader
    except InputError as error:
        # A worker's error arrives as its whole traceback; its last line is the message.
        last_line = str(error).strip().splitlines()[-1]
        raise InputError(last_line.removeprefix(f"{InputError.__module__}.InputError: ")) from None


def _repeats(samples: Samples, balance: float) -> NDArray[np.float64] | None:
    if balance == 0:
        return None
    if isinstance(samples, CachedSamples):
        samples = samples.samples
    if not isinstance(samples, LabelledAhead):
        raise InputError(
            f"data.balance = {balance} needs to know the labels before the images are read, which "
            f"{type(samples).__name__} cannot say; set it to 0"
        )
    return repeat_factors([samples.category_ids(index) for index in range(len(samples))], balance)
