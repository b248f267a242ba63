"""The verbs of `edgeseg data`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from edgeseg.cli_args import Flat, Output, Result, Verb, parse
from edgeseg.config import load_config


@dataclass(frozen=True)
class DataMakeArgs:
    """Makes the embedded data set: procedural street scenes in COCO panoptic format."""

    kind: tyro.conf.Positional[Literal["street"]]
    """What to draw."""
    out: Path
    """Folder to make."""
    train: int = 2000
    """Images to learn from."""
    val: int = 200
    """Images to evaluate on."""
    size: tuple[int, int] = (256, 256)
    """Height and width in pixels."""
    seed: int = 0
    """The same seed draws the same scenes."""
    num_workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Processes; the files do not depend on it."""
    output: Flat = field(default_factory=Output)


def make(argv: Sequence[str]) -> Result:
    """Draw the embedded street scenes: edgeseg data make street --out FOLDER"""
    args = parse(DataMakeArgs, argv, "data make")
    from edgeseg.data.street import make_street
    from edgeseg.display import progress

    with progress("drawing", args.train + args.val, quiet=args.output.quiet) as advance:
        make_street(
            args.out,
            train=args.train,
            val=args.val,
            size=args.size,
            seed=args.seed,
            num_workers=args.num_workers,
            on_progress=lambda done, of: advance(1),
        )
    return {"out": str(args.out), "train": args.train, "val": args.val}


@dataclass(frozen=True)
class DataConvertArgs:
    """Converts other label formats to a COCO panoptic folder.

    Where shapes overlap, the one with the higher z_order (CVAT) is on top, then whatever is no crowd, then the smaller
    segment, then the later row; a stuff map lies below all. docs/data-convert.md has the layouts.
    """

    source: tyro.conf.Positional[Path]
    """Folder of the labels and photos, or the label file itself."""
    out: Path
    """Folder to make."""
    kind: Annotated[str | None, tyro.conf.arg(name="from", metavar="KIND")] = None
    """coco (instances, with or without stuff maps), cvat, labelme, pairs (semantic and instance PNGs), roboflow, yolo;
    detected where the source looks like only one of them."""
    background: str | None = None
    """Name of a stuff category for the pixels that nothing covers; they are void by default."""
    stuff: tuple[str, ...] = ()
    """Names of the categories that are stuff, where the format cannot say; all others are things."""
    crowd: Literal["crowd", "thing"] = "crowd"
    """What a row with iscrowd = 1 is; CVAT's COCO export marks every brush mask so: thing."""
    val: float = 0.1
    """Share of the images for validation, where the source has no such split."""
    by: str | None = None
    """Regular expression on the file name; images with the same match (first parenthesis) go to the same split."""
    seed: int = 0
    """Of that split."""
    copy: bool = False
    """Copy photos; by default they are hard links where the disk allows."""
    num_workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Processes; the files do not depend on it."""
    output: Flat = field(default_factory=Output)


def convert(argv: Sequence[str]) -> Result:
    """Convert other label formats: edgeseg data convert SOURCE --out FOLDER"""
    args = parse(DataConvertArgs, argv, "data convert")
    from edgeseg.data.convert.records import Options
    from edgeseg.data.convert.run import convert as write
    from edgeseg.data.convert.run import open_source
    from edgeseg.display import progress

    options = Options(args.stuff, args.crowd, args.num_workers)
    kind, source = open_source(args.source, args.kind, options)
    with progress(f"converting {kind}", len(source.photos), quiet=args.output.quiet) as advance:
        result = write(
            source,
            args.out,
            background=args.background,
            val=args.val,
            by=args.by,
            seed=args.seed,
            copy=args.copy,
            num_workers=args.num_workers,
            on_progress=advance,
        )
    return {"from": kind, **result}


@dataclass(frozen=True)
class DataSplitArgs:
    """Divides a COCO panoptic folder anew, so that no group crosses splits and every category is in each in its share.

    Groups are dealt out by iterative stratification (Sechidis et al. 2011), rarest category first.
    """

    root: tyro.conf.Positional[Path]
    """COCO panoptic folder."""
    out: Path
    """Folder to make."""
    val: float = 0.1
    """Share of the images for validation."""
    test: float = 0.0
    """Share of the images for testing; 0 makes no such split."""
    by: str | None = None
    """What keeps images together: GROUPS.csv (columns file_name, group), GROUPS.json ({file name: group}), field:NAME
    (of the images in the JSON), or a regular expression on the file name; every image for itself by default."""
    pool: tuple[str, ...] = ()
    """Splits to pool and divide; all by default."""
    seed: int = 0
    """Decides between equals."""
    copy: bool = False
    """Copy files; by default they are hard links where the disk allows."""
    output: Flat = field(default_factory=Output)


def split(argv: Sequence[str]) -> Result:
    """Divide a folder by group, stratified: edgeseg data split FOLDER --out NEW"""
    args = parse(DataSplitArgs, argv, "data split")
    from edgeseg.data.split import plan_split, write_split
    from edgeseg.display import progress

    plan = plan_split(args.root, val=args.val, test=args.test, by=args.by, pool=args.pool, seed=args.seed)
    with progress("placing", len(plan.entries), quiet=args.output.quiet) as advance:
        return write_split(plan, args.out, copy=args.copy, on_progress=advance)


@dataclass(frozen=True)
class DataStatsArgs:
    """Counts what a data set holds: categories, segment sizes, void, image sizes."""

    root: tyro.conf.Positional[Path]
    """Folder of the data set."""
    split: tuple[str, ...] = ()
    """Splits to count; all by default."""
    format: str = "auto"
    """Layout of the folder (docs/data.md); what it is recognised as by default."""
    num_workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Processes; the numbers do not depend on it."""
    output: Flat = field(default_factory=Output)


def stats(argv: Sequence[str]) -> Result:
    """Count categories, sizes, void: edgeseg data stats FOLDER"""
    args = parse(DataStatsArgs, argv, "data stats")
    from edgeseg.data.stats import measure, open_splits
    from edgeseg.display import progress

    counted = {}
    for name, dataset in open_splits(args.root, args.split, args.format).items():
        with progress(f"counting {name}", len(dataset), quiet=args.output.quiet) as advance:
            counted[name] = measure(dataset, num_workers=args.num_workers, on_progress=advance)
    return {"root": str(args.root), "splits": counted}


@dataclass(frozen=True)
class DataShowArgs:
    """Draws photos with their labels on contact sheets."""

    root: tyro.conf.Positional[Path]
    """Folder of the data set."""
    out: Path
    """A .png for all photos, or a folder to make, with 12 photos on each PNG."""
    num: int = 12
    """Photos."""
    category: str | None = None
    """Only photos that show this category."""
    split: str = "train"
    """Where to choose from."""
    format: str = "auto"
    """Layout of the folder (docs/data.md); what it is recognised as by default."""
    seed: int = 0
    """Chooses the photos."""
    augmented: str | None = None
    """Instead, the first pictures of a training with this config (a shipped one's name, or a .toml)."""
    output: Flat = field(default_factory=Output)


def show(argv: Sequence[str]) -> Result:
    """Draw photos with their labels: edgeseg data show FOLDER --out SHEET.png"""
    args = parse(DataShowArgs, argv, "data show")
    from edgeseg.contact_sheet import show_dataset
    from edgeseg.data.sets import open_dataset
    from edgeseg.display import progress

    dataset = open_dataset(args.root, args.split, args.format)
    if args.augmented is not None:
        from edgeseg.augmented import augmented_sheet
        from edgeseg.contact_sheet import save_sheet

        config = load_config(args.augmented).data
        save_sheet(augmented_sheet(dataset, dataset.categories, config, seed=args.seed, num=args.num), args.out)
        return {"sheets": [str(args.out)], "config": args.augmented, "num": args.num}
    with progress("drawing", min(args.num, len(dataset)), quiet=args.output.quiet) as advance:
        return show_dataset(
            dataset, args.out, num=args.num, category=args.category, seed=args.seed, on_progress=advance
        )


@dataclass(frozen=True)
class DataCheckArgs:
    """Opens every photo, PNG and JSON row of a COCO panoptic folder and reports every fault (docs/data-check.md)."""

    root: tyro.conf.Positional[Path]
    """COCO panoptic folder."""
    split: str | None = None
    """Only this split; all by default."""
    fix: Path | None = None
    """New folder for a copy with everything repaired that has only one answer."""
    page: Path | None = None
    """HTML page with pictures of the worst cases; NAME-check.html in the working folder by default."""
    max_findings: int = 1000
    """Findings of each code that are listed, 0 = all; all are counted."""
    num_workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Processes; the report does not depend on it."""
    output: Flat = field(default_factory=Output)


def check(argv: Sequence[str]) -> Result:
    """Find every fault, repair the mechanical ones: edgeseg data check FOLDER [--fix NEW]"""
    args = parse(DataCheckArgs, argv, "data check")
    from edgeseg.check_page import chosen_cases, write_page
    from edgeseg.data.doctor import CheckReport, Examination
    from edgeseg.data.doctor_fix import fix_folder, require_new_folder
    from edgeseg.display import progress

    def examine(root: Path, label: str) -> CheckReport:
        examination = Examination.open(root, args.split, max_findings=args.max_findings)
        with progress(label, len(examination), quiet=args.output.quiet) as advance:
            return examination.run(num_workers=args.num_workers, on_progress=advance)

    if args.fix is not None:
        require_new_folder(args.root, args.fix)
    report = examine(args.root, "checking")
    page = args.page or Path(f"{args.root.resolve().name}-check.html")
    with progress("drawing", len(chosen_cases(report)), quiet=args.output.quiet) as advance:
        write_page(report, page, on_progress=advance)
    result = {**report.to_dict(), "page": str(page)}
    if args.fix is not None:
        num_images = sum(split.num_images for split in report.splits)
        with progress("repairing", num_images, quiet=args.output.quiet) as advance:
            fix_folder(args.root, args.fix, split=args.split, num_workers=args.num_workers, on_progress=advance)
        before, report = report, examine(args.fix, "checking the repaired folder")
        gone = {code: count - report.counts.get(code, 0) for code, count in before.counts.items()}
        repaired = {code: count for code, count in gone.items() if count > 0}
        result["fix"] = {"out": str(args.fix), "repaired": repaired, "left": report.to_dict()}
    if report.num_errors:
        result["failed"] = f"{report.num_errors} error{'s' * (report.num_errors > 1)} in {report.root}"
    return result


DATA_VERBS: dict[str, Verb] = {
    "make": make,
    "check": check,
    "convert": convert,
    "split": split,
    "stats": stats,
    "show": show,
}
