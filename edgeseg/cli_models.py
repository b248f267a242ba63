"""The verbs that list networks: what can be trained, what that costs, and what comes trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.cli_args import LIST, Flat, Output, Result, Verb, parse, words
from edgeseg.config import Config, load_config, nearest
from edgeseg.structures import InputError

if TYPE_CHECKING:
    from edgeseg.bench.model_table import Network

COCO_IS_THING = (True,) * 80 + (False,) * 53

FAMILY = ("remax-t", "remax-s", "remax-m")
"""Configs that are networks of their own."""


@dataclass(frozen=True)
class ModelsArgs:
    """Lists backbones and heads with their cost for COCO's 133 categories; `list` and `table` are verbs too."""

    size: tuple[int, int] = (256, 256)
    """Network input (height, width); the family remax-t, -s and -m has its own."""
    backbones: tuple[str, ...] = ()
    """Of these (timm:NAME too) the product with the heads; by default all, under the default head."""
    heads: tuple[str, ...] = ()
    """Of these the product with the backbones; by default all, on the default backbone."""
    configs: tuple[str, ...] = ()
    """Configs (shipped or .toml) at their own size instead of backbones and heads, such as kmax-r50."""
    output: Flat = field(default_factory=Output)


def models(argv: Sequence[str]) -> Result:
    """List networks and what they cost; `list` trained ones, `table` of latencies: edgeseg models"""
    if argv and not argv[0].startswith("-"):
        if argv[0] not in _VERBS:
            raise InputError(
                f"no verb 'models {argv[0]}'{nearest(argv[0], list(_VERBS))}; there are {', '.join(_VERBS)}"
            )
        return _VERBS[argv[0]](argv[1:])
    args = parse(ModelsArgs, argv, "models")
    from edgeseg.models import BACKBONES, HEADS, build_model, count_macs, count_parameters

    if args.configs and (args.backbones or args.heads):
        raise InputError("--configs names whole networks; leave out --backbones and --heads")
    default = Config().model
    networks = _networks(words(args.backbones) or [default.backbone], words(args.heads) or [default.head], [args.size])
    if args.configs:
        networks = _family(words(args.configs))
    elif not args.backbones and not args.heads:
        networks = _networks([*BACKBONES], [default.head], [args.size])
        networks += _networks([default.backbone], [head for head in HEADS if head != default.head], [args.size])
        networks += _family(FAMILY)
    rows = []
    for network in networks:
        model = build_model(network.model, COCO_IS_THING, network.image_size)
        deployed = model.deployable()
        rows.append(
            {
                "name": network.name.partition("@")[0],
                "params": count_parameters(deployed),
                "params_in_training": count_parameters(model),
                "macs": count_macs(deployed, network.image_size),
                "image_size": list(network.image_size),
            }
        )
    return {"num_categories": len(COCO_IS_THING), "models": rows}


@dataclass(frozen=True)
class TableArgs:
    """Measures what every network costs on this computer: milliseconds, bytes, operators outside the delegate.

    The whole takes hours; the first line says how long what you asked for will take, and --plan says no more than
    that. Cells are kept as they come: stop it and call it again.
    """

    backbones: tuple[str, ...] = ()
    """Only these; timm:NAME too. All registered ones and five of timm's by default."""
    heads: tuple[str, ...] = ()
    """Only these; all by default."""
    sizes: tuple[int, ...] = (256, 640)
    """Sides of the square input."""
    configs: tuple[str, ...] = ()
    """Configs (shipped or .toml) at their own size instead of backbones and heads, such as remax-t remax-s."""
    runtimes: tuple[str, ...] = ("onnx", "litert", "executorch")
    """Runtimes that run here."""
    precisions: tuple[str, ...] = ("float32", "int8")
    """float32, or quantization recipes (without their fine-tuning: weights are fresh ones)."""
    seconds: float = 2.0
    """Timed calls in each process: two, or up to five until two agree."""
    out: Path = Path("models.jsonl")
    """JSON lines file of measured cells; what it holds is not measured again. Remove it to measure anew."""
    plan: bool = False
    """Measure nothing; say how many cells are missing and how long they will take."""
    output: Flat = field(default_factory=Output)


def _measure_table(argv: Sequence[str]) -> Result:
    """Latency, bytes and delegation of every network here: edgeseg models table --plan"""
    args = parse(TableArgs, argv, "models table")
    from edgeseg.bench.model_table import measure_table
    from edgeseg.models import BACKBONES, HEADS
    from edgeseg.models.timm_adapter import TESTED

    if args.configs and (args.backbones or args.heads):
        raise InputError("--configs names whole networks; leave out --backbones and --heads")
    sizes = [(size, size) for size in args.sizes]
    if args.configs:
        networks = _family(words(args.configs))
    else:
        backbones = words(args.backbones) or [*BACKBONES, *(f"timm:{name}" for name in TESTED)]
        networks = _networks(backbones, words(args.heads) or [*HEADS], sizes)
    rows = measure_table(
        networks,
        args.out,
        is_thing=COCO_IS_THING,
        runtimes=words(args.runtimes),
        precisions=words(args.precisions),
        seconds=args.seconds,
        only_plan=args.plan,
        quiet=args.output.quiet,
    )
    return {LIST: rows}


def _networks(backbones: Sequence[str], heads: Sequence[str], sizes: Sequence[tuple[int, int]]) -> list[Network]:
    """Every backbone under every head at every size."""
    from edgeseg.bench.model_table import Network
    from edgeseg.models import BACKBONES, HEADS
    from edgeseg.models.registry import find

    for head in heads:
        find(HEADS, head, "head")
    for backbone in backbones:
        if ":" not in backbone:
            find(BACKBONES, backbone, "backbone")
    return [
        Network(
            f"{backbone}+{head}@{size[0]}" if size[0] == size[1] else f"{backbone}+{head}@{size[0]}x{size[1]}",
            replace(Config().model, backbone=backbone, head=head),
            size,
        )
        for head in heads
        for backbone in backbones
        for size in sizes
    ]


def _family(names: Sequence[str]) -> list[Network]:
    from edgeseg.bench.model_table import Network

    configs = {name: load_config(name) for name in names}
    return [
        Network(f"{Path(name).stem}@{config.data.image_size[0]}", config.model, config.data.image_size)
        for name, config in configs.items()
    ]


@dataclass(frozen=True)
class ListArgs:
    """Lists the checkpoints that come with edgeseg; their names stand wherever a checkpoint is asked for."""

    output: Flat = field(default_factory=Output)


def _list_shipped(argv: Sequence[str]) -> Result:
    """Trained networks that come with edgeseg: edgeseg models list"""
    parse(ListArgs, argv, "models list")
    from edgeseg.engine.checkpoint import load_checkpoint, shipped_checkpoints
    from edgeseg.models import count_parameters

    rows = []
    for name, path in shipped_checkpoints().items():
        checkpoint = load_checkpoint(path)
        rows.append(
            {
                "name": name,
                "path": str(path),
                "bytes": path.stat().st_size,
                "params": count_parameters(checkpoint.model().deployable()),
                "image_size": list(checkpoint.config.data.image_size),
                "num_categories": len(checkpoint.categories),
                "pq": checkpoint.metrics["all"]["pq"],
            }
        )
    return {"models": rows}


_VERBS: dict[str, Verb] = {"list": _list_shipped, "table": _measure_table}
