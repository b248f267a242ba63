"""The verbs that make a bundle, look into it, and prove it: `edgeseg export`, `inspect`, `verify`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from edgeseg.cli_args import Flat, Output, Result, parse, words
from edgeseg.structures import InputError


@dataclass(frozen=True)
class ExportArgs:
    """Exports a verified bundle: every file loaded by its own runtime and compared with torch."""

    source: tyro.conf.Positional[Path]
    """Run folder (float and every quantized checkpoint in it) or one checkpoint file."""
    out: Path | None = None
    """Bundle to write, NAME.edgeseg; RUN/RUN.edgeseg by default."""
    only: tuple[str, ...] = ()
    """Runtimes to export for: executorch, litert, coreml, onnx, these four by default; where they are named also
    litert-small and onnx-small (weights stored in fewer bits), coreml-ios17, coreml-ios16 and coreai
    (docs/runtimes.md, docs/ternary.md)."""
    precision: tuple[str, ...] = ()
    """float32, a quantized checkpoint's recipe, or what a runtime makes of the float network, such as float16; every
    checkpoint by default."""
    merge: tuple[str, ...] = ()
    """Where the panoptic merge runs: graph, app, or auto, each runtime's own default."""
    size: tuple[str, ...] = ()
    """Height and width of the network's input; those it was trained at by default."""
    batch: str = "1"
    """Images per run: 1."""
    data: Path | None = None
    """Folder of a data set whose val images become the golden ones; the one it was trained on by default, or the photos
    that come with edgeseg's own checkpoints."""
    format: str | None = None
    """Layout of that folder (docs/data.md); by default what it is recognised as, or what training was told."""
    golden_images: int = 8
    """Images every artifact is verified on."""
    licence: str = "unspecified"
    """Of the weights; goes into the bundle."""
    overwrite: bool = False
    """Replace an existing bundle."""
    output: Flat = field(default_factory=Output)


def export(argv: Sequence[str]) -> Result:
    """Export a verified bundle: edgeseg export RUN --out NAME.edgeseg"""
    args = parse(ExportArgs, argv, "export")
    image_size = _fixed_size(args.size, args.batch)
    from edgeseg.export.run import export_run

    return export_run(
        args.source,
        args.out,
        runtimes=words(args.only),
        precisions=words(args.precision),
        merges=words(args.merge),
        image_size=image_size,
        data=args.data,
        data_format=args.format,
        golden_images=args.golden_images,
        licence=args.licence,
        overwrite=args.overwrite,
        quiet=args.output.quiet,
    )


def _fixed_size(size: Sequence[str], batch: str) -> tuple[int, int] | None:
    """--size as (height, width); None = as trained.

    Raises:
        InputError: A dynamic shape, or no size.
    """
    sides = words(size)
    if batch != "1" or any(not side.isdecimal() for side in sides):
        asked = f"--batch {batch}" if batch != "1" else f"--size {' '.join(size)}"
        raise InputError(
            f"{asked}: an artifact has one fixed shape, one image of --size HEIGHT WIDTH, because delegates refuse or "
            "leave operators of dynamic shapes; export a bundle per size"
        )
    if not sides:
        return None
    if len(sides) != 2 or any(int(side) % 32 or int(side) == 0 for side in sides):
        raise InputError(f"--size {' '.join(size)}: a height and a width are wanted, each a multiple of 32")
    height, width = map(int, sides)
    return height, width


@dataclass(frozen=True)
class InspectArgs:
    """Shows what is in a bundle and compares every file with its checksum; nothing is run."""

    bundle: tyro.conf.Positional[Path]
    """NAME.edgeseg"""
    output: Flat = field(default_factory=Output)


def inspect(argv: Sequence[str]) -> Result:
    """Show what is in a bundle: edgeseg inspect NAME.edgeseg"""
    args = parse(InspectArgs, argv, "inspect")
    from edgeseg.export.contents import inspect_bundle

    return inspect_bundle(args.bundle)


@dataclass(frozen=True)
class VerifyArgs:
    """Proves a bundle: files, golden answers, every artifact through its runtime, and its PQ beside torch's."""

    bundle: tyro.conf.Positional[Path]
    """NAME.edgeseg"""
    data: Path | None = None
    """Folder of a data set to score every artifact on; without one the last rung is left out."""
    format: str | None = None
    """Layout of that folder (docs/data.md); by default what it is recognised as."""
    split: str = "val"
    """Split of that folder."""
    images: int = 0
    """Evenly spaced part of the split; 0 = all."""
    out: Path | None = None
    """File to write the result to, as --json prints it."""
    output: Flat = field(default_factory=Output)


def verify(argv: Sequence[str]) -> Result:
    """Prove a bundle: edgeseg verify NAME.edgeseg --data FOLDER"""
    args = parse(VerifyArgs, argv, "verify")
    if args.out and not args.out.parent.is_dir():
        raise InputError(f"{args.out.parent} is no folder; give another --out")
    from edgeseg.export.ladder import verify_bundle, write_result
    from edgeseg.export.quality import open_scored

    scored = open_scored(args.data, args.format, args.split, args.images) if args.data else None
    result = verify_bundle(args.bundle, scored=scored, quiet=args.output.quiet)
    if args.out:
        write_result(result, args.out)
    return result.to_dict()
