"""The command line: one verb, one function."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

# How long a thread spins at a barrier before it sleeps. GNU OpenMP's default is minutes: one busy neighbour made a step
# ten times slower. Sleeping at once (OMP_WAIT_POLICY=PASSIVE) takes 200 ms a step where this and the default take 88.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import tyro

from edgeseg.cli_app import app
from edgeseg.cli_args import LIST, PROGRAM, Flat, Output, Result, Verb, parse, verb_list, with_value
from edgeseg.cli_bench import bench, devices
from edgeseg.cli_bundle import export, inspect, verify
from edgeseg.cli_coverage import coverage
from edgeseg.cli_eval import evaluate, predict
from edgeseg.cli_models import models
from edgeseg.cli_pack import pack, unpack
from edgeseg.cli_quantize import quantize
from edgeseg.cli_train import ablate, pseudo_label
from edgeseg.config import Config, config_names, load_config, nearest
from edgeseg.full_disk import FULL_DISK
from edgeseg.structures import CheckError, InputError


@dataclass(frozen=True)
class TrainArgs:
    """Trains a network on a COCO panoptic folder."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    out: Path = Path("runs/train")
    """Folder for last.safetensors, best.safetensors, metrics.jsonl."""
    resume: bool = False
    """Continue from OUT/last.safetensors."""
    pretrained: str | None = None
    """Short for --train.pretrained: a trained checkpoint, or a file of backbone weights; alone, the weights that are
    published for the backbone (a download)."""
    teacher: Path | None = None
    """Short for --train.teacher: a trained checkpoint to learn from beside the labels."""
    output: Flat = field(default_factory=Output)


def train(argv: Sequence[str]) -> Result:
    """Train a network: edgeseg train CONFIG --data.root FOLDER"""
    names = ", ".join(config_names())
    if not argv or argv[0].startswith("-"):
        if not {"-h", "--help"} & set(argv):
            raise InputError(
                f"usage: {PROGRAM} train CONFIG --data.root FOLDER; CONFIG is one of {names}, or a .toml file"
            )
        argv = ["street", *argv]
    options = with_value("--pretrained", "hub", argv[1:])
    args = parse(TrainArgs, options, f"train {argv[0]}", default=TrainArgs(config=load_config(argv[0])))
    if args.pretrained is not None:
        args = replace(args, config=replace(args.config, train=replace(args.config.train, pretrained=args.pretrained)))
    if args.teacher is not None:
        args = replace(args, config=replace(args.config, train=replace(args.config.train, teacher=args.teacher)))
    if args.config.data.root is None:
        raise InputError(f"train needs a COCO panoptic folder: {PROGRAM} train {argv[0]} --data.root FOLDER")

    from edgeseg.data.sets import open_dataset
    from edgeseg.engine.evaluate import require_same_categories
    from edgeseg.engine.train import Trainer, make_fabric

    samples = open_dataset(args.config.data.root, "train", args.config.data.format)
    val = open_dataset(args.config.data.root, "val", args.config.data.format)
    require_same_categories(samples.categories, val.categories, f"{args.config.data.root}, split val")
    if not args.resume and (args.out / "last.safetensors").exists():
        raise InputError(f"{args.out} holds a run already; continue it with --resume, or choose another --out")
    trainer = Trainer(args.config, samples.categories, args.out, make_fabric(args.config), resume=args.resume)
    metrics = trainer.fit(samples, val, quiet=args.output.quiet)
    return {
        "out": str(args.out),
        "step": trainer.clock.step,
        "interrupted": trainer.stop_signal is not None,
        "seconds": round(trainer.clock.seconds, 1),
        "metrics": metrics,
    }


def data(argv: Sequence[str]) -> Result:
    """Make, check, show, convert and split data: edgeseg data make street --out FOLDER"""
    from edgeseg.cli_data import DATA_VERBS

    name = argv[0] if argv else "--help"
    if name in ("-h", "--help"):
        print(verb_list(f"{PROGRAM} data", DATA_VERBS))
        raise SystemExit(0 if argv else 2)
    if name not in DATA_VERBS:
        raise InputError(f"no verb 'data {name}'{nearest(name, list(DATA_VERBS))}; there are {', '.join(DATA_VERBS)}")
    return DATA_VERBS[name](argv[1:])


@dataclass(frozen=True)
class QuickstartArgs:
    """From nothing to a verified int8 bundle and a report, on the embedded street scenes."""

    out: Path = Path("runs/quickstart")
    """Folder for data, run, bundle and report.html."""
    minutes: float = 5.0
    """Training time."""
    seed: int = 0
    """Seed of data and weights."""
    output: Flat = field(default_factory=Output)


def quickstart(argv: Sequence[str]) -> Result:
    """The whole chain in minutes: edgeseg quickstart"""
    args = parse(QuickstartArgs, argv, "quickstart")
    from edgeseg.bench.quickstart import run_quickstart

    return run_quickstart(args.out, minutes=args.minutes, seed=args.seed, quiet=args.output.quiet)


VERBS: dict[str, Verb] = {
    "quickstart": quickstart,
    "data": data,
    "train": train,
    "ablate": ablate,
    "pseudo-label": pseudo_label,
    "eval": evaluate,
    "predict": predict,
    "quantize": quantize,
    "export": export,
    "inspect": inspect,
    "verify": verify,
    "pack": pack,
    "unpack": unpack,
    "coverage": coverage,
    "bench": bench,
    "devices": devices,
    "app": app,
    "models": models,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Returns:
        Exit code: 0 done, 1 a check failed, 2 bad input, 130 interrupted.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        _show(verb_list(PROGRAM, VERBS))
        return 0 if argv else 2
    if argv[0] == "--version":
        from importlib.metadata import version

        _show(f"{PROGRAM} {version('edgeseg')}")
        return 0
    as_json = "--json" in argv
    try:
        if argv[0] not in VERBS:
            raise InputError(f"no verb {argv[0]!r}{nearest(argv[0], list(VERBS))}; there are {', '.join(VERBS)}")
        result = VERBS[argv[0]](argv[1:])
    except (InputError, CheckError) as error:
        return _refuse(str(error), as_json=as_json, code=2 if isinstance(error, InputError) else 1)
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        return _refuse(f"{error}; make room and call again", as_json=as_json, code=2)
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted", file=sys.stderr)
        return 130  # as a shell reports SIGINT
    failed = result.get("failed")  # a check that has a whole document to show for it
    if int(os.environ.get("RANK", "0")) == 0:
        _show(json.dumps(result.get(LIST, result)) if as_json else _readable(argv, result))
        if failed:
            print(f"{PROGRAM}: {failed}", file=sys.stderr)
    return 1 if failed else 0


def _refuse(reason: str, *, as_json: bool, code: int) -> int:
    print(f"{PROGRAM}: {reason}", file=sys.stderr)
    if as_json:
        _show(json.dumps({"error": reason}))
    return code


def _show(text: str) -> None:
    """On standard output; a reader who has seen enough and left, such as `head`, is no error."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # takes what Python would flush at its end


def _readable(argv: Sequence[str], result: Result) -> str:
    """A verb's result for people."""
    from edgeseg.readable import TABLES

    for verb in (" ".join(argv[:2]), argv[0]):
        if verb in TABLES:
            return TABLES[verb](result)
    return "\n".join(f"{key}: {value}" for key, value in result.items())


if __name__ == "__main__":
    sys.exit(main())
