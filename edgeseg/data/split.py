"""A COCO panoptic folder divided anew."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseg.config import nearest
from edgeseg.data.coco_panoptic import PanopticFolder
from edgeseg.data.grouping import compile_pattern, pattern_group, stem_group
from edgeseg.data.panoptic_table import ImageRecord
from edgeseg.data.placing import link_or_copy, written_aside
from edgeseg.data.stratify import Group, stratify
from edgeseg.structures import InputError

SPLITS = ("train", "val", "test")

_PREFIX = "panoptic_"


def find_splits(root: Path) -> list[str]:
    """Names of the splits that a COCO panoptic folder has labels for.

    Raises:
        InputError: There are none.
    """
    names = sorted(path.stem.removeprefix(_PREFIX) for path in (root / "annotations").glob(f"{_PREFIX}*.json"))
    if not names:
        raise InputError(f"{root} has no annotations/panoptic_SPLIT.json; give a COCO panoptic folder")
    return names


@dataclass(frozen=True)
class Entry:
    """One image with its rows as they stand in the JSON."""

    source: PanopticFolder
    record: ImageRecord
    image: dict[str, Any]
    annotation: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """Where every image goes.

    Attributes:
        entries: All images.
        groups: The group of each.
        split_of: The split of each group.
        splits: Those that are made.
        header: What the JSON says besides its images and annotations.
    """

    entries: Sequence[Entry]
    groups: Sequence[str]
    split_of: Mapping[str, str]
    splits: Sequence[str]
    header: Mapping[str, Any]


def plan_split(
    root: Path,
    *,
    val: float = 0.1,
    test: float = 0.0,
    by: str | None = None,
    pool: Sequence[str] = (),
    seed: int = 0,
) -> Plan:
    """Pools splits of a folder and deals their images out to train, val and test.

    Images of one group stay together; categories are spread as `stratify` says.

    Args:
        root: COCO panoptic folder.
        val: Share of the images.
        test: Share of the images; 0 makes no such split.
        by: What images are grouped by: a .csv with the columns file_name and group, a .json of {file name: group},
            "field:NAME" for a field of the images in the JSON, or a regular expression on the file name (its first
            parenthesis, else all it matches). None: every image for itself.
        pool: Splits to pool; all by default.
        seed: Decides between equals.

    Raises:
        InputError: Splits cannot be pooled, an image has no group, or a part stays empty.
    """
    shares = {"train": round(1.0 - val - test, 12), "val": val, "test": test}
    if not (min(val, test) >= 0 and shares["train"] > 0 and val + test > 0):
        raise InputError(
            f"--val {val:g} --test {test:g}: shares of 0 or more that leave a part for training are wanted"
        )
    entries, header = _pool(root, list(pool) or find_splits(root))
    names = _groups([entry.image for entry in entries], by)
    groups = _gather(entries, names)
    splits = [split for split in SPLITS if shares[split] > 0]
    dealt = stratify(groups, [shares[split] for split in splits], seed=seed)
    split_of = {group.name: splits[index] for group, index in zip(groups, dealt, strict=True)}
    return Plan(entries, names, split_of, splits, header)


def write_split(
    plan: Plan, out: Path, *, copy: bool = False, on_progress: Callable[[int], None] = lambda count: None
) -> dict[str, Any]:
    """Makes the folder: photos and PNGs are hard links where the disk allows, JSON rows keep all their fields.

    Args:
        plan: Where every image goes.
        out: Folder to make; nothing is left of it after an error.
        copy: Copy files rather than link them.
        on_progress: Called with the number of images just placed.

    Returns:
        Counts for people and machines, as `edgeseg data split --json` prints them.

    Raises:
        InputError: `out` is in use.
    """
    with written_aside(out) as folder:
        for split in plan.splits:
            chosen = [e for e, group in zip(plan.entries, plan.groups, strict=True) if plan.split_of[group] == split]
            for entry in chosen:
                name, png_name = entry.record.file_name, entry.record.annotation.png_name
                label = folder / "annotations" / f"{_PREFIX}{split}" / png_name
                link_or_copy(entry.source.image_folder / name, folder / split / name, copy=copy)
                link_or_copy(entry.source.png_folder / png_name, label, copy=copy)
                on_progress(1)
            rows = {"images": [e.image for e in chosen], "annotations": [e.annotation for e in chosen]}
            text = json.dumps({**plan.header, **rows}, separators=(",", ":"))
            (folder / "annotations" / f"{_PREFIX}{split}.json").write_text(text + "\n", encoding="utf-8")
    return {"out": str(out), **_report(plan)}


def _pool(root: Path, splits: Sequence[str]) -> tuple[list[Entry], dict[str, Any]]:
    """All images of the splits, and what the JSON says besides."""
    entries: list[Entry] = []
    header: dict[str, Any] = {}
    origin: dict[object, str] = {}
    for split in splits:
        source = PanopticFolder.open(root, split)
        document = json.loads((root / "annotations" / f"{source.png_folder.name}.json").read_bytes())
        if header and document["categories"] != header["categories"]:
            raise InputError(
                f"{root}: {split} has other categories than {splits[0]}; name splits that agree with --pool"
            )
        header = header or {key: document[key] for key in document if key not in ("images", "annotations")}
        images = {row["id"]: row for row in document["images"]}
        annotations = {row["image_id"]: row for row in document["annotations"]}
        for record in source.images:
            stem = stem_group(record.annotation.png_name)
            for key in (("id", record.image_id), ("file name", record.file_name), ("PNG", stem)):
                if key in origin:
                    raise InputError(
                        f"{root}: {key[0]} {key[1]!r} is in {origin[key]} and in {split}; pool one of them (--pool)"
                    )
                origin[key] = split
            entries.append(Entry(source, record, images[record.image_id], annotations[record.image_id]))
    return entries, header


def _groups(images: Sequence[Mapping[str, Any]], by: str | None) -> list[str]:
    """The group of each image."""
    names = [str(image["file_name"]) for image in images]
    if by is None:
        return names
    if by.startswith("field:"):
        key = by.removeprefix("field:")
        for image in images:
            if key not in image:
                hint = nearest(key, list(image))
                raise InputError(f"--by {by}: image {image['file_name']} has no such field{hint} in its JSON row")
        return [str(image[key]) for image in images]
    if Path(by).suffix.lower() in (".csv", ".json"):
        table = _read_groups(Path(by))
        for name in names:
            if name not in table:
                raise InputError(f"--by {by} gives no group for {name}; add a row")
        return [table[name] for name in names]
    pattern = compile_pattern(by)
    return [pattern_group(name, pattern) for name in names]


def _read_groups(path: Path) -> dict[str, str]:
    """{file name: group} of a CSV or JSON."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            table = json.loads(text)
            if not isinstance(table, dict) or not all(isinstance(value, str | int) for value in table.values()):
                raise InputError(f"--by {path} is no JSON object of {{file name: group}}; write it so")
            return {name: str(group) for name, group in table.items()}
        reader = csv.DictReader(text.splitlines())
        if not {"file_name", "group"} <= set(reader.fieldnames or ()):
            raise InputError(f"--by {path} has the columns {reader.fieldnames}; file_name and group are wanted")
        rows = [(row["file_name"], row["group"]) for row in reader]
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"--by {path} cannot be read: {error}") from None
    if len({name for name, _ in rows}) < len(rows) or not all(group for _, group in rows):
        raise InputError(f"--by {path} names a file twice or a group not at all; one row for each file is wanted")
    return dict(rows)


def _gather(pooled: Sequence[Entry], names: Sequence[str]) -> list[Group]:
    """Groups with the number of their images that show each category."""
    counts: dict[str, int] = {}
    presence: dict[str, dict[int, int]] = {}
    for entry, name in zip(pooled, names, strict=True):
        counts[name] = counts.get(name, 0) + 1
        shown = presence.setdefault(name, {})
        for category_id in {segment.category_id for segment in entry.record.annotation.segments}:
            shown[category_id] = shown.get(category_id, 0) + 1
    return [Group(name, counts[name], presence[name]) for name in sorted(counts)]


def _report(plan: Plan) -> dict[str, Any]:
    """Images and groups of each split, and how many of its images show each category."""
    categories = plan.entries[0].source.categories
    title = {category.id: category.name for category in categories}
    shown: dict[str, dict[str, int]] = {category.name: dict.fromkeys(plan.splits, 0) for category in categories}
    splits = {}
    for split in plan.splits:
        chosen = [
            (e, group) for e, group in zip(plan.entries, plan.groups, strict=True) if plan.split_of[group] == split
        ]
        splits[split] = {"images": len(chosen), "groups": len({group for _, group in chosen})}
        for entry, _ in chosen:
            for category_id in {segment.category_id for segment in entry.record.annotation.segments}:
                shown[title[category_id]][split] += 1
    return {"splits": splits, "images_with_category": shown}
