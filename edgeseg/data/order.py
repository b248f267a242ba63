"""Which image stands at which place of a training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

_ORDER = 0
"""Second word of the seeds; the pictures' streams have another one."""


class Order:
    """An endless row of images, addressed by place, that depends on nothing but its arguments.

    An epoch shows every image at least once, in random order: image i repeats[i] times on average over epochs, rounded
    up or down anew in each. Without repeats it is a permutation.

    Args:
        num_images: Images to order.
        seed: Of the training.
        repeats: (num_images,) float64, each at least 1, or None for once each.
    """

    def __init__(self, num_images: int, *, seed: int, repeats: NDArray[np.float64] | None = None) -> None:
        self._num_images, self._seed, self._repeats = num_images, seed, repeats
        self.epoch_length = num_images if repeats is None else int(np.ceil(repeats.sum() - 1e-6))
        self._epoch = -1
        self._images = np.empty(0, dtype=np.int64)

    def __getitem__(self, place: int) -> int:
        """Image at the place; only its epoch's order is held, 8 bytes an image."""
        epoch, position = divmod(place, self.epoch_length)
        if epoch != self._epoch:
            self._images, self._epoch = self._shuffled(epoch), epoch
        return int(self._images[position])

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng(np.random.SeedSequence([self._seed, _ORDER, epoch]))
        images = rng.permutation(self._num_images)
        if self._repeats is None:
            return images
        # Systematic resampling: marks at distance 1 over a line on which each image is as long as it is repeated.
        ends = np.cumsum(self._repeats[images])
        marks = (rng.random() + np.arange(self.epoch_length)) * (ends[-1] / self.epoch_length)
        return rng.permutation(images[np.searchsorted(ends, marks, side="right").clip(max=self._num_images - 1)])


def repeat_factors(categories: Sequence[Collection[int]], threshold: float) -> NDArray[np.float64]:
    """How often each image should be seen so that rare categories are seen more.

    r(c) = max(1, sqrt(threshold / share of the images with c)); an image takes the largest of its categories. Source:
    Gupta et al., "LVIS", arXiv 1908.03195, appendix B (threshold 0.001 there).

    Args:
        categories: Of each image.
        threshold: Share of images below which a category counts as rare, 0..1.

    Returns:
        (n,) float64, at least 1.
    """
    counts = Counter(category for image in categories for category in set(image))
    factor_of = {c: max(1.0, float(np.sqrt(threshold * len(categories) / count))) for c, count in counts.items()}
    return np.array([max((factor_of[c] for c in image), default=1.0) for image in categories], dtype=np.float64)
