"""What is known of a raced file from its making; it lies beside the file as FILE.json."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from edgeseg.config import config_from_dict

IS_THING = (True,) * 80 + (False,) * 53
"""COCO panoptic's categories, which our files are made for."""


@dataclass(frozen=True)
class Card:
    """What is in a file.

    Attributes:
        params: Parameters; of a file that another program wrote, the numbers in it.
        macs: Multiply-accumulates of convolutions, linears and matrix products for one image.
    """

    params: int
    macs: int


def card_path(path: Path) -> Path:
    """Where a file's card lies."""
    return path.with_name(path.name + ".json")


def read_card(path: Path) -> Card:
    """The card of a file."""
    card = card_path(path)
    return config_from_dict(Card, json.loads(card.read_text(encoding="utf-8")), where=str(card))


def write_card(path: Path, card: Card) -> None:
    """Written last: a file without a card is not whole."""
    card_path(path).write_text(json.dumps(asdict(card)) + "\n", encoding="utf-8")
