"""The verb that lists networks: what can be trained, and what comes trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgeseg.cli_args import Flat, Output, Result, parse
from edgeseg.config import Config

COCO_IS_THING = (True,) * 80 + (False,) * 53


@dataclass(frozen=True)
class ModelsArgs:
    """Lists backbones and heads with their cost."""

    size: tuple[int, int] = (256, 256)
    """Network input (height, width)."""
    output: Flat = field(default_factory=Output)


def models(argv: Sequence[str]) -> Result:
    """List networks and what they cost, or `list` trained ones: edgeseg models"""
    if argv and argv[0] == "list":
        return _list_shipped(argv[1:])
    args = parse(ModelsArgs, argv, "models")
    from dataclasses import replace

    from edgeseg.models import BACKBONES, HEADS, build_model, count_macs, count_parameters

    rows = []
    for head in HEADS:
        for backbone in BACKBONES:
            config = replace(Config().model, backbone=backbone, head=head)
            model = build_model(config, COCO_IS_THING, args.size)
            deployed = model.deployable()
            params, trained = count_parameters(deployed), count_parameters(model)
            macs = count_macs(deployed, args.size)
            name = f"{backbone}+{head}"
            rows.append({"name": name, "params": params, "params_in_training": trained, "macs": macs})
    return {"image_size": list(args.size), "num_categories": len(COCO_IS_THING), "models": rows}


@dataclass(frozen=True)
class ListArgs:
    """Lists the checkpoints that come with edgeseg; their names stand wherever a checkpoint is asked for."""

    output: Flat = field(default_factory=Output)


def _list_shipped(argv: Sequence[str]) -> Result:
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
