"""The verb `edgeseg app`: a bundle on a screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from edgeseg.cli_args import PROGRAM, Flat, Output, Result, parse
from edgeseg.structures import InputError


@dataclass(frozen=True)
class AppArgs:
    """Puts a bundle into a sample app: serves the browser app on loopback, or writes an Android or iOS project."""

    platform: tyro.conf.Positional[Literal["web", "android", "ios"]]
    """web, android or ios."""
    bundle: tyro.conf.Positional[Path]
    """NAME.edgeseg"""
    port: int = 8765
    """Of web: port on 127.0.0.1; 0 takes a free one."""
    out: Path | None = None
    """Of android and ios: new folder for the project."""
    output: Flat = field(default_factory=Output)


def app(argv: Sequence[str]) -> Result:
    """Run a bundle in an app: edgeseg app web NAME.edgeseg, edgeseg app android NAME.edgeseg --out FOLDER"""
    args = parse(AppArgs, argv, "app")
    if (args.platform == "web") != (args.out is None):
        raise InputError(
            f"{PROGRAM} app web takes --port and no --out; {PROGRAM} app android and ios take --out FOLDER"
        )
    from edgeseg.display import say
    from edgeseg.export.app import serve_web, write_project

    if args.out is not None:
        return write_project(args.platform, args.bundle, args.out)
    ready = f"{args.bundle.name} at %s until Ctrl-C"
    return serve_web(args.bundle, port=args.port, on_ready=lambda url: say(ready % url, quiet=args.output.quiet))
