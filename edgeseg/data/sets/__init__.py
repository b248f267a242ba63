"""Data sets in their own published layouts: one file each, one way to open them."""

from __future__ import annotations

from pathlib import Path

from edgeseg.config import nearest
from edgeseg.data.sets import ade20k, cityscapes, coco, coconut, images, kitti_step, mapillary, vipseg
from edgeseg.data.sets.layout import Dataset, Layout
from edgeseg.structures import InputError

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        coco.LAYOUT,
        coconut.LAYOUT,
        cityscapes.LAYOUT,
        ade20k.LAYOUT,
        *mapillary.LAYOUTS,
        kitti_step.LAYOUT,
        vipseg.LAYOUT,
        images.LAYOUT,
    )
}
"""By the name that `--data.format` takes."""


def open_dataset(root: Path, split: str, format: str = "auto", *, labelled: bool = True) -> Dataset:
    """Opens a split of a data set in its own layout.

    Args:
        root: The set's folder.
        split: "train" or "val"; each set finds its own name for them.
        format: A name of LAYOUTS, or "auto": the one that the folder has.
        labelled: Refuse a set without categories.

    Raises:
        InputError: No such format, none or more than one fits, or the set breaks a rule of its layout.
    """
    if not root.is_dir():
        raise InputError(f"data folder {root} does not exist; give --data.root a folder that docs/data.md describes")
    layout = _recognised(root, split) if format == "auto" else LAYOUTS.get(format)
    if layout is None:
        raise InputError(
            f"no data format {format!r}{nearest(format, list(LAYOUTS))}; there are auto, {', '.join(LAYOUTS)}"
        )
    dataset = layout.open(root, split)
    if labelled and not dataset.categories:
        raise InputError(f"{root} as {layout.name!r} has no labels; give a set that has (edgeseg predict takes photos)")
    return dataset


def _recognised(root: Path, split: str) -> Layout:
    fitting = [layout for layout in LAYOUTS.values() if layout.fits(root)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = " and ".join(layout.name for layout in fitting)
        raise InputError(f"{root} could be {names}; say which with --data.format")
    looked_for = "; ".join(f"{x.name}: {x.looks_for.replace('SPLIT', split)}" for x in LAYOUTS.values())
    raise InputError(f"{root} is no data set that is known, looked for {looked_for}; see docs/data.md")


__all__ = ["LAYOUTS", "Dataset", "Layout", "open_dataset"]
