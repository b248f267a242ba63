"""The verb `edgeseg coverage`: which operators of a bundle run where, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from edgeseg.cli_args import Flat, Output, Result, parse


@dataclass(frozen=True)
class CoverageArgs:
    """Shows which operators each artifact runs where, how often and at what cost, and what to change."""

    bundle: tyro.conf.Positional[Path]
    """NAME.edgeseg"""
    artifact: str | None = None
    """Only this file of the bundle."""
    threads: int = 1
    """Threads asked of the runtimes."""
    seconds: float = 2.0
    """Profiled calls per artifact."""
    top: int = 12
    """Rows shown per artifact; --json has all."""
    output: Flat = field(default_factory=Output)


def coverage(argv: Sequence[str]) -> Result:
    """See where a bundle's time goes: edgeseg coverage NAME.edgeseg"""
    args = parse(CoverageArgs, argv, "coverage")
    from edgeseg.bench.coverage import coverage_of_bundle

    return coverage_of_bundle(
        args.bundle,
        file=args.artifact,
        threads=args.threads,
        seconds=args.seconds,
        top=args.top,
        quiet=args.output.quiet,
    )
