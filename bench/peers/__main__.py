"""Our network and what a user would take instead, timed in one run: docs/peers.md.

python -m edgeseg.bench.peers --sizes 256 640 --out peers.json
"""

from __future__ import annotations

import functools
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from edgeseg.bench.machine import this_machine
from edgeseg.bench.peers.contenders import PEERS, REFERENCE, our_contender, peer
from edgeseg.bench.peers.files import DEFAULT, Ours, make_ours, require_peers
from edgeseg.bench.peers.race import Contender, Runner, race
from edgeseg.bench.peers.table import BARS, row_dict, table
from edgeseg.bench.refusals import refusals
from edgeseg.display import progress, say
from edgeseg.export.provenance import checkout_commit, time_utc
from edgeseg.export.runtimes import MergeMode
from edgeseg.structures import InputError


@dataclass(frozen=True)
class PeersArgs:
    """Time our network beside the networks that a user would take instead, on one thread."""

    out: Path
    """Result, a JSON file."""
    sizes: tuple[int, ...] = (256, 640)
    """Height and width of the networks' input, multiples of 32."""
    python: Path = Path(".peers/bin/python")
    """Python of the peers' environment (bench/peers/requirements.txt)."""
    files: Path = Path("runs/peers")
    """Folder for the files that are made; those that are there are taken as they are."""
    peers: tuple[str, ...] = PEERS
    """Peers to time."""
    runtimes: tuple[str, ...] = ("onnx", "litert", "executorch")
    """Runtimes of our files; none leaves ours out."""
    precisions: tuple[str, ...] = ("float32", "int8")
    """float32, or quantization recipes (calibrated, not trained)."""
    configs: tuple[str, ...] = (DEFAULT,)
    """Whose [model] our network is: default (an empty TOML file), names of shipped configs, or TOML files."""
    graph_upsample: tuple[Literal[1, 2, 4], ...] = ()
    """Our files once more with the merge in the graph, enlarging by this."""
    segments: int = 12
    """Segments that every post-processing is made to keep."""
    pairs: int = 10
    """Turns of each subject beside one of the reference; fewer than 6 give no interval."""
    seconds: float = 0.25
    """Processor time of a turn's timed stretch."""
    clock: Literal["cpu", "wall"] = "cpu"
    """Clock of the table: a busy machine interrupts the wall's; both are kept."""
    json: bool = False
    """Print the result as JSON instead of a table."""
    quiet: bool = False
    """Show no progress."""


def run(args: PeersArgs) -> dict[str, Any]:
    """Makes the files, then races everything at each size; the result is written after each subject.

    Raises:
        InputError: The peers' environment or a runtime's package is missing, or a number or name is out of range.
        CheckError: A conversion or a process failed.
    """
    _refuse(args)
    plan = _plan(args)
    result: dict[str, Any] = {"conditions": _conditions(args), "rows": []}
    with progress("racing", args.pairs * sum(map(len, plan.values())), quiet=args.quiet) as advance:
        for side, contenders in plan.items():
            with Runner(_peer(args, REFERENCE, side)) as reference:
                for contender in contenders:
                    rows = race(
                        contender,
                        reference,
                        side=side,
                        pairs=args.pairs,
                        seconds=args.seconds,
                        clock=args.clock,
                        on_pair=functools.partial(advance, 1, f"{contender.name} at {side}"),
                    )
                    result["rows"] += [row_dict(row) for row in rows]
                    _write(args.out, result)
    return result


def main(args: PeersArgs) -> None:
    """The command."""
    with refusals():
        result = run(args)
        print(json.dumps(result) if args.json else table(result))


def _refuse(args: PeersArgs) -> None:
    if unknown := sorted(set(args.peers) - set(PEERS)):
        raise InputError(f"no peer named {unknown[0]!r}; there are {', '.join(PEERS)}")
    if wrong := [side for side in args.sizes if side < 32 or side % 32]:
        raise InputError(f"--sizes {wrong[0]}: a multiple of 32 wanted")
    if min(args.pairs, args.segments) < 1 or args.seconds <= 0:
        raise InputError(f"--pairs {args.pairs}, --segments {args.segments}, --seconds {args.seconds}: above 0 wanted")


def _plan(args: PeersArgs) -> dict[int, list[Contender]]:
    """Makes every file first: what cannot be made is found out before anything is timed."""
    require_peers(args.python)
    args.files.mkdir(parents=True, exist_ok=True)
    merges: list[tuple[MergeMode, Literal[1, 2, 4]]] = [("app", 1), *(("graph", u) for u in args.graph_upsample)]
    plan: dict[int, list[Contender]] = {}
    for side in args.sizes:
        ours = [
            Ours(side, config, precision, runtime, *merge)
            for config in args.configs
            for precision in args.precisions
            for runtime in args.runtimes
            for merge in merges
        ]
        make_ours(ours, args.files, on_file=lambda name: say(f"converting {name}", quiet=args.quiet))
        plan[side] = [_peer(args, name, side) for name in args.peers]
        plan[side] += [our_contender(file, args.files, args.segments) for file in ours]
    return plan


def _peer(args: PeersArgs, name: str, side: int) -> Contender:
    return peer(name, side, args.files, python=args.python, num_segments=args.segments)


def _conditions(args: PeersArgs) -> dict[str, Any]:
    return {
        "device": asdict(this_machine()),
        "load": os.getloadavg()[0],
        "time_utc": time_utc(),
        "commit": checkout_commit(),
        "threads": 1,
        "reference": f"{REFERENCE}, network alone, ONNX Runtime",
        "bars": {str(side): bar for side, bar in BARS.items()},
        **{key: getattr(args, key) for key in ("pairs", "seconds", "segments", "clock")},
    }


def _write(path: Path, result: dict[str, Any]) -> None:
    aside = path.with_name(path.name + ".part")
    aside.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    aside.replace(path)


if __name__ == "__main__":
    main(tyro.cli(PeersArgs, description=__doc__))
