"""COCO panoptic, and every set that is converted to its layout."""

from __future__ import annotations

from pathlib import Path

from edgeseg.data.coco_panoptic import PanopticFolder
from edgeseg.data.sets.layout import Layout


def _fits(root: Path) -> bool:
    return any((root / "annotations").glob("panoptic_*.json"))


LAYOUT = Layout("coco", "annotations/panoptic_SPLIT.json", _fits, PanopticFolder.open)
