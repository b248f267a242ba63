"""Roboflow's COCO segmentation export: train/, valid/, test/, each with photos and _annotations.coco.json."""

from __future__ import annotations

from pathlib import Path

from edgeseg.data.convert import fields
from edgeseg.data.convert.coco import instances_source
from edgeseg.data.convert.records import Options, Source
from edgeseg.structures import InputError

_NAME = "_annotations.coco.json"


def matches(source: Path) -> bool:
    """A folder with _annotations.coco.json in it or in its split folders."""
    return (source / _NAME).is_file() or any(source.glob(f"*/{_NAME}"))


def open_source(source: Path, options: Options) -> Source:
    """Reads the JSON of every split.

    Raises:
        InputError: There is none, one is broken, or splits differ in their categories.
    """
    paths = [source / _NAME] if (source / _NAME).is_file() else sorted(source.glob(f"*/{_NAME}"))
    if not paths:
        raise InputError(f"{source} has no {_NAME}, nor a split folder with one; export it as COCO segmentation")
    splits = [(fields.split_name(path.parent.name) if path.parent != source else None, path) for path in paths]
    return instances_source([(split, path, [path.parent], None) for split, path in splits], options)
