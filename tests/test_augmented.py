"""The sheet of augmented pictures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgeseg.augmented import augmented_sheet
from edgeseg.config import DataConfig
from edgeseg.data.loader import TrainSet
from edgeseg.data.street import STREET_CATEGORIES, render_street
from edgeseg.structures import InputError

SAMPLES = [render_street(0, index, size=(64, 96)) for index in range(3)]
CONFIG = DataConfig(image_size=(64, 96), min_scale=1.0, max_scale=1.0, copy_paste=0.5)


def test_sheet_shows_the_photos_of_the_training_in_pairs_two_in_a_row() -> None:
    """Pictures are 400 wide and 267 high, 8 apart; the photos on the left of a pair are the training's, enlarged."""
    sheet = augmented_sheet(SAMPLES, STREET_CATEGORIES, CONFIG, seed=4, num=3)
    assert sheet.shape == (2 * (267 + 8) + 8, 2 * (800 + 8) + 8, 3)
    train_set = TrainSet(SAMPLES, STREET_CATEGORIES, CONFIG, seed=4)
    for place, (top, left) in enumerate([(8, 8), (8, 816), (283, 8)]):
        shown = sheet[top : top + 267, left : left + 400].reshape(267, 400, 3).mean(axis=(0, 1))
        assert np.abs(shown - train_set[place].image.mean(axis=(1, 2))).max() < 1


def test_another_seed_shows_other_pictures() -> None:
    first, second = (augmented_sheet(SAMPLES, STREET_CATEGORIES, CONFIG, seed=seed, num=2) for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_what_cannot_be_shown_is_refused() -> None:
    with pytest.raises(InputError, match="0 pictures are none"):
        augmented_sheet(SAMPLES, STREET_CATEGORIES, CONFIG, seed=0, num=0)
    with pytest.raises(InputError, match=r"data\.copy_paste = 2"):
        augmented_sheet(SAMPLES, STREET_CATEGORIES, dataclasses.replace(CONFIG, copy_paste=2.0), seed=0, num=1)
