"""The verbs that shrink an artifact for the way to the phone, and give it back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import tyro

from edgeseg.cli_args import Flat, Output, Result, parse


@dataclass(frozen=True)
class PackArgs:
    """Stores an artifact's ternary weights five to a byte and deflates the rest (docs/ternary.md)."""

    artifact: tyro.conf.Positional[Path]
    """A .pte, .tflite or .onnx file of a ternary recipe, or the bundle's weights.safetensors."""
    out: Path | None = None
    """File to write; ARTIFACT.packed by default."""
    output: Flat = field(default_factory=Output)


def pack(argv: Sequence[str]) -> Result:
    """Shrink a ternary artifact: edgeseg pack NAME.edgeseg/FILE"""
    args = parse(PackArgs, argv, "pack")
    from edgeseg.export.pack import pack_file

    packed = pack_file(args.artifact, args.out)
    return asdict(packed) | {"path": str(packed.path)}


@dataclass(frozen=True)
class UnpackArgs:
    """Gives back the file that was packed, checked against its checksum."""

    packed: tyro.conf.Positional[Path]
    """FILE.packed"""
    out: Path | None = None
    """File to write; the name without .packed by default."""
    output: Flat = field(default_factory=Output)


def unpack(argv: Sequence[str]) -> Result:
    """Give a packed artifact back: edgeseg unpack FILE.packed"""
    args = parse(UnpackArgs, argv, "unpack")
    from edgeseg.export.pack import unpack_file

    path = unpack_file(args.packed, args.out)
    return {"path": str(path), "bytes": path.stat().st_size}
