"""Anything that predicts, as `eval` and `predict` see it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeseg.engine.evaluate import Predictor
from edgeseg.structures import Category


@dataclass(frozen=True)
class Source:
    """A checkpoint or an artifact of a bundle, opened.

    Attributes:
        name: For messages.
        predictor: Takes images of the network's size.
        image_size: The network's (height, width).
        categories: In order of their contiguous index.
        data_root: What it was trained on, if known.
        data_format: Layout of that folder, as training was told.
    """

    name: str
    predictor: Predictor
    image_size: tuple[int, int]
    categories: tuple[Category, ...]
    data_root: Path | None
    data_format: str = "auto"
